"""The head of `status.tuning`: phase, reason and message of the last decision. Pure; nothing is decided here."""

from parallel_consumer_operator.resource.tuning_status import TuningPhase, TuningStatus
from parallel_consumer_operator.tuning import gates
from parallel_consumer_operator.tuning.cycle import Cycle, behind
from parallel_consumer_operator.tuning.decision import Decision, Gate, Hit, Hold, Quiet, Recommend, Rollback, Step

_SHUT = (
    (frozenset({Gate.OFF}), TuningPhase.OFF),
    (frozenset({Gate.PAUSED, Gate.SUSPENDED, Gate.EXCLUDED_PERIOD, Gate.BRAKE}), TuningPhase.PAUSED),
    (gates.SHUT_TO_RAISES | {Gate.FROZEN_BY_COMMAND}, TuningPhase.FROZEN),
)


def titled(cycle: Cycle, decision: Decision, hits: tuple[Hit, ...]) -> TuningStatus:
    """Put phase, reason and message of the decision at the head of the status."""
    phase = _phase_of_gates(hits) or _phase_of_action(cycle, decision, hits)
    return decision.memory.model_copy(
        update={"phase": phase, "reason": decision.reason, "message": decision.message[:1_024]}
    )


def _phase_of_gates(hits: tuple[Hit, ...]) -> TuningPhase | None:
    shut = {hit.gate for hit in hits}
    return next((phase for among, phase in _SHUT if shut & among), None)


def _phase_of_action(cycle: Cycle, decision: Decision, hits: tuple[Hit, ...]) -> TuningPhase:
    if decision.memory.verifying is not None:
        return TuningPhase.VERIFYING
    match decision.action:
        case Step() | Rollback() | Hold(reason=Gate.COOLDOWN | Quiet.CATCHING_UP):
            return TuningPhase.TUNING
        case Recommend():
            return TuningPhase.RECOMMENDING
        case Hold() if decision.memory.saturated is not None:
            return TuningPhase.SATURATED
        case Hold() if hits:
            return TuningPhase.WAITING
        case Hold():
            return _phase_without_action(cycle)


def _phase_without_action(cycle: Cycle) -> TuningPhase:
    seen = cycle.window.measured
    return TuningPhase.TUNING if seen is not None and behind(cycle, seen) else TuningPhase.STEADY
