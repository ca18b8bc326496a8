"""`python -m benchmarks.autotune`: does the tuner find what a grid search would have found? Prints, and writes JSON.

Only the simulator is driven from here as yet; runs on a real Kafka are `make demo` and `make demo-cluster`.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.simulator.errors import SimulatorError
from benchmarks.simulator.report import report
from benchmarks.simulator.workload import load

application = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
SHOWN = (
    "workload", "ratio", "start_rate", "oracle_rate", "tuned_rate", "steps_applied", "rollbacks",
    "windows_to_converge", "changes_after_convergence", "seconds_over_objective",
)  # fmt: skip


@application.command()
def autotune(
    *,
    workload: Annotated[list[Path], typer.Option(help="A workload file; repeat it.")],
    simulate: Annotated[bool, typer.Option("--simulate", help="In virtual time.")] = False,
    out: Annotated[Path, typer.Option(help="Where to write the report.")] = Path("build/autotune.json"),
) -> None:
    """Tune each workload, search its best static settings, and compare."""
    if not simulate:
        typer.echo("error: --simulate: real runs are not driven from here; use make demo", err=True)
        raise typer.Exit(code=2)
    rows: list[dict[str, Any]] = []
    try:
        for path in workload:
            rows.append(report(load(path)))
            print("  ".join(f"{name} {rows[-1][name]}" for name in SHOWN), flush=True)
    except SimulatorError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(code=2) from None
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"simulated": True, "workloads": rows}, indent=2) + "\n")


if __name__ == "__main__":
    application()
