"""`python -m benchmarks.compare`: measure what was asked for in interleaved rounds, then report."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.compare import environments, report, store, works
from benchmarks.compare.errors import CompareError, PeerUnavailableError, RunFailedError
from benchmarks.compare.handlers import iterations_of
from benchmarks.compare.job import Kind
from benchmarks.compare.measure import Pace, run
from benchmarks.compare.store import Store
from benchmarks.compare.topics import Topic, filled
from benchmarks.compare.works import Keys, Size, System, Work
from testbed.errors import TestbedError
from testbed.kafka import Kafka

_EXAMPLES = """
Examples:

  python -m benchmarks.compare                                  every work and peer, three rounds; about two hours

  python -m benchmarks.compare --quick --rounds 1               to see it run; its figures mean nothing

  python -m benchmarks.compare --only noop/async --only cpu1    these works
"""
_FULL = Pace(warm=10.0, warm_java=30.0, window=20.0)
_QUICK = Pace(warm=1.0, warm_java=2.0, window=2.0)
_FULL_MESSAGES = 12_000_000
_QUICK_MESSAGES = 300_000
_SHORT_MESSAGES = 2_000
_app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
_console = Console(highlight=False)


@_app.command(help=f"Ours and the peers on one topic, broker and machine, in interleaved rounds.\n{_EXAMPLES}")
def main(
    *,
    only: Annotated[list[str] | None, typer.Option(help="Works, as noop/async or io5-key; repeat.")] = None,
    system: Annotated[list[System] | None, typer.Option(help="Systems; repeat. All by default.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each system.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="Seconds instead of minutes.")] = False,
    messages: Annotated[int | None, typer.Option(min=10_000, help="In each topic.")] = None,
    warm: Annotated[float | None, typer.Option(min=0, help="Seconds discarded at the beginning.")] = None,
    warm_java: Annotated[float | None, typer.Option(min=0, help="The same of the JVM.")] = None,
    window: Annotated[float | None, typer.Option(min=0.1, help="Seconds measured.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the same command stopped.")] = False,
    output: Annotated[Path, typer.Option(help="JSON; the page goes beside it.")] = Path("build/compare.json"),
) -> None:
    """Measure and report; exits with 1 when a system failed or lost messages, or bare limits say the run is void."""
    chosen = works.selected(only or [])
    if not chosen:
        known = ", ".join(each.title for each in works.WORKS)
        raise typer.BadParameter(f"--only {only}: no such work; there are {known}")
    preset = _QUICK if quick else _FULL
    pace = Pace(
        warm=preset.warm if warm is None else warm,
        warm_java=preset.warm_java if warm_java is None else warm_java,
        window=window or preset.window,
    )
    count = messages or (_QUICK_MESSAGES if quick else _FULL_MESSAGES)
    parameters = {"messages": count, "warm": pace.warm, "warm_java": pace.warm_java, "window": pace.window}
    try:
        kept = store.resumed(output, parameters) if resume else Store(output, parameters)
        failed = _Comparison(kept, pace, rounds, set(system or System)).measure(chosen, count)
    except (CompareError, TestbedError) as error:
        _console.print(f"[red]{error}[/]")
        raise typer.Exit(1) from error
    document = kept.document()
    report.write_html(document, output.with_suffix(".html"))
    _console.print(report.results_table(document), report.ratios_table(document))
    for reason in document["void"]:
        _console.print(f"[red]void:[/] {reason}")
    raise typer.Exit(int(failed or bool(document["void"])))


class _Comparison:
    """Everything that one command measures, on one broker."""

    def __init__(self, kept: Store, pace: Pace, rounds: int, systems: set[System]) -> None:
        self.kept = kept
        self.pace = pace
        self.rounds = rounds
        self.systems = systems
        self.failed = False
        self.kafka = Kafka()

    def measure(self, chosen: list[Work], messages: int) -> bool:
        """Measure round by round, each system in turn; return whether a run failed."""
        was_up = self.kafka.is_up()
        self.kafka.start()
        try:
            pairs = [(work, each) for work in chosen for each in work.systems if each in self.systems]
            topics = {work.title: self._topic(work, messages) for work in chosen}
            ready = [(work, each) for work, each in pairs if self._prepared(work, each)]
            for number in range(self.rounds):
                for work, each in ready:
                    if self.kept.done(work.title, each) <= number:
                        self._run(work, each, topics[work.title])
        finally:
            if not was_up:
                self.kafka.remove()
        return self.failed

    def _topic(self, work: Work, messages: int) -> Topic:
        is_short = work.size is Size.SHORT
        keys = Keys.UNIFORM if is_short else work.keys
        return filled(self.kafka, keys, _SHORT_MESSAGES if is_short else messages)

    def _prepared(self, work: Work, system: System) -> bool:
        try:
            environments.prepare(system)
        except PeerUnavailableError as error:
            self.kept.miss(work.title, system, str(error))
            _console.print(f"{work.title} {system.value}: left out: {error}")
            return False
        return True

    def _run(self, work: Work, system: System, topic: Topic) -> None:
        try:
            result = run(
                system,
                work,
                topic,
                servers=self.kafka.bootstrap_servers,
                iterations=self._iterations(work),
                pace=self.pace,
            )
        except RunFailedError as error:
            self.failed = True
            self.kept.miss(work.title, system, str(error))
            _console.print(f"{work.title} {system.value}: [red]failed:[/] {error}")
            return
        self.kept.add(work.title, system, result)
        _console.print(
            f"{work.title} {system.value}: {result.msgs_per_second:,.0f}/s "
            f"({result.messages:,} in {result.seconds:.1f} s, {result.rss_mb:.0f} MB)"
        )

    def _iterations(self, work: Work) -> int:
        if work.kind is not Kind.CPU:
            return 0
        if work.name not in self.kept.iterations:
            self.kept.iterations[work.name] = iterations_of(work.seconds)
        return self.kept.iterations[work.name]


if __name__ == "__main__":
    _app()
