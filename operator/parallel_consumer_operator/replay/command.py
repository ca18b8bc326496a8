"""The command `replay`: arguments, what is printed, exit codes. What is compared is `comparison.py`'s."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from parallel_consumer_operator.errors import OperatorError
from parallel_consumer_operator.replay import other_policy, plot
from parallel_consumer_operator.replay.comparison import Row, brief, decided_again, differences, under
from parallel_consumer_operator.replay.recording import Recorded, read

DIFFERS, UNUSABLE = 1, 2
"""Exit codes: a decision came out differently; a file or an option cannot be used."""
PIPE_WIDTH = 200
"""Characters of a line where no terminal says how wide it is."""


def replay(
    decisions: Annotated[Path, typer.Argument(help="The operator's log, or decision lines of it: JSON, one per line.")],
    *,
    what_if: Annotated[
        Path | None, typer.Option(help="Fields of spec.tuning that replace the recorded ones: what would it have done?")
    ] = None,
    plot_file: Annotated[
        Path, typer.Option("--plot", help="Where --what-if draws: .png, .svg or .html; needs matplotlib.")
    ] = Path("build/what-if.png"),
    no_plot: Annotated[bool, typer.Option("--no-plot", help="With --what-if: only the table.")] = False,
) -> None:
    """Decide again what was decided: 0 when all is the same, 1 with the lines that differ, 2 for a bad file."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
    try:
        recorded = read(decisions)
        if what_if is None:
            same = _replay(recorded, console)
        else:
            _what_if(recorded, what_if, None if no_plot else plot_file, console)
            same = True
    except OperatorError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(UNUSABLE) from error
    raise typer.Exit(0 if same else DIFFERS)


def _replay(recorded: Sequence[Recorded], console: Console) -> bool:
    rows = decided_again(recorded)
    differing = [row for row in rows if not row.same]
    for row in differing:
        console.print("\n".join(differences(row)), markup=False, soft_wrap=True)
    console.print(f"{len(rows)} decisions, {len(rows) - len(differing)} the same, {len(differing)} different")
    return not differing


def _what_if(recorded: Sequence[Recorded], path: Path, drawn: Path | None, console: Console) -> None:
    changes = other_policy.read(path)
    if drawn is not None:
        plot.require(drawn)
    rows = under(recorded, path, changes)
    differing = [row for row in rows if not row.same]
    console.print(_table(differing) if differing else "The other policy would have decided the same.")
    before = Counter(row.recorded.entry.action for row in rows)
    after = Counter(row.again.action for row in rows)
    console.print(
        f"{len(rows)} decisions, {len(differing)} different. Recorded: {_counts(before)}. What if: {_counts(after)}."
    )
    console.print("Each is decided from what was measured then; what another step would have led to was not measured.")
    if drawn is not None:
        plot.draw(rows, drawn, f"{path.name}: what it would have done")
        console.print(f"Drawn: {drawn}", markup=False, soft_wrap=True)


def _table(rows: Sequence[Row]) -> Table:
    table = Table("line", "time", "resource", "recorded", "what if", "why")
    for row in rows:
        table.add_row(
            str(row.recorded.line),
            f"{row.now:%Y-%m-%d %H:%M:%S}",
            *(escape(text) for text in (row.resource, brief(row.recorded.entry), brief(row.again), row.again.message)),
        )
    return table


def _counts(actions: Counter[str]) -> str:
    return ", ".join(f"{count} {action}" for action, count in sorted(actions.items()))
