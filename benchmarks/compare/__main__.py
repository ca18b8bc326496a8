"""`python -m benchmarks.compare`: measure what was asked for in interleaved rounds, then report."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.compare import environments, open_loop, ratios, report, store, works
from benchmarks.compare.errors import CompareError, PeerUnavailableError
from benchmarks.compare.handlers import iterations_of
from benchmarks.compare.job import Kind
from benchmarks.compare.measure import Pace, run
from benchmarks.compare.open_loop import Offer
from benchmarks.compare.store import Store
from benchmarks.compare.topics import Contents, Topic, filled
from benchmarks.compare.works import Keys, Size, System, Work
from testbed.errors import TestbedError
from testbed.kafka import Kafka

_EXAMPLES = """
Examples:

  python -m benchmarks.compare                                  every work and peer, three rounds; about 90 minutes

  python -m benchmarks.compare --targets --window 15 --no-latency --resume   the ratios with a target; about 40 minutes

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
    latency_seconds: Annotated[float, typer.Option(min=1, help="Seconds of latency at half load.")] = 10.0,
    targets: Annotated[bool, typer.Option("--targets", help="Only what ratios with a target need.")] = False,
    latency: Annotated[bool, typer.Option(help="Latency at half load too, after the rounds.")] = True,
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
        latency=latency_seconds,
    )
    count = messages or (_QUICK_MESSAGES if quick else _FULL_MESSAGES)
    parameters = {"messages": count, "warm": pace.warm, "warm_java": pace.warm_java, "window": pace.window}
    try:
        kept = store.resumed(output, parameters) if resume else Store(output, parameters)
        comparison = _Comparison(kept, pace, rounds, set(system or System), only_targets=targets)
        failed = comparison.measure(chosen, count, with_latency=latency)
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

    def __init__(self, kept: Store, pace: Pace, rounds: int, systems: set[System], *, only_targets: bool) -> None:
        self.kept = kept
        self.pace = pace
        self.rounds = rounds
        self.systems = systems
        self.only_targets = only_targets
        self.failed = False
        self.kafka = Kafka()

    def measure(self, chosen: list[Work], messages: int, *, with_latency: bool) -> bool:
        """Measure round by round, each system in turn; return whether a run failed."""
        was_up = self.kafka.is_up()
        self.kafka.start()
        try:
            pairs = [(work, each) for work in chosen for each in work.systems if self._is_wanted(work, each)]
            topics = {work.title: self._topic(work, messages) for work in chosen}
            ready = [(work, each) for work, each in pairs if self._prepared(work, each)]
            for number in range(self.rounds):
                for work, each in ready:
                    if self.kept.done(work.title, each) <= number:
                        self._run(work, each, topics[work.title])
            for work, each in ready if with_latency else ():
                self._latency(work, each)
        finally:
            if not was_up:
                self.kafka.remove()
        return self.failed

    def _is_wanted(self, work: Work, system: System) -> bool:
        return system in self.systems and (work.has_target(system) or not self.only_targets)

    def _latency(self, work: Work, system: System) -> None:
        rate = ratios.median(self.kept.runs, work.title, system)
        if rate is None or self.kept.latency(work.title, system) is not None:
            return
        offered = min(open_loop.LOAD * rate, open_loop.RATE_AT_MOST)
        offer = Offer(per_second=offered, warm_seconds=self.pace.warm_of(system), seconds=self.pace.latency)
        try:
            found = open_loop.latency(system, work, self.kafka, offer, iterations=self._iterations(work))
        except CompareError as error:
            self.kept.add_latency(work.title, system, str(error))
            _console.print(f"{work.title} {system.value}: [red]no latency:[/] {error}")
            return
        self.kept.add_latency(work.title, system, found)
        _console.print(
            f"{work.title} {system.value}: at {offered:,.0f}/s p50 {found.p50:.1f} ms, p99 {found.p99:.1f} ms "
            f"(the handler alone {found.handler_p99:.1f} ms)"
        )

    def _topic(self, work: Work, messages: int) -> Topic:
        is_short = work.size is Size.SHORT
        keys = Keys.UNIFORM if is_short else work.keys
        return filled(self.kafka, Contents(messages=_SHORT_MESSAGES if is_short else messages, keys=keys))

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
        except CompareError as error:
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
