"""Commands by annotation: `freeze`, `resume`, `rollback@<id>`, `reset@<id>`, and `approve: <id>`. Pure.

Each is carried out once: what was acted upon is remembered, for the annotation stays where it is.
"""

from parallel_consumer_operator.resource.tuning import Knob, TuningMode
from parallel_consumer_operator.resource.tuning_status import (
    Direction,
    HistoryEntry,
    HistoryKind,
    LastCommand,
    Recommendation,
    TuningStatus,
)
from parallel_consumer_operator.tuning import memory as remember
from parallel_consumer_operator.tuning.cycle import Cycle
from parallel_consumer_operator.tuning.decision import Cause, Decision, Hold, Quiet, Rollback

KNOWN = "freeze, resume, rollback@<id of a step in status.tuning.history> or reset@<any word>"


def answer(cycle: Cycle) -> Decision | None:
    """Carry out a command that was not carried out yet; None when there is none."""
    command = cycle.circumstances.command.strip()[:256]
    if not command or command == cycle.memory.last_command.tuning:
        return _refuse_stale_approval(cycle)
    verb, _, target = command.partition("@")
    match verb, bool(target):
        case "freeze", False:
            return _done(cycle, command, "frozen: nothing is changed until resume", {"frozen": True})
        case "resume", False:
            return _done(cycle, command, "tuning resumes", {"frozen": False})
        case "reset", True:
            fresh = TuningStatus(starts=cycle.circumstances.starts, history=cycle.memory.history)
            return _done(cycle.with_memory(fresh), command, "back to the resource's own values, nothing remembered", {})
        case "rollback", True:
            return _roll_back(cycle, command, target)
        case _:
            return _refused(cycle, {"tuning": command}, f"{command[:64]!r} is no command; known are {KNOWN}")


def approved(cycle: Cycle) -> Recommendation | None:
    """Return the recommendation that the annotation approves, if it is the present one and not carried out yet."""
    wanted, present = cycle.circumstances.approve.strip()[:256], cycle.memory.recommendation
    if not wanted or present is None or present.id != wanted or wanted == cycle.memory.last_command.approve:
        return None
    return present


def approval_done(cycle: Cycle, recommendation: Recommendation) -> TuningStatus:
    """Remember that a recommendation was approved and carried out."""
    last = cycle.memory.last_command.model_copy(
        update={"approve": recommendation.id, "outcome": f"approved {recommendation.id}", "time": cycle.now}
    )
    return cycle.memory.model_copy(update={"last_command": last})


def _refuse_stale_approval(cycle: Cycle) -> Decision | None:
    wanted, present = cycle.circumstances.approve.strip()[:256], cycle.memory.recommendation
    if not wanted or wanted == cycle.memory.last_command.approve or (present and present.id == wanted):
        return None
    there = f"the present one is {present.id}" if present else "there is none at present"
    return _refused(cycle, {"approve": wanted}, f"no recommendation {wanted[:64]!r}: {there}")


def _roll_back(cycle: Cycle, command: str, target: str) -> Decision:
    entry = next((entry for entry in cycle.memory.history if entry.id == target), None)
    if entry is None or entry.knob is None or entry.from_value is None:
        return _refused(cycle, {"tuning": command}, f"no step {target[:64]!r} in the history")
    if cycle.policy.spec.mode in {TuningMode.OFF, TuningMode.RECOMMEND}:
        return _refused(cycle, {"tuning": command}, f"mode {cycle.policy.spec.mode} changes nothing")
    return _rolled_back(cycle, command, entry, entry.knob, entry.from_value)


def _rolled_back(cycle: Cycle, command: str, entry: HistoryEntry, knob: Knob, value: int) -> Decision:
    now_at, goal = cycle.value(knob), cycle.policy.clamp(knob, value)
    action = Rollback(
        id=remember.identifier(command, cycle.now.isoformat()),
        of=entry.id,
        knob=knob,
        from_value=now_at,
        to_value=goal,
        cause=Cause.COMMAND,
        message=f"{knob} {now_at} -> {goal} by the command {command}",
    )
    acted = cycle.with_memory(_acted(cycle, {"tuning": command}, action.message))
    memory = remember.after_rollback(acted, action)
    if entry.to_value is not None and entry.from_value is not None:
        up = entry.to_value > entry.from_value
        direction = Direction.UP if up else Direction.DOWN
        memory = remember.blocked(acted.with_memory(memory), knob, direction, goal, action.message)
    return Decision(action=action, memory=memory)


def _done(cycle: Cycle, command: str, message: str, changes: dict[str, object]) -> Decision:
    memory = cycle.memory.model_copy(update=changes)
    return _answered(cycle.with_memory(memory), {"tuning": command}, Quiet.COMMAND_DONE, message)


def _refused(cycle: Cycle, what: dict[str, str], message: str) -> Decision:
    return _answered(cycle, what, Quiet.COMMAND_REFUSED, message)


def _answered(cycle: Cycle, what: dict[str, str], reason: Quiet, message: str) -> Decision:
    acted = cycle.with_memory(_acted(cycle, what, message))
    memory = remember.noted(acted, HistoryKind.COMMAND, reason.value, message)
    return Decision(action=Hold(reason, message), memory=memory)


def _acted(cycle: Cycle, what: dict[str, str], outcome: str) -> TuningStatus:
    last: LastCommand = cycle.memory.last_command.model_copy(
        update={**what, "outcome": outcome[:1_024], "time": cycle.now}
    )
    return cycle.memory.model_copy(update={"last_command": last})
