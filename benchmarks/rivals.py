"""`python -m benchmarks.rivals`: the tuner beside what users would do instead, in the same simulator, as one table.

The table is written between the markers of `docs/tuner.md`; what it means stands there.
"""

import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.autotune import WORKLOADS
from benchmarks.simulator import rivals
from benchmarks.simulator.loop import Ours, Run, Static, run
from benchmarks.simulator.oracle import MEASURED_SHARE
from benchmarks.simulator.report import seconds_over_objective
from benchmarks.simulator.workload import load

PAGE = Path(__file__).parent.parent / "docs" / "tuner.md"
BEGIN, END = "<!-- begin: python -m benchmarks.rivals -->", "<!-- end -->"
CHOSEN = ("slow-io", "thread-io", "cpu-process", "downstream-knee")
CONTROLLERS: dict[str, type | None] = {
    "**the tuner**": None,
    "start, nothing": Static,
    "static profile": rivals.Profile,
    "pyrallel, adaptive backpressure": rivals.PyrallelBackpressure,
    "pyrallel, adaptive concurrency": rivals.PyrallelConcurrency,
    "HPA on lag": rivals.HpaOnLag,
    "KEDA, lag threshold": rivals.KedaLag,
    "Netflix AIMD": rivals.Aimd,
    "Netflix Vegas": rivals.Vegas,
    "Netflix Gradient2": rivals.Gradient2,
}
application = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True, slots=True)
class Cell:
    """What one controller did with one workload."""

    rate: float
    latency_ms: float
    """99th percentile of the handler's own time."""
    steps: int
    over: int
    """Seconds over the lag objective."""
    failed_percent: float
    pods: float


@application.command(epilog="Example: python -m benchmarks.rivals --jobs 2")
def compare(jobs: Annotated[int, typer.Option(min=1, max=64, help="Runs at once.")] = 1) -> None:
    """Run every controller on the chosen workloads and write the table into docs/tuner.md (four minutes)."""
    pairs = list(product(CHOSEN, CONTROLLERS))
    cells: dict[tuple[str, str], Cell] = {}
    with ProcessPoolExecutor(jobs) as pool:
        for pair, cell in zip(pairs, pool.map(_cell, *zip(*pairs, strict=True)), strict=True):
            cells[pair] = cell
            typer.echo(f"{len(cells)}/{len(pairs)} {pair[0]}, {pair[1]}: {cell.rate:.0f}/s", err=True)
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{_tables(cells)}\n{END}{after}")
    typer.echo(f"written to {PAGE}")


def _cell(name: str, controller: str) -> Cell:
    workload, rival = load(WORKLOADS / f"{name}.yaml"), CONTROLLERS[controller]
    if rival is None:
        kept = run(workload, Ours(workload))
    elif rival is Static:
        kept = run(workload, Static())
    else:
        kept = run(workload, rival(workload), knobs=rivals.started(workload, rival))
    begin, end = workload.seconds * (1 - MEASURED_SHARE), workload.seconds
    seen = [look.measured for look in kept.looks if look.second >= begin and look.measured is not None]
    return Cell(
        rate=kept.rate(begin, end),
        latency_ms=1_000 * max(_middle([each.service_seconds_p99 or 0.0 for each in seen]), 0.0),
        steps=_changes(kept),
        over=seconds_over_objective(kept),
        failed_percent=100 * sum(each.error_ratio for each in seen) / max(1, len(seen)),
        pods=sum(kept.replicas) / max(1, len(kept.replicas)),
    )


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0


def _changes(kept: Run) -> int:
    return sum(a.knobs != b.knobs for a, b in pairwise(kept.looks)) + sum(a != b for a, b in pairwise(kept.replicas))


def _tables(cells: dict[tuple[str, str], Cell]) -> str:
    lines = ["| over all four workloads | rate, of what came | p99 of the handler | steps | s over | failed | pods |",
             "|---|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    offered = {name: _offered(name) for name in CHOSEN}
    for controller in CONTROLLERS:
        own = [cells[name, controller] for name in CHOSEN]
        share = math.exp(
            sum(math.log(max(1e-9, cells[name, controller].rate / offered[name])) for name in CHOSEN) / len(CHOSEN)
        )
        lines.append(_line(controller, f"{share:.0%}", own))
    for name in CHOSEN:
        head = f"| {name}, {offered[name]:,.0f}/s come | rate | p99 of the handler | steps | s over | failed | pods |"
        lines += ["", head, "|---|---:|---:|---:|---:|---:|---:|"]
        lines += [_line(each, f"{cells[name, each].rate:,.0f}/s", [cells[name, each]]) for each in CONTROLLERS]
    return "\n".join(lines) + "\n"


def _line(controller: str, rate: str, own: list[Cell]) -> str:
    count = len(own)
    latency = math.exp(sum(math.log(max(0.1, each.latency_ms)) for each in own) / count)
    steps, over = sum(each.steps for each in own), sum(each.over for each in own)
    failed, pods = sum(each.failed_percent for each in own) / count, sum(each.pods for each in own) / count
    return f"| {controller} | {rate} | {latency:,.0f} ms | {steps} | {over} | {failed:.1f} % | {pods:.1f} |"


def _offered(name: str) -> float:
    workload = load(WORKLOADS / f"{name}.yaml")
    begin, end = workload.seconds * (1 - MEASURED_SHARE), workload.seconds
    return sum(workload.rate_at(begin + (end - begin) * place / 100) for place in range(100)) / 100


if __name__ == "__main__":
    application()
