"""Seeded random workloads over the whole schema: what nobody thought of when the rules were written. Judges nothing."""

import random
from typing import Any

from benchmarks.simulator.workload import Workload
from consumer_runtime.contract.settings import Mode

BOUNDS = {"maxInFlight": [8, 4_000], "pollBatchSize": [50, 2_000], "workerPoolSize": [1, 16]}
LONGEST_SECONDS = 400
MOST_MESSAGES = 1_500_000
"""Offered in one run, so that it stays a matter of seconds."""


def drawn(seed: int) -> Workload:
    """Return the random workload of a seed."""
    chance = random.Random(f"workload-{seed}")
    mode = chance.choice([Mode.ASYNC, Mode.ASYNC, Mode.THREAD, Mode.PROCESS])
    service = _service(chance, mode)
    return Workload.model_validate({
        "name": f"random-{seed}", "seed": seed, "mode": mode, "service": service,
        "arrivals": _arrivals(chance),
        "keys": {"count": round(_log(chance, 300, 20_000)), "zipf": chance.choice([0, 0, 0.5, 0.9, 1.2])},
        "partitions": chance.choice([4, 8, 16, 32]),
        "pods": {"count": chance.choice([1, 2, 2, 4]), "cpu": chance.choice([1, 2, 4])},
        "start": {"maxInFlight": round(_log(chance, 8, 256)), "pollBatchSize": chance.choice([50, 100, 500, 1_000]),
                  "workerPoolSize": chance.choice([1, 2, 4])},
        "bounds": BOUNDS,
        "objective": _objective(chance, service),
        "faults": [_fault(chance) for _ in range(chance.choice([0, 0, 0, 1, 2]))],
    })  # fmt: skip


def _log(chance: random.Random, low: float, high: float) -> float:
    return float(low * (high / low) ** chance.random())


def _service(chance: random.Random, mode: Mode) -> dict[str, Any]:
    if mode is Mode.PROCESS and chance.random() < 0.6:
        return {"cpu_ms": round(_log(chance, 0.3, 10), 2)}
    median = round(_log(chance, 2, 300), 1)
    service: dict[str, Any] = {
        "latency_ms_p50": median,
        "latency_ms_p99": round(median * chance.choice([1.1, 2, 3, 5]), 1),
        "cpu_ms": round(_log(chance, 0.02, 0.5), 3),
    }
    if chance.random() < 0.4:
        service["knee"] = round(_log(chance, 24, 600))
        service["beyond_knee"] = {
            "latency_factor": chance.choice([1.5, 2, 3, 5]),
            "error_percent": chance.choice([0, 0, 2, 5, 20]),
        }
    return service


def _arrivals(chance: random.Random) -> list[dict[str, Any]]:
    parts = chance.choice([1, 1, 1, 2, 3])
    rates = [round(_log(chance, 100, 8_000)) for _ in range(parts)]
    seconds = LONGEST_SECONDS // parts
    offered = sum(rates) * seconds
    scale = min(1.0, MOST_MESSAGES / offered)
    return [{"seconds": seconds, "rate": max(1, round(rate * scale))} for rate in rates]


def _objective(chance: random.Random, service: dict[str, Any]) -> dict[str, Any]:
    objective: dict[str, Any] = {"targetLagSeconds": chance.choice([5, 10, 30])}
    if "latency_ms_p99" in service and chance.random() < 0.3:
        objective["maxLatencyMsP99"] = round(service["latency_ms_p99"] * chance.choice([2, 4]) + 10)
    return objective


def _fault(chance: random.Random) -> dict[str, Any]:
    at, lasts = chance.randrange(10, 200), chance.randrange(10, 80)
    return chance.choice([
        {"at": at, "for": lasts, "kind": "downstream", "latency_factor": chance.choice([2, 5]),
         "error_percent": chance.choice([0, 10])},
        {"at": at, "for": lasts, "kind": "metrics_missing"},
        {"at": at, "for": lasts, "kind": "metrics_flap"},
        {"at": at, "for": lasts, "kind": "stuck_partition", "partition": chance.randrange(4)},
        {"at": at, "for": 0, "kind": "rebalance"},
        {"at": at, "for": 0, "kind": "pod_restart"},
        {"at": at, "for": lasts, "kind": "memory", "mb_per_message": chance.choice([1, 4])},
        {"at": at, "for": lasts, "kind": "broker_slow", "ms": chance.choice([5, 50])},
    ])  # fmt: skip
