"""The gates: what forbids a change, each one function with the runbook's sentence. Pure; they only look.

What is still allowed behind a shut gate is `tuner.py`'s, by the sets at the end.
"""

from collections.abc import Callable

from parallel_consumer_operator.resource.tuning import TuningMode
from parallel_consumer_operator.tuning import schedule
from parallel_consumer_operator.tuning.cycle import Cycle
from parallel_consumer_operator.tuning.decision import Gate, Hit

MEMORY_PRESSURE = 0.9
"""Share of the memory limit from which on less is taken in (design, gate MemoryPressure)."""


def off(cycle: Cycle) -> Hit | None:
    """Mode Off: nothing is changed."""
    if cycle.policy.spec.mode is TuningMode.OFF:
        return Hit(Gate.OFF, "spec.tuning.mode is Off")
    return None


def paused(cycle: Cycle) -> Hit | None:
    """Paused by annotation: nothing is changed."""
    if cycle.circumstances.paused:
        return Hit(Gate.PAUSED, "paused by the annotation parallelconsumer.dev/paused")
    return None


def suspended(cycle: Cycle) -> Hit | None:
    """Suspended: no pod runs, nothing is changed."""
    return Hit(Gate.SUSPENDED, "spec.suspend is true") if cycle.circumstances.suspended else None


def brake(cycle: Cycle) -> Hit | None:
    """The operator-wide emergency brake: nothing is changed anywhere."""
    return Hit(Gate.BRAKE, "the operator's emergency brake is on") if cycle.policy.brake else None


def frozen_by_command(cycle: Cycle) -> Hit | None:
    """Frozen by annotation: nothing is changed until it says resume."""
    if cycle.memory.frozen:
        return Hit(Gate.FROZEN_BY_COMMAND, "frozen by annotation; parallelconsumer.dev/tuning: resume ends it")
    return None


def excluded_period(cycle: Cycle) -> Hit | None:
    """An excluded period: nothing is changed while it lasts."""
    period = schedule.active(cycle.policy.spec.freeze.excluded_periods, cycle.now)
    if period is None:
        return None
    text = f"{period.schedule} {period.time_zone} for {period.duration_seconds} s"
    return Hit(Gate.EXCLUDED_PERIOD, f"inside the excluded period {text}")


def memory_pressure(cycle: Cycle) -> Hit | None:
    """A pod was killed for want of memory, or holds 90 % of its limit: take in less at once."""
    killed, handled = cycle.circumstances.out_of_memory_at, cycle.memory.last_out_of_memory
    if killed is not None and (handled is None or killed > handled):
        return Hit(Gate.MEMORY_PRESSURE, f"a pod was killed for want of memory at {killed:%H:%M:%S}")
    seen = cycle.window.measured
    if seen is not None and seen.memory_ratio >= MEMORY_PRESSURE:
        return Hit(Gate.MEMORY_PRESSURE, f"memory is at {seen.memory_ratio:.0%} of its limit")
    return None


def not_stable(cycle: Cycle) -> Hit | None:
    """A rollout, a rebalance, or settings that not every pod has: what is measured now is not what will be."""
    reason = _disturbance(cycle)
    return Hit(Gate.NOT_STABLE, reason) if reason else None


def _disturbance(cycle: Cycle) -> str:
    known = cycle.circumstances
    if known.ready_replicas == 0:
        return "no pod is ready"
    if known.rollout or known.ready_replicas != known.desired_replicas:
        return f"{known.ready_replicas} of {known.desired_replicas} pods are ready"
    if not known.applied:
        return "the last settings are not in force in every pod yet"
    seen = cycle.window.measured
    if seen is not None and seen.rebalances > 0:
        return "partitions were reassigned within the window"
    return ""


def metrics_unavailable(cycle: Cycle) -> Hit | None:
    """A metric is missing, stale, not a number, or covers not every pod: absent is not zero."""
    seen = cycle.window.measured
    if seen is None:
        return Hit(Gate.METRICS_UNAVAILABLE, cycle.window.missing or "nothing was measured")
    if seen.pods != cycle.circumstances.ready_replicas:
        text = f"measurements of {seen.pods} pods, {cycle.circumstances.ready_replicas} are ready"
        return Hit(Gate.METRICS_UNAVAILABLE, text)
    return None


def frozen(cycle: Cycle) -> Hit | None:
    """Errors, refused dead letters or refused commits are over the limit: no raise; lowering and taking back go on."""
    seen, limit = cycle.window.measured, cycle.policy.spec.freeze.max_error_percent
    if seen is None:
        return None
    shares = {
        "attempts failed": seen.error_ratio,
        "dead letters were refused": seen.dead_letter_failed_ratio,
        "commits were refused": seen.commit_failed_ratio,
    }
    for what, share in shares.items():
        if share * 100 > limit:
            return Hit(Gate.FROZEN, f"{share:.1%} of {what}, more than {limit} %")
    return None


def stuck_offset(cycle: Cycle) -> Hit | None:
    """Gaps, and a handler call older than the task timeout: an offset is stuck, and no knob helps."""
    seen, timeout = cycle.window.measured, cycle.circumstances.task_timeout_ms / 1_000
    if seen is None or timeout <= 0 or seen.gaps < 1 or seen.oldest_task_seconds <= timeout:
        return None
    text = f"{seen.gaps:.0f} gaps, and a call runs for {seen.oldest_task_seconds:.0f} s, its limit is {timeout:.0f} s"
    return Hit(Gate.STUCK_OFFSET, text)


def window_not_full(cycle: Cycle) -> Hit | None:
    """The window since the last change is not full yet: wait for it."""
    length, elapsed = cycle.policy.window, cycle.since(cycle.memory.stable_since)
    if elapsed is not None and elapsed >= length:
        return None
    so_far = 0 if elapsed is None else elapsed.total_seconds()
    return Hit(
        Gate.WINDOW_NOT_FULL, f"{so_far:.0f} s of undisturbed measurement, {length.total_seconds():.0f} s needed"
    )


GATES: tuple[Callable[[Cycle], Hit | None], ...] = (
    off, paused, suspended, brake, frozen_by_command, excluded_period, memory_pressure, not_stable,
    metrics_unavailable, frozen, stuck_offset, window_not_full,
)  # fmt: skip
"""In the order of the design's table."""

SHUT_TO_ALL = frozenset(
    {Gate.OFF, Gate.PAUSED, Gate.SUSPENDED, Gate.BRAKE, Gate.FROZEN_BY_COMMAND, Gate.EXCLUDED_PERIOD}
)
"""Nothing is changed behind these."""
SHUT_TO_NEW = frozenset({Gate.NOT_STABLE, Gate.METRICS_UNAVAILABLE})
"""Nothing new behind these; an open verification keeps its deadline."""
SHUT_TO_RAISES = frozenset({Gate.FROZEN, Gate.STUCK_OFFSET})
"""No raise behind these; lowering, judging and taking back go on."""


def hits(cycle: Cycle) -> tuple[Hit, ...]:
    """Return every gate that is shut, in order."""
    return tuple(hit for gate in GATES if (hit := gate(cycle)) is not None)


def first(found: tuple[Hit, ...], among: frozenset[Gate]) -> Hit | None:
    """Return the first hit of some gates."""
    return next((hit for hit in found if hit.gate in among), None)
