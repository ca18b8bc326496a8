"""`python -m benchmarks.figures`: measure the figures that have targets of their own; build/figures.json."""

import json
import time
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import whole_file
from benchmarks.compare.errors import CompareError
from benchmarks.figures import curves, pods, resting, together
from benchmarks.figures.figure import Bench, Figure
from benchmarks.machine import machine
from testbed.errors import TestbedError
from testbed.kafka import Kafka

_EXAMPLES = """
Examples:

  python -m benchmarks.figures                                    all; about 25 minutes

  python -m benchmarks.figures --only resting --only members      some; the others stay in the file
"""
_app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
_console = Console(highlight=False)


class Part(StrEnum):
    """What can be measured by itself."""

    MESSAGES = "messages"
    PARTITIONS = "partitions"
    KEYS = "keys"
    BYTES = "bytes"
    IN_FLIGHT = "in-flight"
    RESTING = "resting"
    MEMBERS = "members"
    KILLED = "killed"
    BLOCKING = "blocking"
    PODS = "pods"


_PARTS: dict[Part, Callable[[Bench], Iterable[Figure]]] = {
    **{Part(name): curves.along(name) for name in curves.AXES},
    Part.RESTING: resting.figures,
    Part.MEMBERS: together.members,
    Part.KILLED: together.killed,
    Part.BLOCKING: together.blocking,
    Part.PODS: pods.figures,
}


@_app.command(help=f"Cost over size, memory, idling, members, kills: figures with a target each.\n{_EXAMPLES}")
def main(
    *,
    only: Annotated[list[Part] | None, typer.Option(help="Parts; repeat. All by default.")] = None,
    output: Annotated[Path, typer.Option(help="JSON; written after each figure.")] = Path("build/figures.json"),
) -> None:
    """Measure; exits with 1 when a target is missed or a part failed. The other parts are measured all the same."""
    kafka = Kafka()
    was_up = kafka.is_up()
    found: list[Figure] = []
    failed: list[Part] = []
    try:
        kafka.start()
        for part in only or list(Part):
            try:
                found += _measured(part, Bench(kafka), output)
            except CompareError as error:
                failed.append(part)
                _console.print(f"{part.value}: [red]failed:[/] {error}")
    except TestbedError as error:
        _console.print(f"[red]{error}[/]")
        raise typer.Exit(1) from error
    finally:
        if not was_up:
            kafka.remove()
    for each in (*curves.tables(found), table(found)):
        _console.print(each)
    raise typer.Exit(int(bool(failed) or any(not each.is_met for each in found)))


def _measured(part: Part, bench: Bench, output: Path) -> list[Figure]:
    """Measure a part, and keep each figure at once. Raises CompareError."""
    found = []
    for figure in _PARTS[part](bench):
        found.append(figure)
        _keep(output, figure)
        _console.print(f"{figure.name}: {figure.value:,.3g} {figure.unit} {figure.points or ''}")
    return found


def table(found: Iterable[Figure]) -> Table:
    """Return the figures with their bounds."""
    shown = Table("figure", "value", "unit", "bound", "")
    for each in found:
        bounds = [f"<= {each.at_most:g}" if each.at_most is not None else ""]
        bounds += [f">= {each.at_least:g}" if each.at_least is not None else ""]
        verdict = "" if bounds == ["", ""] else ("[green]met[/]" if each.is_met else "[red]missed[/]")
        shown.add_row(each.name, f"{each.value:,.3g}", each.unit, " ".join(bounds).strip(), verdict)
    return shown


def _keep(path: Path, figure: Figure) -> None:
    """Put a figure into the file, in the place of an older one of its name."""
    kept = json.loads(path.read_text())["figures"] if path.exists() else {}
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    kept[figure.name] = figure.document() | {"written_at": now}
    whole_file.write_json(path, {"machine": machine(), "figures": kept})


if __name__ == "__main__":
    _app()
