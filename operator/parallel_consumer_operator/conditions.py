"""The conditions of a ParallelConsumer from the facts of one pass. Pure: facts in, conditions out, `now` as a value."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from parallel_consumer_operator.diagnosis import Problem
from parallel_consumer_operator.resource.status import (
    Condition,
    ConditionStatus,
    ConditionType,
    ParallelConsumerStatus,
)
from parallel_consumer_operator.resource.tuning import TuningMode
from parallel_consumer_operator.resource.tuning_status import TuningPhase, TuningStatus

AS_EXPECTED = "AsExpected"


@dataclass(frozen=True, slots=True)
class Facts:
    """What one pass established."""

    generation: int
    """Of the spec."""
    problems: Sequence[Problem] = ()
    paused: bool = False
    suspended: bool = False
    wanted: int = 0
    """Pods that should be there."""
    ready: int = 0
    current: int = 0
    """Pods of the newest template that are ready."""
    applied: int = 0
    """Ready pods that run the newest settings."""
    assigned: int = 0
    """Partitions that the pods hold together."""
    rollout_cause: Sequence[str] = ()
    """Parts of the spec whose change restarts the pods now."""
    tuning_mode: TuningMode = TuningMode.OFF
    tuning: TuningStatus = field(default_factory=TuningStatus)
    measured: bool | None = None
    """None: the tuner has not looked yet."""
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """A condition before it gets its times."""

    status: ConditionStatus
    reason: str
    message: str = ""


def conditions(facts: Facts, before: ParallelConsumerStatus, *, now: str) -> list[Condition]:
    """Return every condition; `now` (RFC 3339) is when those changed whose status is another than before."""
    told = {
        ConditionType.READY: _ready(facts),
        ConditionType.PROGRESSING: _progressing(facts, before.condition(ConditionType.PROGRESSING)),
        ConditionType.DEGRADED: _degraded(facts),
        ConditionType.PAUSED: _paused(facts),
        ConditionType.METRICS_AVAILABLE: _metrics_available(facts),
        ConditionType.TUNING_ACTIVE: _tuning_active(facts),
        ConditionType.SATURATED: _saturated(facts),
    }
    return [
        _dated(kind, each, before.condition(kind), generation=facts.generation, now=now) for kind, each in told.items()
    ]


def headline(found: Sequence[Condition]) -> str:
    """Return the one word that matters most, for `kubectl get`."""
    by_type = {condition.type: condition for condition in found}
    for kind in (ConditionType.DEGRADED, ConditionType.PAUSED, ConditionType.PROGRESSING, ConditionType.SATURATED):
        if by_type[kind].status is ConditionStatus.TRUE:
            return by_type[kind].reason
    return by_type[ConditionType.READY].reason


def _dated(kind: ConditionType, told: Told, before: Condition | None, *, generation: int, now: str) -> Condition:
    unchanged = before is not None and before.status is told.status
    return Condition(
        type=kind,
        status=told.status,
        reason=told.reason,
        message=told.message[:4096],
        observed_generation=generation,
        last_transition_time=before.last_transition_time if before is not None and unchanged else now,
    )


def _truth(value: bool) -> ConditionStatus:  # noqa: FBT001 - the truth of the condition is its only argument
    return ConditionStatus.TRUE if value else ConditionStatus.FALSE


def _is_rolling_out(facts: Facts) -> bool:
    return facts.current < facts.wanted


def _ready(facts: Facts) -> Told:
    if facts.suspended:
        return Told(ConditionStatus.TRUE, "Suspended", "Scaled to zero as spec.suspend asks; tuned values are kept.")
    pods = f"{facts.ready} of {facts.wanted} pods are ready"
    if facts.ready < facts.wanted:
        return Told(ConditionStatus.FALSE, "PodsNotReady", f"{pods}.")
    if facts.applied < facts.ready:
        return Told(
            ConditionStatus.FALSE, "SettingsNotApplied", f"{facts.applied} of {facts.ready} pods run the settings."
        )
    if facts.wanted > 0 and facts.assigned == 0:
        return Told(ConditionStatus.FALSE, "NoPartitions", f"{pods}, and none holds a partition yet.")
    return Told(ConditionStatus.TRUE, "Running", f"{pods} and hold {facts.assigned} partitions.")


def _progressing(facts: Facts, before: Condition | None) -> Told:
    if facts.rollout_cause and _is_rolling_out(facts):
        causes = ", ".join(facts.rollout_cause)
        return Told(ConditionStatus.TRUE, "RollingOut", f"A change of {causes} restarts the pods, one after the other.")
    if _is_rolling_out(facts) and before is not None and before.reason == "RollingOut":
        # An operator that took over in the middle knows the cause from the one before it.
        return Told(ConditionStatus.TRUE, before.reason, before.message)
    if _is_rolling_out(facts):
        return Told(ConditionStatus.TRUE, "WaitingForPods", f"{facts.current} of {facts.wanted} pods are ready.")
    if facts.applied < facts.ready:
        return Told(
            ConditionStatus.TRUE, "ApplyingSettings", f"{facts.applied} of {facts.ready} pods run the settings."
        )
    return Told(ConditionStatus.FALSE, "Complete", "Nothing is being changed.")


def _degraded(facts: Facts) -> Told:
    if not facts.problems:
        return Told(ConditionStatus.FALSE, AS_EXPECTED)
    return Told(
        ConditionStatus.TRUE,
        facts.problems[0].reason,
        " ".join(problem.message for problem in facts.problems[:5]),
    )


def _paused(facts: Facts) -> Told:
    if facts.paused:
        return Told(
            ConditionStatus.TRUE,
            "Paused",
            "The annotation parallelconsumer.dev/paused stops every change; remove it to go on.",
        )
    return Told(ConditionStatus.FALSE, "NotPaused")


def _metrics_available(facts: Facts) -> Told:
    if facts.measured is None:
        return Told(ConditionStatus.UNKNOWN, "NotMeasured", "Nothing was measured yet.")
    if not facts.measured:
        return Told(ConditionStatus.FALSE, "MetricsUnavailable", facts.missing)
    return Told(ConditionStatus.TRUE, "Measured")


def _tuning_active(facts: Facts) -> Told:
    if facts.tuning_mode is TuningMode.OFF:
        return Told(ConditionStatus.FALSE, "Off", "spec.tuning.mode is Off.")
    active = facts.tuning.phase not in {TuningPhase.OFF, TuningPhase.PAUSED, TuningPhase.FROZEN, TuningPhase.WAITING}
    return Told(_truth(active and facts.measured is True), facts.tuning.phase.value, facts.tuning.message)


def _saturated(facts: Facts) -> Told:
    saturated = facts.tuning.saturated
    if saturated is None:
        return Told(ConditionStatus.FALSE, "WithinBounds")
    return Told(ConditionStatus.TRUE, saturated.reason, saturated.message)
