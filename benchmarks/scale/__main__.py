"""`make scale`: a thousand suspended resources, tuning and monitoring off, on a real API server; build/scale.json.

A node takes 110 pods, so none run here. API server, etcd, controllers and operator share the machine's cores. Apart
from those, 200 resources are tuned in mode Recommend by a real Prometheus with made series (`tuning_cycles.py`).
"""

import asyncio
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

import testbed
from benchmarks import tuning_cycles
from benchmarks.scale.operator_process import OperatorProcess, cpu_seconds, start
from benchmarks.scale.server import Server, proxied
from testbed import Options, Part, readiness
from testbed.cluster import Kubernetes
from testbed.errors import TestbedError
from testbed.leases import borrowed

DEFINITION = Path("crds/parallelconsumers.yaml")
EDITS = 100
TARGETS = {
    "seconds_until_all_reconciled": 60.0,
    "writes_per_minute_idle": 0.0,
    "rss_mb": 256.0,
    "cpu_percent_idle": 5.0,
    "reconcile_seconds_p99": 1.0,
}
"""Of the issue: below these, and no write at all."""


def main(
    *,
    resources: Annotated[int, typer.Option(min=100, help="How many resources in the end.")] = 1_000,
    idle_seconds: Annotated[float, typer.Option(min=5, help="How long idleness is watched.")] = 60.0,
    tuned: Annotated[int, typer.Option(min=0, help="How many are tuned afterwards; 0: none.")] = 200,
    tune_seconds: Annotated[float, typer.Option(min=5, help="For how long those are tuned.")] = 30.0,
    output: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("build/scale.json"),
) -> None:
    """Measure, print and write the figures; exits with 1 when one misses its limit."""
    output.parent.mkdir(parents=True, exist_ok=True)
    log = output.with_suffix(".log")
    log.unlink(missing_ok=True)
    with borrowed(Part.KUBERNETES, instance=testbed.Instance(), options=Options(control_plane_only=True)):
        figures = asyncio.run(_measure(Kubernetes(control_plane_only=True), resources, idle_seconds, log))
    if tuned:
        figures["tuning"] = asdict(tuning_cycles.measure(tuned, tune_seconds))
    figures["missed"] = [name for name, limit in TARGETS.items() if figures[name] > limit]
    output.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
    raise typer.Exit(int(bool(figures["missed"])))


async def _measure(cluster: Kubernetes, resources: int, idle_seconds: float, log: Path) -> dict[str, Any]:
    cluster.run_kubectl("apply", "--server-side", "--force-conflicts", "-f", str(DEFINITION))
    # `kubectl wait` stumbles over the null conditions of a definition that is a moment old: ask for what it serves.
    readiness.wait("the definition", lambda: _is_served(cluster), seconds=30)
    curve = []
    async with proxied(cluster) as server:
        made = 0
        for count in sorted({100, resources // 4, resources // 2, resources}):
            curve.append(await _step(cluster, server, made, count, log))
            made = count
        operator = start(cluster, log)
        try:
            return {
                "resources": resources,
                "seconds_until_all_reconciled": curve[-1]["cold_start_seconds"],
                **await _edits(server, operator, resources),
                **await _idle(server, operator, idle_seconds),
                "restart_seconds": round(await _restart(cluster, operator, resources, log), 2),
                "curve": curve,
                "load_average_at_end": os.getloadavg()[0],
            }
        finally:
            if operator.process.poll() is None:
                operator.process.kill()


async def _step(cluster: Kubernetes, server: Server, made: int, count: int, log: Path) -> dict[str, float]:
    """Add resources, let an operator make their children, then start another one cold; return what both took."""
    await server.make(range(made, count))
    first = start(cluster, log)
    try:
        async with asyncio.timeout(600):
            while not await server.are_observed(count):  # noqa: ASYNC110 - another process's state has no event
                await asyncio.sleep(0.5)
        creation = time.perf_counter() - first.started_at
    finally:
        first.end()
    parts = [cluster.process(name).pid for name in ("kube-apiserver", "etcd")]
    server_before = cpu_seconds(*parts)
    operator = start(cluster, log)
    try:
        seconds = await operator.until_passed(count)
        used = cpu_seconds(operator.process.pid)
        return {
            "resources": count,
            "first_creation_seconds_of_those_added": round(creation, 2),
            "cold_start_seconds": round(seconds, 2),
            "cold_start_operator_cpu_seconds": round(used, 2),
            "cold_start_api_server_cpu_seconds": round(cpu_seconds(*parts) - server_before, 2),
            "operator_cpu_ms_per_resource": round(1_000 * used / count, 2),
            "rss_mb": round(operator.rss_mb(), 1),
        }
    finally:
        operator.end()


async def _edits(server: Server, operator: OperatorProcess, count: int) -> dict[str, float]:
    """Edit specs among all of them, one after the other."""
    await operator.until_passed(count)
    seconds = sorted([await server.edit(number * count // EDITS, 65) for number in range(EDITS)])
    return {
        "reconcile_seconds_p50": round(seconds[len(seconds) // 2], 3),
        "reconcile_seconds_p99": round(seconds[-1 - len(seconds) // 100], 3),
    }


async def _idle(server: Server, operator: OperatorProcess, seconds: float) -> dict[str, float]:
    await asyncio.sleep(3)
    before, used = await server.versions(), cpu_seconds(operator.process.pid)
    await asyncio.sleep(seconds)
    used = cpu_seconds(operator.process.pid) - used
    after = await server.versions()
    writes = sum(before.get(uid) != version for uid, version in after.items())
    return {
        "writes_per_minute_idle": round(60 * writes / seconds, 1),
        "cpu_percent_idle": round(100 * used / seconds, 2),
        "rss_mb": round(operator.rss_mb(), 1),
    }


async def _restart(cluster: Kubernetes, operator: OperatorProcess, count: int, log: Path) -> float:
    """Return the seconds from SIGTERM until the next process has looked at every resource."""
    ended = operator.end()
    again = start(cluster, log)
    try:
        return ended + await again.until_passed(count)
    finally:
        again.end()


def _is_served(cluster: Kubernetes) -> bool:
    try:
        cluster.run_kubectl("get", "parallelconsumers", "--all-namespaces")
    except TestbedError:
        return False
    return True


if __name__ == "__main__":
    typer.run(main)
