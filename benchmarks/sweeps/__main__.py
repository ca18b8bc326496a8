"""`python -m benchmarks.sweeps`: prefetch sizes and pool sizes, kept point by point so that they can be resumed."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from confluent_kafka import KafkaException
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks import whole_file
from benchmarks.machine import machine
from benchmarks.report import page, plots, terminal
from benchmarks.report.plots import Line
from benchmarks.scenarios import broker
from benchmarks.scenarios.broker import Broker
from benchmarks.scenarios.errors import ScenarioFileError, WorkbenchError
from benchmarks.scenarios.measure import interruptible
from benchmarks.scenarios.results import load_json
from benchmarks.sweeps import measured
from benchmarks.sweeps.measured import Row

_HELP = """How fast a backlog is taken with different prefetch sizes, and blocking work with different pools.

Examples:

  python -m benchmarks.sweeps prefetch

  python -m benchmarks.sweeps pool --html build/pool.html
"""
_app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="markdown", help=_HELP)
_console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
_PREFETCH = """Seconds to take a backlog with pollBatchSize and librdkafka's queue at 100 to 1,300; inline and async.

Examples:

  python -m benchmarks.sweeps prefetch

  python -m benchmarks.sweeps prefetch --messages 80000 --size 100 --size 1300 --repeats 3
"""
_POOL = """Seconds for 2,000 messages that block 100 ms each, over 1 to 128 threads, with the ideal (8 minutes in all).

Examples:

  python -m benchmarks.sweeps pool

  python -m benchmarks.sweeps pool --workers 32 --workers 64 --resume --html build/pool.html
