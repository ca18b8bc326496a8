"""What a pass came to, as status and events. Pure: no clock, no cluster; sentences are for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from parallel_consumer_operator.carry_out import Written
from parallel_consumer_operator.conditions import Facts, conditions, headline
from parallel_consumer_operator.desired.effective import Effective, Tuned
from parallel_consumer_operator.diagnosis import Problem
from parallel_consumer_operator.port import Event, EventType
from parallel_consumer_operator.resource.status import (
    ConditionStatus,
    ConditionType,
    EffectiveStatus,
    LagStatus,
    ParallelConsumerStatus,
)
from parallel_consumer_operator.resource.tuning import Knob
from parallel_consumer_operator.resource.tuning_status import KnobValues, TuningStatus
from parallel_consumer_operator.tune_seam import Lag


@dataclass(frozen=True, slots=True)
class Figures:
    """Numbers of one pass that are told as they are."""

    pods: int
    selector: str
    config_generation: int
    apply_seconds: float | None
    in_flight: int | None
    mode_reason: str | None
    lag: Lag | None


def status(
    facts: Facts, figures: Figures, effective: Effective, before: ParallelConsumerStatus, *, now: datetime
) -> ParallelConsumerStatus:
    """Return the whole status."""
    time = timestamp(now)
    found = conditions(facts, before, now=time)
    milliseconds = None if figures.apply_seconds is None else round(figures.apply_seconds * 1_000)
    same_generation = before.effective.config_generation == figures.config_generation
    return ParallelConsumerStatus(
        observed_generation=facts.generation,
        replicas=figures.pods,
        ready_replicas=facts.ready,
        selector=figures.selector,
        in_flight=figures.in_flight,
        reason=headline(found),
        conditions=found,
        effective=EffectiveStatus(
            mode=effective.mode,
            mode_source=effective.mode_source,
            mode_reason=figures.mode_reason,
            config_generation=figures.config_generation,
            pods_applied=facts.applied,
            apply_milliseconds=(
                before.effective.apply_milliseconds if milliseconds is None and same_generation else milliseconds
            ),
            knobs=list(effective.knobs),
        ),
        lag=before.lag if figures.lag is None else _lag(figures.lag, time),
        tuning=facts.tuning,
    )


def standing_aside(
    before: ParallelConsumerStatus, conflict: Problem, *, pods: int, ready: int, now: datetime
) -> ParallelConsumerStatus:
    """Return the status of a resource that leaves its group to an older one: not ready, and nothing goes on."""
    told = {"status": ConditionStatus.FALSE, "reason": conflict.reason, "message": "See Degraded."}
    changed = {"last_transition_time": timestamp(now)}
    conditions = [
        condition.model_copy(update=told | (changed if condition.status is not ConditionStatus.FALSE else {}))
        if condition.type in _KEPT_WHEN_REFUSED
        else condition
        for condition in before.conditions
    ]
    return before.model_copy(update={"replicas": pods, "ready_replicas": ready, "conditions": conditions})


def refused(
    before: ParallelConsumerStatus, problem: Problem, *, generation: int, now: datetime
) -> ParallelConsumerStatus:
    """Return the status of a resource that cannot be carried out: as it was, and why it is left so."""
    facts = Facts(generation=generation, problems=(problem,), tuning=before.tuning)
    told = {condition.type: condition for condition in conditions(facts, before, now=timestamp(now))}
    kept = {condition.type: condition for condition in before.conditions if condition.type in _KEPT_WHEN_REFUSED}
    if not kept:
        kept = {kind: told[kind].model_copy(update=_NOT_STARTED) for kind in _KEPT_WHEN_REFUSED}
    merged = [{**told, **kept}[kind] for kind in ConditionType]
    return before.model_copy(update={"observed_generation": generation, "conditions": merged, "reason": problem.reason})


_KEPT_WHEN_REFUSED = (ConditionType.READY, ConditionType.PROGRESSING)
_NOT_STARTED: dict[str, Any] = {"status": ConditionStatus.FALSE, "reason": "NotStarted", "message": "See Degraded."}


def with_intent(before: ParallelConsumerStatus, effective: Effective, tuning: TuningStatus) -> ParallelConsumerStatus:
    """Return the status that says what the tuner is about to do; the knobs' starts are those it decided upon."""
    known = before.effective.model_copy(update={"knobs": list(effective.knobs)})
    return before.model_copy(update={"tuning": tuning, "effective": known})


def intended(before: ParallelConsumerStatus) -> dict[str, Tuned]:
    """Return the tuner's values in a status, by the knobs' names in the spec."""
    starts = {knob.name: knob.start for knob in before.effective.knobs}
    return {
        knob.value: Tuned(value=value, start=starts[knob.value])
        for knob in Knob
        if (value := before.tuning.knobs.of(knob)) is not None and knob.value in starts
    }


def standing(tuning: TuningStatus, effective: Effective) -> TuningStatus:
    """Return the tuner's memory without the values that a person overruled by changing where they started."""
    values = {name: step.value for name, step in effective.tuned.items()}
    return tuning.model_copy(update={"knobs": _values(values)})


