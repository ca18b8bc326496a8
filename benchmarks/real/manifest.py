"""A workload as a ParallelConsumer: the same knobs, bounds, objective and windows as the simulator's. Pure."""

import json
from typing import Any

from benchmarks.real.errors import RealRunError
from benchmarks.real.handlers import VARIABLE
from benchmarks.real.stage import Plan
from benchmarks.simulator.loop import TASK_TIMEOUT_MS
from benchmarks.simulator.workload import Knobs, Workload
from benchmarks.simulator.world import BACKOFF_SECONDS, MAX_RETRIES
from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator.resource.names import API_VERSION, KIND
from parallel_consumer_operator.resource.tuning import Knob, TuningMode

SCRAPE_SECONDS = 2
"""Least interval of the pods' scrapes; a workload's own where that is longer."""


def require_possible(workload: Workload) -> None:
    """Raise RealRunError for what only the simulator can do."""
    if workload.faults:
        kind = workload.faults[0].kind.value
        raise RealRunError(f"{workload.name}: faults: {kind} happens only with --simulate; take the faults out")
    if workload.service.knee is not None and workload.mode is not Mode.ASYNC:
        raise RealRunError(f"{workload.name}: service.knee: real runs have it in mode async only, not {workload.mode}")


def manifest(plan: Plan, *, topic: str, servers: str, handlers: str) -> dict[str, Any]:
    """Return the resource that runs a plan on a topic, in a group of its name; `handlers` is the pod's module."""
    workload = plan.workload
    attribute = "handle_async" if workload.mode is Mode.ASYNC else "handle"
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": topic, "namespace": "default"},
        "spec": {
            "replicas": workload.pods.count,
            "source": {"kafka": {"bootstrapServers": servers.split(","), "topics": [topic], "consumerGroup": topic,
                                 "autoOffsetReset": "earliest"}},
            "handler": {"entrypoint": f"{handlers}:{attribute}",
                        "env": [{"name": VARIABLE, "value": json.dumps(_service(workload))}]},
            "execution": _execution(workload, plan.knobs),
            "retry": {"maxRetries": MAX_RETRIES, "backoffMs": round(BACKOFF_SECONDS * 1_000)},
            "deadLetter": {"enabled": False},
            "tuning": _tuning(workload, plan.mode),
            "monitoring": {"podMonitor": {"interval": f"{max(SCRAPE_SECONDS, round(workload.bench.scrape_seconds))}s"}},
        },
    }  # fmt: skip


def _execution(workload: Workload, knobs: Knobs) -> dict[str, Any]:
    execution: dict[str, Any] = {
        "mode": workload.mode.value,
        "maxInFlight": knobs[Knob.MAX_IN_FLIGHT],
        "pollBatchSize": knobs[Knob.POLL_BATCH_SIZE],
        "taskTimeoutMs": TASK_TIMEOUT_MS,
    }
    if workload.mode in {Mode.THREAD, Mode.PROCESS}:
        execution["workerPoolSize"] = knobs[Knob.WORKER_POOL_SIZE]
    return execution


def _tuning(workload: Workload, mode: TuningMode) -> dict[str, Any]:
    knobs = {knob.value: {"min": low, "max": high} for knob, (low, high) in workload.bounds.items()}
    if workload.mode not in {Mode.THREAD, Mode.PROCESS}:
        del knobs[Knob.WORKER_POOL_SIZE.value]
    return {
        "mode": mode.value,
        "objective": workload.objective.model_dump(by_alias=True, exclude_none=True),
        "knobs": knobs,
        "behavior": workload.bench.behavior.model_dump(by_alias=True),
        "verify": workload.bench.verification.model_dump(by_alias=True),
    }


def _service(workload: Workload) -> dict[str, Any]:
    service = workload.service
    own: dict[str, Any] = {"latency_ms_p50": service.latency_ms_p50, "latency_ms_p99": service.latency_ms_p99,
                           "cpu_ms": service.cpu_ms}  # fmt: skip
    if service.knee is not None:
        beyond = service.beyond_knee
        own |= {"knee": service.knee / workload.pods.count, "latency_factor": beyond.latency_factor,
                "error_percent": beyond.error_percent}  # fmt: skip
    return own
