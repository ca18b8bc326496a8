"""`python -m benchmarks.autotune`: does the tuner find what a grid search would have found? Prints, and writes JSON.

In virtual time with `--simulate`, else on real parts (`benchmarks.real`), with `--pods` in containers. Judges nothing
itself: `simulator.targets`.
"""

import json
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.simulator.errors import SimulatorError
from benchmarks.simulator.random_workload import drawn
from benchmarks.simulator.report import report
from benchmarks.simulator.workload import Workload, load

if TYPE_CHECKING:
    from benchmarks.real.stage import Opened

WORKLOADS = Path(__file__).parent / "workloads"
REAL = WORKLOADS / "real"
"""Those that fit the machine."""
SHOWN = {
    "workload": "workload", "start_rate": "start/s", "oracle_rate": "oracle/s", "tuned_rate": "tuned/s",
    "ratio": "ratio", "oracle_knobs": "oracle's knobs", "tuned_knobs": "tuned knobs", "steps_applied": "steps",
    "rollbacks": "taken back", "windows_to_converge": "windows", "changes_after_convergence": "later",
    "seconds_over_objective": "s over",
}  # fmt: skip
_EXAMPLES = """
Examples:

  python -m benchmarks.autotune --simulate --workload benchmarks/workloads/downstream-knee.yaml

  python -m benchmarks.autotune --simulate --jobs 2        (every workload of the repository)

  python -m benchmarks.autotune --simulate --random 20 --seed 100        (workloads that nobody has seen)

  python -m benchmarks.autotune --pods --workload benchmarks/workloads/real/steady-io.yaml        (on real parts)
"""
application = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
_told = Console(stderr=True, highlight=False)


@application.command(help=f"Tune a workload, search its best static settings, and compare.\n{_EXAMPLES}")
def autotune(
    *,
    workload: Annotated[list[Path] | None, typer.Option(help="A workload file; repeat it. Default: all.")] = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="In virtual time, on a model of all parts.")] = False,
    pods: Annotated[
        bool, typer.Option("--pods", help="Real parts, in pods of the testbed's node; needs root.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Where to write the report.")] = Path("build/autotune.json"),
    random: Annotated[int, typer.Option(min=0, max=10_000, help="So many random workloads instead; with --seed.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="The first random workload's seed.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Workloads simulated at once.")] = 1,
) -> None:
    """Exit with 0 when every target is met, 1 when one is missed, 2 for a file that cannot be used."""
    if simulate and pods:
        raise typer.BadParameter("is real, and --simulate is not: choose one", param_hint="--pods")
    try:
        made = _made(workload or sorted((WORKLOADS if simulate else REAL).glob("*.yaml")), range(seed, seed + random))
        rows = list(_rows(_simulated(made, jobs) if simulate else _real(made, in_pods=pods), len(made)))
    except SimulatorError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(code=2) from None
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"simulated": simulate, "workloads": rows}, indent=2) + "\n")
    Console(highlight=False, width=None if sys.stdout.isatty() else 170).print(_table(rows))
    failures = [f"{row['workload']}: {text}" for row in rows for text in row["missed"]]
    for failure in failures:
        typer.echo(f"missed: {failure}", err=True)
    typer.echo(f"{len(rows)} workloads, {len(failures)} targets missed; written to {out}")
    sys.exit(1 if failures else 0)


def _made(paths: list[Path], seeds: range) -> list[Workload]:
    if seeds:
        return [drawn(each) for each in seeds]
    return [load(path) for path in paths]


def _simulated(workloads: list[Workload], jobs: int) -> Iterable[dict[str, Any]]:
    if jobs == 1 or len(workloads) == 1:
        for each in workloads:
            yield report(each, lambda part, name=each.name: _told.print(f"{name}: {part}"))  # type: ignore[misc]
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(report, workloads)


def _real(workloads: list[Workload], *, in_pods: bool) -> Iterable[dict[str, Any]]:
    # Kafka's client and the testbed only where they are used.
    from benchmarks.real.manifest import require_possible
    from benchmarks.real.report import report as measured

    for each in workloads:
        require_possible(each)
    with _stage(in_pods=in_pods) as stage:
        for each in workloads:
            yield measured(each, stage, lambda part, name=each.name: _told.print(f"{name}: {part}"))  # type: ignore[misc]


def _stage(*, in_pods: bool) -> "Opened":
    if in_pods:
        from benchmarks.real import pods

        return pods.opened()
    from benchmarks.real import processes

    return processes.opened()


def _rows(rows: Iterable[dict[str, Any]], total: int) -> Iterable[dict[str, Any]]:
    begun = time.monotonic()
    for number, row in enumerate(rows, start=1):
        _told.print(f"{number}/{total} {row['workload']}: {time.monotonic() - begun:.0f} s, ratio {row['ratio']}")
        yield row


def _table(rows: list[dict[str, Any]]) -> Table:
    shown = Table(*SHOWN.values())
    for row in rows:
        shown.add_row(*(_cell(row[name]) for name in SHOWN))
    return shown


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return "/".join(map(str, value.values()))
    return "-" if value is None else str(value)


if __name__ == "__main__":
    application()
