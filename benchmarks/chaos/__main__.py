"""`python -m benchmarks.chaos`: run cases of the matrix, one case again by its seed, or soaks."""

import shutil
import tempfile
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.chaos import pairwise, plan
from benchmarks.chaos.broker import chaos_broker
from benchmarks.chaos.errors import ChaosError
from benchmarks.chaos.plan import Case
from benchmarks.chaos.report import Report
from benchmarks.chaos.runner import Outcome, run
from benchmarks.chaos.soak import SECONDS, Sampler, SoakOutcome, growth, soak_case
from testbed.errors import TestbedError
from testbed.kafka import Kafka

_EXAMPLES = """
Examples:

  python -m benchmarks.chaos                                 the pairwise subset, at most 15 minutes

  python -m benchmarks.chaos --matrix full --soak            every case, then a soak of each mode

  python -m benchmarks.chaos --case async-key-cooperative-crash --seed 5     that case again

  python -m benchmarks.chaos --list                          what would run, with seeds
"""
_BUDGET_SECONDS = 15 * 60
_app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
_console = Console()


class Matrix(StrEnum):
    """Which cases run."""

    PAIRWISE = "pairwise"
    FULL = "full"
    NONE = "none"


@_app.command(help=f"Break the runtime on purpose, on real Kafka, and count what it cost.\n{_EXAMPLES}")
def main(
    *,
    matrix: Annotated[Matrix, typer.Option(help="Which cases to run.")] = Matrix.PAIRWISE,
    case: Annotated[str | None, typer.Option(help="Only this one: mode-ordering-protocol-family.")] = None,
    seed: Annotated[int, typer.Option(help="With --case its own seed, else what all seeds are drawn from.")] = (
        plan.DEFAULT_SEED
    ),
    messages: Annotated[int, typer.Option(min=1_000, help="Messages in each case.")] = plan.DEFAULT_MESSAGES,
    soak: Annotated[bool, typer.Option("--soak", help="Then soak each mode.")] = False,
    soak_seconds: Annotated[float, typer.Option(min=20, help="How long one soak sends messages.")] = SECONDS,
    patience: Annotated[float, typer.Option(min=1, help="Seconds to wait for the group to finish a case.")] = 90.0,
    output: Annotated[Path, typer.Option(help="Written after every case.")] = Path("build/chaos.json"),
    folder: Annotated[Path | None, typer.Option(help="Where logs go; those of failed cases are kept.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the logs of cases that passed, too.")] = False,
    only_list: Annotated[bool, typer.Option("--list", help="Say what would run.")] = False,
) -> None:
    """Run what was asked for; exits with 1 when a promise was broken or a case could not run."""
    try:
        cases = _cases(matrix, case, seed, messages)
    except ChaosError as error:
        raise typer.BadParameter(str(error)) from error
    soaks = [soak_case(mode, seed=seed, seconds=soak_seconds) for mode in plan.MODES] if soak else []
    if only_list:
        for each in (*cases, *soaks):
            _console.print(f"--case {each.name} --seed {each.seed}", highlight=False)
        return
    report = Report(output, planned=len(cases) + len(soaks))
    root = folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    is_bounded = matrix is Matrix.PAIRWISE and case is None
    budget = _BUDGET_SECONDS if is_bounded else float("inf")
    _run_all(report, cases, soaks, root=root, patience=patience, budget=budget)
    if not keep:
        _remove_logs(report)
    _console.print(report.table())
    raise typer.Exit(code=int(report.failed))


def _cases(matrix: Matrix, name: str | None, seed: int, messages: int) -> list[Case]:
    if name is not None:
        return [plan.case_named(name, seed=seed, messages=messages)]
    whole = plan.every_case(seed=seed, messages=messages)
    return {Matrix.FULL: whole, Matrix.PAIRWISE: pairwise.subset(whole), Matrix.NONE: []}[matrix]


def _run_all(
    report: Report, cases: list[Case], soaks: list[Case], *, root: Path, patience: float, budget: float
) -> None:
    broker = chaos_broker()
    deadline = time.monotonic() + budget
    try:
        broker.start()
        for each in (*cases, *soaks):
            if time.monotonic() < deadline:
                _attempt(report, each, broker, root=root, patience=patience, is_soak=each in soaks)
            else:
                report.errors.append({"case": each.name, "error": f"not run: the {budget:g} s are over"})
    except TestbedError as error:
        _console.print(f"[red]no broker:[/red] {error}")
        report.errors.append({"case": "", "error": str(error)})
    finally:
        report.save()
        broker.remove()


def _attempt(report: Report, case: Case, broker: Kafka, *, root: Path, patience: float, is_soak: bool) -> None:
    """Run one case or soak, say how it went, and save."""
    _console.print(f"[bold]{case.name}[/bold] --seed {case.seed} ...", highlight=False)
    sampler = Sampler()
    try:
        outcome = run(case, broker, root=root, patience_seconds=patience, tick=sampler)
        failures = _book_soak(report, outcome, sampler) if is_soak else _book(report, outcome)
        _say(outcome, failures)
    except ChaosError as error:
        report.errors.append({"case": case.name, "error": str(error)})
        _console.print(f"  [red]not judged:[/red] {error}")
    report.save()


def _book(report: Report, outcome: Outcome) -> list[str]:
    report.outcomes.append(outcome)
    return outcome.verdict.failures


def _book_soak(report: Report, outcome: Outcome, sampler: Sampler) -> list[str]:
    soak = SoakOutcome(outcome=outcome, growth=growth(sampler.samples))
    report.soaks.append(soak)
    return soak.failures


def _say(outcome: Outcome, failures: list[str]) -> None:
    counts = outcome.verdict
    _console.print(
        f"  {outcome.seconds:.0f} s, {counts.messages} messages, {counts.duplicates} of at most "
        f"{counts.duplicates_bound} duplicates, {counts.dead_lettered} of {counts.poisoned} dead letters",
        highlight=False,
    )
    for failure in failures:
        _console.print(f"  [red]broken:[/red] {failure}", highlight=False)
    if failures:
        _console.print(f"  logs in {outcome.folder}", highlight=False)


def _remove_logs(report: Report) -> None:
    """Remove what a case left when it passed."""
    passed = [outcome for outcome in report.outcomes if not outcome.verdict.failures]
    for outcome in (*passed, *(soak.outcome for soak in report.soaks if not soak.failures)):
        shutil.rmtree(outcome.folder)


if __name__ == "__main__":
    _app()
