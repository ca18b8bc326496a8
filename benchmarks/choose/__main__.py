"""`python -m benchmarks.choose`: mode, knobs and bounds for a handler of yours."""

import os
import re
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from confluent_kafka import KafkaException
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from benchmarks.choose import manifest, sample
from benchmarks.choose.advice import Advice, NoModeError, advise
from benchmarks.choose.kept import Kept
from benchmarks.choose.trials import CORES, Trial, Tried, ladders, tried
from benchmarks.report import page, plots, terminal
from benchmarks.report.plots import Line
from benchmarks.scenarios import broker
from benchmarks.scenarios.broker import Broker
from benchmarks.scenarios.errors import WorkbenchError
from benchmarks.scenarios.measure import interruptible
from consumer_runtime import StartFailure
from consumer_runtime.contract.settings import Mode, Ordering
from consumer_runtime.embedded import Record
from consumer_runtime.handler import load

_HELP = """Measure a handler in every mode that it allows, and print a ParallelConsumer manifest for it.

The manifest goes to standard output, with the reasons as comments; everything else to standard error.

Examples:

  python -m benchmarks.choose mypkg.handlers:handle --sample messages.jsonl > parallelconsumer.yaml

  python -m benchmarks.choose mypkg.handlers:handle --sample messages.jsonl --seconds 10 --html build/choose.html

  python -m benchmarks.choose mypkg.handlers:handle --sample messages.jsonl --resume > parallelconsumer.yaml
"""
_BYTES_AT_MOST = 200_000_000
_BAR = 40
_OUTPUT = Path("build/choose.json")
_app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
_console = Console(highlight=False, stderr=True, width=None if sys.stderr.isatty() else 140)