def differs(wanted: KnobValues, effective: Effective) -> bool:
    """Return whether the tuner wants other values than those in force; what it leaves out follows the resource."""
    return any(
        (wanted.of(Knob(knob.name)) or knob.start) != knob.value for knob in effective.knobs if knob.name in _TUNABLE
    )


_TUNABLE = frozenset(knob.value for knob in Knob)


def knob_values(effective: Effective, *, starts: bool) -> KnobValues:
    """Return the tunable knobs in force, or where they started."""
    return _values(
        {knob.name: knob.start if starts else knob.value for knob in effective.knobs if knob.name in _TUNABLE}
    )


def profile_bounds(effective: Effective) -> dict[Knob, tuple[int, int]]:
    """Return the profile's bounds of each tunable knob that it fills."""
    ranges = effective.profile.ranges
    return {knob: (limits.low, limits.high) for knob in Knob if (limits := ranges.get(knob.runtime_name)) is not None}


def without_figures(status: ParallelConsumerStatus) -> ParallelConsumerStatus:
    """Return the status without what moves all the time: figures, and the wording and counting of repeated holds."""
    tuning = status.tuning
    history = tuple(
        entry.model_copy(update={"count": 1, "last_time": entry.time, "message": ""}) for entry in tuning.history
    )
    said = [
        condition.model_copy(update={"message": ""}) if condition.type in _FIGURES_IN_MESSAGE else condition
        for condition in status.conditions
    ]
    return status.model_copy(
        update={
            "in_flight": None,
            "lag": LagStatus(),
            "conditions": said,
            "tuning": tuning.model_copy(update={"message": "", "history": history}),
        }
    )


_FIGURES_IN_MESSAGE = frozenset({ConditionType.TUNING_ACTIVE, ConditionType.SATURATED})


def events(before: ParallelConsumerStatus, after: ParallelConsumerStatus, written: Written) -> Sequence[Event]:
    """Return what people should read of a pass; nothing when nothing changed."""
    found: list[Event] = []
    if written.created:
        lacking = f" The cluster has no such kind: {', '.join(written.left_out)}." if written.left_out else ""
        found.append(Event(EventType.NORMAL, "Created", f"Created {', '.join(written.created)}.{lacking}"))
    if written.repaired:
        restored = ", ".join(written.repaired)
        found.append(Event(EventType.NORMAL, "Repaired", f"Restored {restored}, which someone else had changed."))
    if written.rollout_cause:
        causes = ", ".join(written.rollout_cause)
        found.append(Event(EventType.NORMAL, "RollingOut", f"A change of {causes} restarts the pods."))
    return [*found, *_settings_event(before, after), *_condition_events(before, after)]


def _settings_event(before: ParallelConsumerStatus, after: ParallelConsumerStatus) -> list[Event]:
    old = {knob.name: knob.value for knob in before.effective.knobs}
    milliseconds = after.effective.apply_milliseconds
    newly = before.effective.apply_milliseconds is None or (
        before.effective.config_generation != after.effective.config_generation
    )
    if milliseconds is None or not newly or after.effective.pods_applied == 0:
        return []
    changed = [
        f"{knob.name} {old[knob.name]} -> {knob.value}"
        for knob in after.effective.knobs
        if knob.name in old and old[knob.name] != knob.value
    ]
    what = f": {', '.join(changed)}" if changed else ""
    message = (
        f"Settings generation {after.effective.config_generation} is in force in {after.effective.pods_applied} pods"
        f" after {milliseconds / 1_000:.2f} s{what}."
    )
    return [Event(EventType.NORMAL, "SettingsApplied", message)]


def _condition_events(before: ParallelConsumerStatus, after: ParallelConsumerStatus) -> list[Event]:
    found: list[Event] = []
    degraded, was_degraded = after.condition(ConditionType.DEGRADED), before.condition(ConditionType.DEGRADED)
    is_bad = degraded is not None and degraded.status is ConditionStatus.TRUE
    was_bad = was_degraded is not None and was_degraded.status is ConditionStatus.TRUE
    if (
        degraded is not None
        and is_bad
        and (not was_bad or was_degraded is None or was_degraded.reason != degraded.reason)
    ):
        found.append(Event(EventType.WARNING, degraded.reason, degraded.message))
    if was_bad and not is_bad:
        found.append(Event(EventType.NORMAL, "Recovered", "Everything is as expected again."))
    ready, was_ready = after.condition(ConditionType.READY), before.condition(ConditionType.READY)
    changed = ready is not None and (was_ready is None or was_ready.reason != ready.reason)
    if ready is not None and changed and ready.status is ConditionStatus.TRUE:
        found.append(Event(EventType.NORMAL, ready.reason, ready.message))
    return found


def timestamp(now: datetime) -> str:
    """Return a time as Kubernetes writes it."""
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def _lag(lag: Lag, time: str) -> LagStatus:
    if lag.messages is None:
        return LagStatus()
    return LagStatus(messages=lag.messages, seconds=lag.seconds, rate_per_second=lag.rate_per_second, updated=time)


def _values(by_name: dict[str, int]) -> KnobValues:
    return KnobValues.model_validate({name: value for name, value in by_name.items() if name in _TUNABLE})
