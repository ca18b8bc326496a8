"""`python -m benchmarks.chaos`: run cases of the matrix, one case again by its seed, or soaks."""

import signal
import tempfile
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated, Never

import typer
from rich.console import Console

from benchmarks.chaos import pairwise, plan
from benchmarks.chaos.errors import ChaosError
from benchmarks.chaos.plan import Case
from benchmarks.chaos.report import Report
from benchmarks.chaos.series import Series
from benchmarks.chaos.soak import SECONDS, soak_case

_EXAMPLES = """
Examples:

  python -m benchmarks.chaos                                 every pair, in at most 15 minutes

  python -m benchmarks.chaos --matrix full --soak --resume --output build/chaos-full.json     everything, in an hour

  python -m benchmarks.chaos --case async-key-cooperative-crash --seed 5     that case again

  python -m benchmarks.chaos --promises-only                 the same on a machine that may be slow

  python -m benchmarks.chaos --list                          what would run, with seeds
"""
_MINUTES_OF_SUBSET = 15.0
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
    case: Annotated[str | None, typer.Option(help="Only this one: mode-ordering-protocol-family[+family].")] = None,
    seed: Annotated[int, typer.Option(help="With --case its own seed, else what all seeds are drawn from.")] = (
        plan.DEFAULT_SEED
    ),
    messages: Annotated[int, typer.Option(min=1_000, help="Messages in each case.")] = plan.DEFAULT_MESSAGES,
    soak: Annotated[bool, typer.Option("--soak", help="Then soak all modes, side by side.")] = False,
    soak_seconds: Annotated[float, typer.Option(min=20, help="How long soaks send messages.")] = SECONDS,
    patience: Annotated[float, typer.Option(min=1, help="Seconds to wait for the group to finish a case.")] = 90.0,
    minutes: Annotated[
        float | None, typer.Option(min=1, help="Begin no case that would end later; 15 for the pairwise subset.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Written after every case.")] = Path("build/chaos.json"),
    resume: Annotated[bool, typer.Option("--resume", help="Leave out what passed, as the output has it.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Where logs go; those of failed cases are kept.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the logs of cases that passed, too.")] = False,
    promises_only: Annotated[
        bool,
        typer.Option(
            "--promises-only",
            help="Fail for broken promises alone, and when less than half passed: a slow machine may not cause each "
            "fault, or not run each case in time. Without it that fails, too.",
        ),
    ] = False,
    only_list: Annotated[bool, typer.Option("--list", help="Say what would run.")] = False,
    only_table: Annotated[bool, typer.Option("--table", help="Print the output of an earlier run as tables.")] = False,
) -> None:
    """Run what was asked for; exits with 1 when a promise was broken or a case could not run."""
    soaks = [soak_case(mode, seed=seed, seconds=soak_seconds) for mode in plan.MODES] if soak else []
    try:
        cases = _cases(matrix, case, seed, messages)
        taken_up = Report.resumed if resume or only_table else Report
        report = taken_up(output, [*cases, *soaks])
    except ChaosError as error:
        raise typer.BadParameter(str(error)) from error
    if only_list or only_table:
        typer.echo("\n".join(map(_spelled, report.open)) if only_list else report.markdown())
        return
    signal.signal(signal.SIGTERM, _end_in_order)
    if minutes is None and matrix is Matrix.PAIRWISE and case is None:
        minutes = _MINUTES_OF_SUBSET
    Series(
        report,
        console=_console,
        root=folder or Path(tempfile.mkdtemp(prefix="chaos-")),
        patience_seconds=patience,
        budget_seconds=None if minutes is None else 60 * minutes,
        keeps_logs=keep,
    ).run(soaks=soaks)
    _console.print(report.table())
    for each in report.errors:
        _console.print(f"[yellow]{each['case']}: {each['error']}[/yellow]", highlight=False)
    raise typer.Exit(code=int(report.broken if promises_only else report.failed))


def _cases(matrix: Matrix, name: str | None, seed: int, messages: int) -> list[Case]:
    if name is not None:
        return [plan.case_named(name, seed=seed, messages=messages)]
    if matrix is Matrix.PAIRWISE:
        return pairwise.subset(plan.mixed_cases(seed=seed, messages=messages))
    return plan.every_case(seed=seed, messages=messages) if matrix is Matrix.FULL else []


def _spelled(case: Case) -> str:
    return f"--case {case.name} --seed {case.seed}"


def _end_in_order(_signal: int, _frame: FrameType | None) -> Never:
    """Let the broker and the consumers be ended on SIGTERM, too."""
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    _app()