def _resource_name(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?", value):
        raise typer.BadParameter("up to 50 of a-z, 0-9 and -, neither beginning nor ending with -")
    return value


def _topic(value: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", value):
        raise typer.BadParameter("up to 249 of a-z, A-Z, 0-9, ., _ and -")
    return value


@_app.command(help=_HELP)
def main(
    entrypoint: Annotated[str, typer.Argument(help="Your handler, as package.module:attribute.")],
    *,
    sample_file: Annotated[Path, typer.Option("--sample", help="Messages of yours, one JSON value per line.")],
    seconds: Annotated[float, typer.Option(min=1, help="For each mode, over all its settings.")] = 60.0,
    messages: Annotated[int, typer.Option(min=1, help="Messages in the topic; the sample is repeated.")] = 200_000,
    rounds: Annotated[int, typer.Option(min=1, help="Trials of each setting; the best counts.")] = 2,
    mode: Annotated[list[Mode] | None, typer.Option(help="Only this one; repeat. By default all that fit.")] = None,
    ordering: Annotated[Ordering, typer.Option(help="Which messages wait for each other.")] = Ordering.KEY,
    name: Annotated[
        str | None, typer.Option(callback=_resource_name, help="Of the resource; by default from the entry point.")
    ] = None,
    topic: Annotated[str, typer.Option(callback=_topic, help="Your topic, for the manifest.")] = "my-topic",
    group: Annotated[str | None, typer.Option(help="Your consumer group; by default the resource's name.")] = None,
    image: Annotated[str | None, typer.Option(help="Your image, for the manifest.")] = None,
    html: Annotated[Path, typer.Option(help="The page with the plot.")] = Path("build/choose.html"),
    output: Annotated[Path, typer.Option(help="Where trials are kept, each as soon as it is there.")] = _OUTPUT,
    resume: Annotated[bool, typer.Option("--resume", help="Keep the trials that are there.")] = False,
    bootstrap_servers: Annotated[
        str | None, typer.Option(envvar=broker.SERVERS_VARIABLE, help="A Kafka of yours; by default the testbed's.")
    ] = None,
    embedded: Annotated[bool, typer.Option("--embedded", help="librdkafka's mock Kafka: to try.")] = False,
) -> None:
    """Measure, advise, print. What else runs on a machine only slows, so the best round counts."""
    sys.path.insert(0, str(Path.cwd()))
    resource = name or re.sub(r"[^a-z0-9]+", "-", entrypoint.lower())[:50].strip("-")
    try:
        is_async = load(entrypoint).is_async
        records = sample.read(sample_file)
        steps = _steps(mode, is_async=is_async)
        count = _count(records, messages)
        of = {"entrypoint": entrypoint, "sample": sample.digest(records), "messages": count, "seconds": seconds,
              "rounds": rounds, "ordering": ordering.value}  # fmt: skip
        kept = Kept.begun(output, of, resume=resume)
        with interruptible():
            plan = _plan(steps, seconds=seconds, rounds=rounds)
            _measure(broker.connect(bootstrap_servers, embedded=embedded), records, count, plan, kept)
        tried_all = [each for each in kept.best() if each.trial.mode in steps]
        advice = advise(tried_all, cores=CORES, load=os.getloadavg()[0])
    except (WorkbenchError, StartFailure, KafkaException, OSError) as error:
        terminal.failed(_console, error)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        _console.print(f"interrupted; the same command with --resume goes on from {output}", markup=False)
        raise typer.Exit(130) from None
    _console.print(_table(tried_all, advice))
    _write(html, tried_all, advice)
    made = manifest.manifest(
        advice, name=resource, entrypoint=entrypoint, topic=topic, group=group or resource, image=image,
        ordering=ordering.value,
    )  # fmt: skip
    print(manifest.as_yaml(made, advice.reasons), end="")


def _steps(wanted: list[Mode] | None, *, is_async: bool) -> dict[Mode, list[Trial]]:
    """Return what to try of the modes wanted. Raises NoModeError when the handler fits none of them."""
    fitting = ladders(is_async=is_async)
    steps = {mode: trials for mode, trials in fitting.items() if wanted is None or mode in wanted}
    if not steps:
        kind = "async def" if is_async else "no async def"
        raise NoModeError(f"--mode {', '.join(wanted or ())}: this handler is {kind}; try {', '.join(fitting)}")
    return steps


def _count(records: list[Record], messages: int) -> int:
    """Return how many messages are made of the sample: as many as asked for, within what a disk should bear."""
    average = sum(len(each.value or b"") for each in records) / len(records)
    return max(min(messages, int(_BYTES_AT_MOST / max(average, 1))), 1)


def _plan(steps: dict[Mode, list[Trial]], *, seconds: float, rounds: int) -> list[tuple[int, Trial, float]]:
    """Return rounds of every trial with its share of its mode's seconds."""
    return [
        (turn, trial, seconds / len(trials) / rounds)
        for turn in range(rounds)
        for trials in steps.values()
        for trial in trials
    ]


def _measure(
    where: Broker, records: list[Record], count: int, plan: list[tuple[int, Trial, float]], kept: Kept
) -> None:  # fmt: skip
    """Make the trials that are not there yet, on a topic of their own."""
    todo = [each for each in plan if kept.missing(*each[:2])]
    if not todo:
        return
    topic = f"choose-{time.time_ns()}"
    where.create(topic)
    try:
        with _progress() as bars:
            filling = bars.add_task("fill the topic", total=count)
            where.fill(topic, sample.repeated(records, count), told=lambda sent: bars.update(filling, completed=sent))
            bars.update(filling, completed=count)
            task = bars.add_task("trials", total=len(plan), completed=len(plan) - len(todo))
            for turn, trial, share in todo:
                bars.update(task, description=f"{trial.mode}, {trial.at_once} at once")
                kept.add(turn, tried(where.servers, topic, trial, messages=count, seconds=share, **_handler(kept)))
                bars.advance(task)
    finally:
        where.drop(topic)


def _handler(kept: Kept) -> dict[str, Any]:
    return {"entrypoint": kept.of["entrypoint"], "ordering": Ordering(kept.of["ordering"])}


def _table(found: list[Tried], advice: Advice) -> Table:
    table = Table("mode", "at once", "msg/s", "handler p99 ms", "cores", "MB", "", title=f"Advice: {advice.mode}")
    best = max(each.rate for each in found)
    for each in found:
        bar = (
            "█" * max(round(_BAR * each.rate / best), 1)
            if each.succeeded
            else each.reason_not or "every attempt failed"
        )
        figures = (f"{each.rate:,.0f}", f"{each.handler_ms_p99:,.1f}", f"{each.cpu_share:.2f}", f"{each.rss_mb:,.0f}")
        table.add_row(each.trial.mode.value, str(each.trial.at_once), *figures, Text(bar))
    return table


def _write(path: Path, found: list[Tried], advice: Advice) -> None:
    by_mode: dict[Mode, list[Tried]] = {}
    for each in found:
        if each.succeeded:
            by_mode.setdefault(each.trial.mode, []).append(each)
    curves = [
        Line(
            mode.value,
            [(each.trial.at_once, each.rate) for each in group],
            advice.chosen.trial.at_once if mode is advice.mode else None,
        )
        for mode, group in by_mode.items()
    ]  # fmt: skip
    picture = plots.plot(
        "Your handler by mode and concurrency",
        "Messages per second by messages at once (async) or workers (thread, process); a ring marks what was chosen.",
        lambda axes, _: plots.lines(axes, curves, x="at once", y="messages per second"),
    )
    reasons = "".join(f"<li>{page.escaped(each)}</li>" for each in advice.reasons)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page.page("Choice of a mode", [page.figure(picture), f"<ul>{reasons}</ul>"]))
    _console.print(f"plot: {path}", soft_wrap=True, markup=False)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=_console, transient=True)


if __name__ == "__main__":
    _app()
