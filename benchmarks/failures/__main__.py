"""`python -m benchmarks.failures`: the document's failure benchmark, and the costs around it, on a real Kafka."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from confluent_kafka import KafkaException
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.failures import costs, rates
from benchmarks.failures.bench import Bench, Kept, Retry, Row
from benchmarks.report import terminal
from benchmarks.scenarios import broker
from benchmarks.scenarios.errors import WorkbenchError
from benchmarks.scenarios.measure import interruptible

_EXAMPLES = """What failures cost, on the testbed's Kafka (started when it is down).

Without a command: messages at a rate, of which a share of attempts fails; totals, rates, latency.

Examples:

  python -m benchmarks.failures --failure-rate 0.3 --duration 60

  python -m benchmarks.failures payloads

  python -m benchmarks.failures all --resume
"""
_EXAMPLE = """Measure: {title}.

Example:

  python -m benchmarks.failures {name} --output build/failures.json
"""
_ALL = """Measure every part; with --resume those that are not in the file.

Example:

  python -m benchmarks.failures all --resume
"""
_app = typer.Typer(add_completion=False, rich_markup_mode="markdown", help=_EXAMPLES)
_console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
_FAILURE_RATE = 0.3

Output = Annotated[Path, typer.Option(help="Where results are kept; each part as soon as it is there.")]
Servers = Annotated[
    str | None, typer.Option(envvar=broker.SERVERS_VARIABLE, help="A Kafka of yours; by default the testbed's.")
]
Embedded = Annotated[bool, typer.Option("--embedded", help="librdkafka's mock Kafka: to try, not to measure.")]
Share = Annotated[float, typer.Option(min=0, max=1, help="Share of attempts that fail.")]
_OUTPUT = Path("build/failures.json")

Measure = Callable[[Bench], list[Row]]


class Part(NamedTuple):
    """What can be measured by itself."""

    title: str
    runs: int
    """Consumers that are run for it, one after the other."""
    measure: Measure


PARTS = {
    "payloads": Part("100 B to 100 KB", 4, lambda bench: rates.payloads(bench, failure_rate=_FAILURE_RATE)),
    "retries": Part("retry settings", 10, lambda bench: rates.retry_settings(bench, failure_rate=_FAILURE_RATE)),
    "scheduling": Part("scheduling a retry, one by one and parallel", 2, costs.scheduling),
    "memory": Part("memory of a pending retry", 2, costs.memory),
    "startup": Part("from the start of the process to its partitions", 5, costs.start_up),
    "idle": Part("CPU and memory with nothing to do", 4, costs.idle),
    "pending": Part("100,000 pending retries beside good messages", 2, costs.pending),
    "window": Part("50,000 pending retries beside a window that fills and opens again", 2, costs.reopening),
}


@_app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    *,
    failure_rate: Share = _FAILURE_RATE,
    duration: Annotated[float, typer.Option(min=1, help="Seconds during which messages are offered.")] = 60.0,
    rate: Annotated[int, typer.Option(min=1, help="Messages offered per second.")] = 500,
    work_ms: Annotated[float, typer.Option(min=0, help="Milliseconds that each attempt awaits.")] = 10.0,
    max_retries: Annotated[int, typer.Option(min=0, help="Attempts after the first.")] = 3,
    backoff_ms: Annotated[int, typer.Option(min=0, help="The first wait; each next one is twice as long.")] = 500,
    output: Output = _OUTPUT,
    bootstrap_servers: Servers = None,
    embedded: Embedded = False,
) -> None:
    """Offer messages, let a share of attempts fail, print the totals."""
    if context.invoked_subcommand:
        return
    retry = Retry(max_retries=max_retries, backoff_ms=backoff_ms)

    def measure(bench: Bench) -> list[Row]:
        row = rates.measured(
            bench, rate=rate, duration=duration, failure_rate=failure_rate, work_ms=work_ms, retry=retry
        )
        return [row]

    part = Part("messages at a rate", 1, measure)
    [row] = _measured("rates", part, output, bootstrap_servers, embedded=embedded)
    _console.print_json(data=row)
    _console.print(f"Success rate: {row['success_rate_percent']:.2f} %")
    _console.print(f"Retry rate:   {row['retry_rate_percent']:.2f} %")
    if row["ErrorMessages"]:
        _console.print("[red]some messages were neither done nor dead-lettered[/]")
        raise typer.Exit(1)


def _command(name: str) -> Callable[..., None]:
    def command(
        *, output: Output = _OUTPUT, bootstrap_servers: Servers = None, embedded: Embedded = False
    ) -> None:  # fmt: skip
        show(name, _measured(name, PARTS[name], output, bootstrap_servers, embedded=embedded))

    return command


for _name, _part in PARTS.items():
    _app.command(_name, help=_EXAMPLE.format(title=_part.title, name=_name))(_command(_name))


@_app.command("all", help=_ALL)
def everything(
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Keep parts that are there.")] = False,
    output: Output = _OUTPUT,
    bootstrap_servers: Servers = None,
    embedded: Embedded = False,
) -> None:
    """Measure all parts one after the other."""
    try:
        there = Kept.at(output).parts if resume else {}
    except WorkbenchError as error:
        terminal.failed(_console, error)
        raise typer.Exit(1) from error
    for name, part in PARTS.items():
        show(name, there.get(name) or _measured(name, part, output, bootstrap_servers, embedded=embedded))


def _measured(name: str, part: Part, output: Path, servers: str | None, *, embedded: bool) -> list[Row]:
    try:
        with interruptible(), _progress() as bars:
            task = bars.add_task(name, total=part.runs)
            kept = Kept.at(output)
            rows = part.measure(Bench(broker.connect(servers, embedded=embedded), _telling(bars, task)))
            kept.add(name, rows)
    except (WorkbenchError, KafkaException, OSError) as error:
        terminal.failed(_console, error)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        _console.print("interrupted; `all --resume` goes on")
        raise typer.Exit(130) from None
    return rows


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=_console, transient=True)


def _telling(bars: Progress, task: TaskID) -> Callable[[float], None]:
    ended = 0

    def told(share: float) -> None:
        nonlocal ended
        bars.update(task, completed=ended + share)
        ended += share >= 1

    return told


_DRAINED = ("success_rate_percent", "RetriedMessages", "expected_retried", "DeadLetteredMessages",
            "expected_dead_lettered", "messages_per_second", "seconds", "latency_ms_p50", "latency_ms_p99")  # fmt: skip
_SHOWN = {
    "payloads": ("payload_bytes", "us_per_attempt", "mb_per_second", *_DRAINED),
    "retries": ("max_retries", "backoff_ms", *_DRAINED),
}
"""Columns for people, where there are too many; the file has all."""


def show(part: str, rows: list[Row]) -> None:
    """Print rows as tables, one for each set of columns."""
    title = PARTS[part].title
    if part in _SHOWN:
        rows = [{name: row[name] for name in _SHOWN[part]} for row in rows]
    while rows:
        columns = list(rows[0])
        table = Table(*(name.replace("_", " ") for name in columns), title=title, title_justify="left")
        for row in [each for each in rows if list(each) == columns]:
            table.add_row(*(f"{value:,}" if isinstance(value, int | float) else str(value) for value in row.values()))
        _console.print(table)
        rows, title = [each for each in rows if list(each) != columns], ""


if __name__ == "__main__":
    _app()
