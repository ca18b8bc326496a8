"""How far a run of cases is: bars on a terminal, and lines everywhere. Judges nothing."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks.chaos.plan import Case
from benchmarks.chaos.runner import Outcome
from benchmarks.chaos.stage import Stage


class Telling:
    """Tells of cases as they run; called at every tick of a case, from whichever thread runs it."""

    def __init__(self, console: Console, *, cases: int) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._whole = self._bars.add_task("cases", total=cases)
        self._bar_of: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, stage: Stage) -> None:
        """Show how much of a case's load is sent."""
        self._bars.update(self._bar_of[stage.case.name], completed=stage.load.sent)

    def began(self, case: Case) -> None:
        """Tell that a case begins."""
        self._console.print(f"[bold]{case.name}[/bold] --seed {case.seed} ...", highlight=False)
        self._bar_of[case.name] = self._bars.add_task("messages sent", total=case.messages)

    def ended(self, case: Case, outcome: Outcome | None, failures: list[str]) -> None:
        """Tell what came of a case; `outcome` is None when it could not be judged."""
        self._bars.remove_task(self._bar_of.pop(case.name))
        self._bars.advance(self._whole)
        if outcome is not None:
            self._console.print(f"  {case.name}: {_summary(outcome)}", highlight=False)
        for failure in failures:
            self._console.print(f"  [red]{case.name}: {failure}[/red]", highlight=False)
        if failures and outcome is not None:
            self._console.print(f"  logs in {outcome.folder}", highlight=False)


def _summary(outcome: Outcome) -> str:
    counts = outcome.verdict
    return (
        f"{outcome.seconds:.0f} s, {counts.messages} messages, {counts.lost} lost, {counts.duplicates} of at most "
        f"{counts.duplicates_bound} duplicates, {counts.dead_lettered} of {counts.poisoned} dead letters"
    )
