"""The tuner's memory: how each cycle, action and verdict changes `status.tuning`. Pure, and bounded everywhere.

Nothing is decided here.
"""

import hashlib
from datetime import datetime, timedelta
from enum import StrEnum

from parallel_consumer_operator.resource.tuning import Knob
from parallel_consumer_operator.resource.tuning_status import (
    Block,
    Direction,
    HistoryEntry,
    HistoryKind,
    KnobValues,
    OpenVerify,
    Pace,
    TuningStatus,
)
from parallel_consumer_operator.tuning import gates, verify
from parallel_consumer_operator.tuning.cycle import Cycle
from parallel_consumer_operator.tuning.decision import Rollback, Step
from parallel_consumer_operator.tuning.observation import Measurement
from parallel_consumer_operator.tuning.policy import tunable

HISTORY = 10
"""Entries kept."""
HOLDS = 4
"""Of them at most this many holds: steps are what people, and `rollback@<id>`, come back for."""
HOUR = timedelta(hours=1)
LONGEST_BLOCK = 8
"""A direction that fails again and again is blocked for at most this many times `blockSeconds`."""


def identifier(*parts: object) -> str:
    """Return a short name of a step or recommendation that is the same whenever its parts are."""
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:8]


def prepare(cycle: Cycle) -> TuningStatus:
    """Return the memory as this cycle finds it: fences and edits of the resource followed, the past in the past."""
    memory = _in_the_past(cycle.memory, cycle.now)
    memory = _follow_the_resource(cycle, memory)
    memory = memory.model_copy(update={"change_times": _of_the_last_hour(memory, cycle.now)})
    since = memory.stable_since or cycle.now
    return memory.model_copy(update={"stable_since": since if _undisturbed(cycle, memory) else None})


def _undisturbed(cycle: Cycle, memory: TuningStatus) -> bool:
    """A rebalance is inside the measurement for one window by itself; everything else starts the window anew."""
    hit = gates.not_stable(cycle)
    reassigned = cycle.window.measured is not None and cycle.window.measured.rebalances > 0
    in_force = all(cycle.circumstances.current.of(knob) in {None, memory.knobs.of(knob)} for knob in _tuned(memory))
    return in_force and (hit is None or (reassigned and _only_reassigned(cycle)))


def _only_reassigned(cycle: Cycle) -> bool:
    known = cycle.circumstances
    return known.applied and not known.rollout and 0 < known.ready_replicas == known.desired_replicas


def _tuned(memory: TuningStatus) -> list[Knob]:
    return [knob for knob in Knob if memory.knobs.of(knob) is not None]


def _in_the_past(memory: TuningStatus, now: datetime) -> TuningStatus:
    """Time may go backwards: what then lies in the future is taken as now, so that no wait becomes longer."""
    moments = {
        name: moment for name in ("stable_since", "last_change") if (moment := getattr(memory, name)) is not None
    }
    late: dict[str, object] = {name: now for name, moment in moments.items() if moment > now}
    if memory.verifying is not None and memory.verifying.started_at > now:
        ahead = memory.verifying.started_at - now
        late["verifying"] = memory.verifying.model_copy(
            update={"started_at": now, "deadline": memory.verifying.deadline - ahead}
        )
    return memory.model_copy(update=late)


def _of_the_last_hour(memory: TuningStatus, now: datetime) -> tuple[datetime, ...]:
    return tuple(moment for moment in memory.change_times if timedelta(0) <= now - moment < HOUR)


def _follow_the_resource(cycle: Cycle, memory: TuningStatus) -> TuningStatus:
    """A knob whose own value was edited starts anew from it; one that left its fence is brought back."""
    starts = cycle.circumstances.starts
    allowed = tunable(cycle.circumstances.mode)
    knobs = KnobValues()
    for knob in _tuned(memory):
        value, start_before = memory.knobs.of(knob), memory.starts.of(knob)
        edited = start_before is not None and start_before != starts.of(knob)
        if value is not None and not edited and knob in allowed:
            knobs = knobs.having(knob, cycle.policy.clamp(knob, value))
    changed = {knob for knob in Knob if memory.starts.of(knob) not in {None, starts.of(knob)}}
    step = memory.verifying
    forget = step is not None and knobs.of(step.knob) != step.to_value
    return memory.model_copy(
        update={
            "knobs": knobs,
            "starts": starts,
            "blocked": tuple(block for block in memory.blocked if block.knob not in changed),
            "verifying": None if forget else step,
        }
    )


def after_step(cycle: Cycle, step: Step, seen: Measurement | None) -> TuningStatus:
    """Remember a step, and open its verification when there is something to compare with."""
    opened = None
    if seen is not None and step.rule not in {step.rule.MEMORY_PRESSURE, step.rule.COMMAND}:
        opened = OpenVerify(
            id=step.id,
            knob=step.knob,
            direction=step.direction,
            from_value=step.from_value,
            to_value=step.to_value,
            rule=step.rule.value,
            started_at=cycle.now,
            deadline=cycle.now + verify.deadline(cycle),
            baseline=verify.baseline(cycle, seen),
        )
    entry = _entry(cycle, HistoryKind.STEP, step, step.rule)
    memory = _changed(cycle, step.knob, step.to_value, entry)
    times = (*memory.change_times, cycle.now)[-60:]
    return memory.model_copy(update={"verifying": opened, "change_times": times, "recommendation": None})


