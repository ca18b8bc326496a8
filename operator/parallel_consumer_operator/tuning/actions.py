"""Actions, each made together with what is to be remembered of it. Pure; when to take one is decided elsewhere."""

from parallel_consumer_operator.resource.tuning import Knob
from parallel_consumer_operator.resource.tuning_status import HistoryKind, KnobValues, Recommendation
from parallel_consumer_operator.tuning import memory as remember
from parallel_consumer_operator.tuning.cycle import Cycle
from parallel_consumer_operator.tuning.decision import Decision, Gate, Hold, Quiet, Recommend, Rule, Step
from parallel_consumer_operator.tuning.observation import Measurement
from parallel_consumer_operator.tuning.rules import Proposal


def hold(cycle: Cycle, reason: Gate | Quiet, message: str) -> Decision:
    """Change nothing."""
    return Decision(Hold(reason, message), remember.noted(cycle, HistoryKind.HOLD, reason.value, message))


def set_knob(cycle: Cycle, seen: Measurement | None, rule: Rule, knob: Knob, goal: int, reason: str) -> Decision:
    """Set one knob; with figures to compare with, the step is verified."""
    value = cycle.value(knob)
    step = Step(
        id=remember.identifier(knob, value, goal, rule, cycle.now.isoformat()),
        knob=knob,
        from_value=value,
        to_value=goal,
        rule=rule,
        message=f"{knob} {value} -> {goal}: {reason}",
    )
    return Decision(step, remember.after_step(cycle, step, seen))


def recommend(cycle: Cycle, proposal: Proposal, goal: int) -> Decision:
    """Say it. One that is about the same as the present recommendation leaves it, and its id, as it is."""
    present, value = cycle.memory.recommendation, cycle.value(proposal.knob)
    told = present.knobs.of(proposal.knob) if present is not None and present.reason == proposal.rule else None
    if present is not None and told is not None and abs(told - goal) <= cycle.policy.tolerance * goal:
        return Decision(Recommend(present), cycle.memory)
    recommendation = Recommendation(
        id=remember.identifier(proposal.knob, value, goal, proposal.rule, cycle.now.isoformat()),
        knobs=KnobValues().having(proposal.knob, goal),
        uncapped=KnobValues().having(proposal.knob, min(100_000, max(1, proposal.ideal))),
        reason=proposal.rule.value,
        message=f"{proposal.knob} {value} -> {goal}: {proposal.message}"[:1_024],
        time=cycle.now,
    )
    memory = cycle.memory.model_copy(update={"recommendation": recommendation})
    return Decision(Recommend(recommendation), memory)