"""
Output = Annotated[Path, typer.Option(help="Where points are kept; each as soon as it is there.")]
Html = Annotated[Path | None, typer.Option(help="A page with the plot.")]
Resume = Annotated[bool, typer.Option("--resume", help="Keep the points that are there.")]
Servers = Annotated[
    str | None, typer.Option(envvar=broker.SERVERS_VARIABLE, help="A Kafka of yours; by default the testbed's.")
]
Embedded = Annotated[bool, typer.Option("--embedded", help="librdkafka's mock Kafka: to try, not to measure.")]


@_app.command(help=_PREFETCH)
def prefetch(
    *,
    messages: Annotated[list[int] | None, typer.Option(min=1, help="Backlogs; repeat.")] = None,
    size: Annotated[list[int] | None, typer.Option(min=1, max=10_000, help="Prefetch sizes; repeat.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each point.")] = 5,
    output: Output = Path("build/sweep-prefetch.json"),
    html: Html = None,
    resume: Resume = False,
    bootstrap_servers: Servers = None,
    embedded: Embedded = False,
) -> None:
    """Measure the points that are not there yet, and print the table."""
    points = measured.prefetch_points(
        tuple(messages or measured.PREFETCH_MESSAGES), tuple(size or measured.PREFETCH_SIZES), repeats=repeats
    )

    def begin(where: Broker, kept: set[str], told: Callable[[Any], None]) -> Iterator[Row]:
        todo = [each for each in points if each.key not in kept]
        return measured.prefetch(where, todo, told=told)

    keys = [each.key for each in points]
    rows = _kept(output, keys, begin, resume=resume, servers=bootstrap_servers, embedded=embedded)
    _console.print(_prefetch_table(rows))
    if html:
        lines = [
            Line(f"{how}, {count:,} messages", [(row["size"], row["per_second_avg"]) for row in rows
                                                if (row["how"], row["messages"]) == (how, count)])
            for how, count in dict.fromkeys((row["how"], row["messages"]) for row in rows)
        ]  # fmt: skip
        _page(html, "Prefetch sizes", lines, x="prefetch size", y="messages per second")


@_app.command(help=_POOL)
def pool(
    *,
    messages: Annotated[int, typer.Option(min=1, help="Messages.")] = 2_000,
    work_ms: Annotated[float, typer.Option(min=0, help="Milliseconds that each blocks its worker.")] = 100.0,
    workers: Annotated[list[int] | None, typer.Option(min=1, max=512, help="Pool sizes; repeat.")] = None,
    output: Output = Path("build/sweep-pool.json"),
    html: Html = None,
    resume: Resume = False,
    bootstrap_servers: Servers = None,
    embedded: Embedded = False,
) -> None:
    """Measure the pool sizes that are not there yet, and print the table."""
    sizes = list(workers or measured.POOL_SIZES)
    keys = [f"{messages}x{work_ms:g}/{each}" for each in sizes]

    def begin(where: Broker, kept: set[str], told: Callable[[Any], None]) -> Iterator[Row]:
        todo = [each for each, key in zip(sizes, keys, strict=True) if key not in kept]
        return measured.pool(where, todo, messages=messages, work_ms=work_ms, told=told)

    rows = _kept(output, keys, begin, resume=resume, servers=bootstrap_servers, embedded=embedded)
    _console.print(_pool_table(rows))
    if html:
        lines = [Line("measured", [(row["workers"], row["seconds"]) for row in rows]),
                 Line("ideal", [(row["workers"], row["ideal_seconds"]) for row in rows])]  # fmt: skip
        _page(html, f"{messages:,} messages of {work_ms:g} ms", lines, x="workers", y="seconds")


Begin = Callable[[Broker, set[str], Callable[[Any], None]], Iterator[Row]]


def _kept(
    output: Path, keys: list[str], begin: Begin, *, resume: bool, servers: str | None, embedded: bool
) -> list[Row]:
    """Measure what is missing, keep every point at once, and return all of them in order."""
    try:
        found = _there(output) if resume and output.exists() else {}
        there = len(found.keys() & set(keys))
        with interruptible(), _progress() as bars:
            task = bars.add_task("points", total=len(keys), completed=there)

            def told(point: object) -> None:
                bars.update(task, description=str(getattr(point, "key", point)))

            for row in begin(broker.connect(servers, embedded=embedded), set(found), told):
                found[row["key"]] = row
                whole_file.write_json(output, {"machine": machine(), "rows": list(found.values())})
                bars.advance(task)
    except (WorkbenchError, KafkaException, OSError) as error:
        terminal.failed(_console, error)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        _console.print(f"interrupted; the same command with --resume goes on from {output}")
        raise typer.Exit(130) from None
    return [found[key] for key in keys]


def _there(output: Path) -> dict[str, Row]:
    """Return all points of a file by key: those that are not asked for now stay in it."""
    rows = load_json(output).get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "key" in row for row in rows):
        raise ScenarioFileError(f"{output} is no file of `benchmarks.sweeps`: it has no list `rows` of points")
    return {row["key"]: row for row in rows}


def _prefetch_table(rows: list[Row]) -> Table:
    table = Table("messages", "how", "size", "runs (s)", "average", "spread", "msg/s", title="Prefetch sizes")
    for row in rows:
        runs = " ".join(f"{each:.2f}" for each in row["seconds"])
        table.add_row(f"{row['messages']:,}", row["how"], str(row["size"]), runs, f"{row['seconds_avg']:.3f}",
                      f"+-{row['seconds_std']:.3f}", f"{row['per_second_avg']:,}")  # fmt: skip
    return table


def _pool_table(rows: list[Row]) -> Table:
    table = Table("messages", "workers", "load (s)", "seconds", "ideal", "share of ideal", "document")
    for row in rows:
        document = "-" if row["document_seconds"] is None else f"{row['document_seconds']}"
        table.add_row(f"{row['messages']:,}", str(row["workers"]), f"{row['work_ms'] / 1e3:g}", f"{row['seconds']:.2f}",
                      f"{row['ideal_seconds']:.2f}", f"{row['share_of_ideal']:.1%}", document)  # fmt: skip
    return table


def _page(path: Path, title: str, lines: list[Line], *, x: str, y: str) -> None:
    picture = plots.plot(title, f"{y} by {x}", lambda axes, _: plots.lines(axes, lines, x=x, y=y))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page.page(title, [page.figure(picture)]))
    _console.print(f"page: {path}", soft_wrap=True, markup=False)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=_console, transient=True,
    )  # fmt: skip


if __name__ == "__main__":
    _app()
