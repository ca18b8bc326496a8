"""One decision as a line of JSON that holds its whole input, so that it can be decided again. Pure; writes nothing."""

from pydantic import AwareDatetime, BaseModel, ConfigDict

from parallel_consumer_operator.resource.tuning_status import TuningStatus, Verdict
from parallel_consumer_operator.tuning.decision import Decision
from parallel_consumer_operator.tuning.observation import Window
from parallel_consumer_operator.tuning.policy import Policy
from parallel_consumer_operator.tuning.tuner import decide


class Entry(BaseModel):
    """What went into a decision, and in short what came out."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    namespace: str
    name: str
    now: AwareDatetime
    policy: Policy
    window: Window
    memory: TuningStatus
    action: str
    reason: str
    message: str
    gates: tuple[str, ...] = ()
    verdict: Verdict | None = None

    def decide_again(self, policy: Policy | None = None) -> Decision:
        """Decide from the same input, or under another policy."""
        return decide(policy or self.policy, self.window, self.memory, self.now)

    def agrees(self, decision: Decision) -> bool:
        """Whether a decision is the one that was logged."""
        return (self.reason, self.message) == (decision.reason, decision.message)
