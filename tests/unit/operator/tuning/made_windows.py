"""Measurements and cycles for tests: a busy async consumer, to be changed field by field. Not a test."""

from datetime import UTC, datetime, timedelta
from typing import Any

from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator.resource.tuning import Knob, TuningSpec
from parallel_consumer_operator.resource.tuning_status import KnobValues, TuningStatus
from parallel_consumer_operator.tuning.cycle import Cycle
from parallel_consumer_operator.tuning.decision import Decision
from parallel_consumer_operator.tuning.observation import Circumstances, Measurement, Window
from parallel_consumer_operator.tuning.policy import Bounds, Policy
from parallel_consumer_operator.tuning.tuner import decide

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
START = KnobValues(max_in_flight=16, poll_batch_size=100, worker_pool_size=4)
FENCES = {
    Knob.MAX_IN_FLIGHT: Bounds(min=8, max=4_000),
    Knob.POLL_BATCH_SIZE: Bounds(min=50, max=2_000),
    Knob.WORKER_POOL_SIZE: Bounds(min=1, max=16),
}


def seen(**changes: Any) -> Measurement:
    """One pod whose limit of 16 binds: 800/s done, 4,000/s coming in, 100,000 behind, 20 ms each."""
    figures: dict[str, Any] = {
        "pods": 1,
        "rate": 800.0,
        "rate_long": 800.0,
        "arrivals": 4_000.0,
        "backlog": 100_000.0,
        "backlog_peak_long": 100_000.0,
        "backlog_slope": 3_200.0,
        "hottest_partition": "orders/0",
        "hottest_share": 0.2,
        "partitions": 8,
        "service_seconds": 0.02,
        "service_seconds_long": 0.02,
        "service_seconds_p99": 0.05,
        "latency_seconds_p99": 2.5,
        "error_ratio": 0.0,
        "dead_letter_failed_ratio": 0.0,
        "commit_failed_ratio": 0.0,
        "limit_full": 0.9,
        "limit_full_long": 0.9,
        "backpressure": 1.0,
        "in_flight": 15.5,
        "in_flight_peak_long": 16.0,
        "queued": 2_000.0,
        "busy": 15.5,
        "busy_long": 15.5,
        "cpu_cores": 0.1,
        "cpu_limit_cores": 1.0,
        "poll_fill": 1.0,
        "pauses_per_second": 0.5,
        "gaps": 3.0,
        "gaps_slope": 0.0,
        "oldest_task_seconds": 0.05,
        "memory_ratio": 0.3,
        "rebalances": 0.0,
        "rebalances_long": 0.0,
        "age_seconds": 1.0,
    }
    return Measurement.model_validate({**figures, **changes})


def idle(**changes: Any) -> Measurement:
    """One pod with nothing behind it and little to do."""
    quiet = {
        "rate": 100.0, "rate_long": 100.0, "arrivals": 100.0, "backlog": 0.0, "backlog_peak_long": 0.0,
        "backlog_slope": 0.0, "limit_full": 0.0, "limit_full_long": 0.0, "backpressure": 0.0, "in_flight": 2.0,
        "in_flight_peak_long": 4.0, "queued": 0.0, "busy": 2.0, "busy_long": 0.5, "poll_fill": 0.1,
        "pauses_per_second": 0.0, "hottest_share": 0.0,
    }  # fmt: skip
    return seen(**{**quiet, **changes})


def circumstances(**changes: Any) -> Circumstances:
    """One ready pod in mode async with everything applied."""
    known: dict[str, Any] = {
        "mode": Mode.ASYNC,
        "current": START,
        "starts": START,
        "ready_replicas": 1,
        "desired_replicas": 1,
        "applied": True,
        "task_timeout_ms": 30_000,
    }
    return Circumstances.model_validate({**known, **changes})


def policy(**spec: Any) -> Policy:
    """Mode Auto; `spec` in the CRD's spelling."""
    return Policy(spec=TuningSpec.model_validate({"mode": "Auto", **spec}), bounds=FENCES)


def remembering(**changes: Any) -> TuningStatus:
    """A memory that has seen a whole long window undisturbed."""
    return TuningStatus.model_validate({"starts": START, "stable_since": NOW - timedelta(hours=1), **changes})


def cycle(
    measured: Measurement | None = None,
    *,
    known: Circumstances | None = None,
    rules: Policy | None = None,
    memory: TuningStatus | None = None,
    now: datetime = NOW,
) -> Cycle:
    """Return a cycle of the parts given, usual ones for the others; what was tuned is in force in the pods."""
    memory, known = memory or remembering(), known or circumstances()
    tuned = {name: value for name, value in memory.knobs if value is not None}
    known = known.model_copy(update={"current": known.current.model_copy(update=tuned)})
    return Cycle(rules or policy(), Window(circumstances=known, measured=measured), memory, now)


def decided(one: Cycle) -> Decision:
    """Decide a cycle."""
    return decide(one.policy, one.window, one.memory, one.now)


def applied(one: Cycle, decision: Decision, measured: Measurement | None, *, later: float) -> Cycle:
    """Return the cycle so many seconds after a decision, its knobs in force in every pod."""
    known = one.circumstances
    values = {knob.runtime_name: decision.memory.knobs.of(knob) or known.starts.of(knob) for knob in Knob}
    window = Window(
        circumstances=known.model_copy(update={"current": KnobValues(**values), "command": "", "approve": ""}),
        measured=measured,
        missing="" if measured else "made to be missing",
    )
    return Cycle(one.policy, window, decision.memory, one.now + timedelta(seconds=later))
