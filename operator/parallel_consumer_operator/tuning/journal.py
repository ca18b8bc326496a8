"""One decision as a line of JSON that holds its whole input, so that it can be decided again. Pure; writes nothing."""

from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from parallel_consumer_operator.resource.tuning import Knob
from parallel_consumer_operator.resource.tuning_status import KnobValues, TuningStatus, Verdict
from parallel_consumer_operator.tuning.decision import Decision, Hold, Recommend, Rollback, Step
from parallel_consumer_operator.tuning.observation import Window
from parallel_consumer_operator.tuning.policy import Policy
from parallel_consumer_operator.tuning.tuner import decide

EVENT = "tuning decision"
"""How a log line with a decision calls itself."""


class Outcome(BaseModel):
    """What came out of a decision: everything that a person or another cycle could tell apart."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    action: str
    """Step, Rollback, Recommend or Hold."""
    reason: str
    message: str
    gates: tuple[str, ...] = ()
    verdict: Verdict | None = None
    id: str = ""
    """Of the step, the rollback or the recommendation."""
    knob: Knob | None = None
    from_value: int | None = None
    to_value: int | None = None

    @classmethod
    def of(cls, decision: Decision) -> "Outcome":
        """Return a decision's outcome."""
        return cls(
            action=type(decision.action).__name__,
            reason=decision.reason,
            message=decision.message,
            gates=tuple(hit.gate.value for hit in decision.hits),
            verdict=decision.judgement.verdict if decision.judgement else None,
            **_change(decision),
        )


class Entry(Outcome):
    """What went into a decision, beside what came out."""

    namespace: str
    name: str
    now: AwareDatetime
    policy: Policy
    window: Window
    memory: TuningStatus

    @classmethod
    def made(
        cls,
        where: tuple[str, str],
        policy: Policy,
        window: Window,
        memory: TuningStatus,
        now: datetime,
        decision: Decision,
    ) -> "Entry":
        """Return the entry of a decision about the resource `where`, as (namespace, name)."""
        came_out = {name: getattr(Outcome.of(decision), name) for name in Outcome.model_fields}
        return cls(namespace=where[0], name=where[1], now=now, policy=policy, window=window, memory=memory, **came_out)

    def decide_again(self, policy: Policy | None = None) -> Outcome:
        """Decide from the same input, or under another policy."""
        return Outcome.of(decide(policy or self.policy, self.window, self.memory, self.now))

    def agrees(self, outcome: Outcome) -> bool:
        """Whether an outcome is the one that was logged."""
        return all(getattr(self, name) == getattr(outcome, name) for name in Outcome.model_fields)


def _change(decision: Decision) -> dict[str, Any]:
    match decision.action:
        case Step() | Rollback() as made:
            return {"id": made.id, "knob": made.knob, "from_value": made.from_value, "to_value": made.to_value}
        case Recommend(recommendation=advised):
            knob = next((knob for knob in Knob if advised.knobs.of(knob) is not None), None)
            return {"id": advised.id, "knob": knob, "to_value": _value(advised.knobs, knob)}
        case Hold():
            return {}


def _value(values: KnobValues, knob: Knob | None) -> int | None:
    return None if knob is None else values.of(knob)