def after_rollback(cycle: Cycle, action: Rollback) -> TuningStatus:
    """Remember that a step was taken back."""
    kind = HistoryKind.ROLLBACK
    memory = _changed(cycle, action.knob, action.to_value, _entry(cycle, kind, action, action.cause))
    return memory.model_copy(update={"verifying": None, "recommendation": None})


def _changed(cycle: Cycle, knob: Knob, value: int, entry: HistoryEntry) -> TuningStatus:
    memory = cycle.memory
    return memory.model_copy(
        update={
            "knobs": memory.knobs.having(knob, value),
            "last_change": cycle.now,
            "stable_since": None,
            "history": _bounded((*memory.history, entry)),
        }
    )


def _entry(cycle: Cycle, kind: HistoryKind, action: Step | Rollback, reason: StrEnum) -> HistoryEntry:
    return HistoryEntry(
        id=action.id,
        kind=kind,
        time=cycle.now,
        last_time=cycle.now,
        knob=action.knob,
        from_value=action.from_value,
        to_value=action.to_value,
        reason=reason.value,
        message=action.message[:1_024],
    )


def after_verdict(cycle: Cycle, step: OpenVerify, outcome: verify.Outcome) -> TuningStatus:
    """Close a verification: its verdict beside the step, the knob's pace, and a block where it did not pay."""
    memory = cycle.memory
    history = tuple(
        entry.model_copy(update={"verdict": outcome.judgement.verdict}) if entry.id == step.id else entry
        for entry in memory.history
    )
    paces = memory.paces if outcome.pace is None else memory.paces.having(step.knob, outcome.pace)
    memory = memory.model_copy(update={"verifying": None, "history": history, "paces": paces})
    if outcome.ceiling is None:
        return _without_overcome_blocks(memory, step)
    reason = f"{step.rule} {step.from_value} -> {step.to_value}: {outcome.judgement.message}"
    arrivals = step.baseline.arrivals_milli if outcome.for_this_load else None
    return blocked(cycle.with_memory(memory), step.knob, step.direction, outcome.ceiling, reason, arrivals=arrivals)


def _without_overcome_blocks(memory: TuningStatus, step: OpenVerify) -> TuningStatus:
    def overcome(block: Block) -> bool:
        same = block.knob is step.knob and block.direction is step.direction
        beyond = step.to_value >= block.limit if step.direction is Direction.UP else step.to_value <= block.limit
        return same and beyond

    return memory.model_copy(update={"blocked": tuple(block for block in memory.blocked if not overcome(block))})


def blocked(
    cycle: Cycle, knob: Knob, direction: Direction, limit: int, reason: str, *, arrivals: int | None = None
) -> TuningStatus:
    """Remember not to go there for a while; each failure in a row at about the same place doubles the time.

    `arrivals`, in thousandths per second, is given where it failed for this load only.
    """
    memory, spec = cycle.memory, cycle.policy.spec.verify
    before = block_of(memory, knob, direction)
    again = before is not None and cycle.now >= before.until
    failures = before.failures + 1 if before is not None and again else (before.failures if before else 1)
    until = cycle.now + timedelta(seconds=spec.block_seconds) * min(2 ** (min(failures, 10) - 1), LONGEST_BLOCK)
    block = Block(
        knob=knob, direction=direction, limit=max(1, limit), until=until, failures=failures, arrivals_milli=arrivals,
        reason=reason[:1_024],
    )  # fmt: skip
    others = tuple(other for other in memory.blocked if other is not before)
    return memory.model_copy(update={"blocked": (*others, block)})


def block_of(memory: TuningStatus, knob: Knob, direction: Direction) -> Block | None:
    """Return the block of a knob's direction, expired ones too."""
    return next((block for block in memory.blocked if block.knob is knob and block.direction is direction), None)


def paced(memory: TuningStatus, knob: Knob, pace: Pace) -> TuningStatus:
    """Remember a knob's pace."""
    return memory.model_copy(update={"paces": memory.paces.having(knob, pace)})


def noted(cycle: Cycle, kind: HistoryKind, reason: str, message: str) -> TuningStatus:
    """Remember a hold or a command; one that repeats the latest entry is folded into it."""
    memory, message = cycle.memory, message[:1_024]
    last = memory.history[-1] if memory.history else None
    if last is not None and last.kind is kind is HistoryKind.HOLD and last.reason == reason:
        folded = last.model_copy(update={"count": last.count + 1, "last_time": cycle.now, "message": message})
        return memory.model_copy(update={"history": (*memory.history[:-1], folded)})
    entry = HistoryEntry(
        id=identifier(kind, reason, cycle.now.isoformat()),
        kind=kind,
        time=cycle.now,
        last_time=cycle.now,
        reason=reason,
        message=message,
    )
    return memory.model_copy(update={"history": _bounded((*memory.history, entry))})


def _bounded(history: tuple[HistoryEntry, ...]) -> tuple[HistoryEntry, ...]:
    holds = [entry for entry in history if entry.kind is HistoryKind.HOLD]
    surplus = holds[: max(0, len(holds) - HOLDS)]
    return tuple(entry for entry in history if entry not in surplus)[-HISTORY:]
