"""The tuner's answers as values: one action per cycle, never None, each with a reason for programs and for people.

How they come about is `tuner.py`'s; what they do to the memory is `memory.py`'s.
"""

from dataclasses import dataclass
from enum import StrEnum

from parallel_consumer_operator.resource.tuning import Knob
from parallel_consumer_operator.resource.tuning_status import (
    Direction,
    Recommendation,
    Saturation,
    TuningStatus,
    Verdict,
)


class Gate(StrEnum):
    """What can stand in the way of a change, in the order in which it is asked."""

    OFF = "Off"
    PAUSED = "Paused"
    SUSPENDED = "Suspended"
    BRAKE = "EmergencyBrake"
    FROZEN_BY_COMMAND = "FrozenByCommand"
    EXCLUDED_PERIOD = "ExcludedPeriod"
    MEMORY_PRESSURE = "MemoryPressure"
    NOT_STABLE = "NotStable"
    METRICS_UNAVAILABLE = "MetricsUnavailable"
    FROZEN = "Frozen"
    STUCK_OFFSET = "StuckOffset"
    WINDOW_NOT_FULL = "WindowNotFull"
    VERIFYING = "Verifying"
    CHANGES_PER_HOUR = "MaxChangesPerHour"
    COOLDOWN = "Cooldown"
    BLOCKED = "Blocked"
    INSIDE_TOLERANCE = "InsideTolerance"
    NO_RAISE = "RaisesForbidden"


class Rule(StrEnum):
    """What can ask for a change, cheapest knob first."""

    DOWNSTREAM_SATURATED = "DownstreamSaturated"
    LATENCY_OVER_OBJECTIVE = "LatencyOverObjective"
    FETCH_STARVED = "FetchStarved"
    LIMIT_BINDING = "LimitBinding"
    WORKERS_BUSY = "WorkersBusy"
    THRASH = "Thrash"
    OVERPROVISIONED = "Overprovisioned"
    MEMORY_PRESSURE = "MemoryPressure"
    TRIM = "Trim"
    COMMAND = "Command"


class Quiet(StrEnum):
    """Why nothing was asked for."""

    ON_TARGET = "OnTarget"
    CATCHING_UP = "CatchingUp"
    AT_BOUND = "AtBound"
    CPU_BOUND = "CpuBound"
    NO_PROGRESS = "NoProgress"
    NO_RULE = "NoRuleApplies"
    COMMAND_REFUSED = "CommandRefused"
    COMMAND_DONE = "CommandDone"
    AWAITING_APPROVAL = "AwaitingApproval"


class Cause(StrEnum):
    """Why a step is taken back."""

    DID_NOT_PAY = "DidNotPay"
    FROZEN = "Frozen"
    STUCK_OFFSET = "StuckOffset"
    COMMAND = "Command"


@dataclass(frozen=True, slots=True)
class Hit:
    """A gate that was found shut."""

    gate: Gate
    message: str


@dataclass(frozen=True, slots=True)
class Step:
    """Set one knob."""

    id: str
    knob: Knob
    from_value: int
    to_value: int
    rule: Rule
    message: str

    @property
    def direction(self) -> Direction:
        """Up or down."""
        return Direction.UP if self.to_value > self.from_value else Direction.DOWN


@dataclass(frozen=True, slots=True)
class Rollback:
    """Take a step back, whole or (a trim) in part."""

    id: str
    of: str
    """Id of the step taken back."""
    knob: Knob
    from_value: int
    to_value: int
    cause: Cause
    message: str


@dataclass(frozen=True, slots=True)
class Recommend:
    """Say what should be done, and change nothing."""

    recommendation: Recommendation


@dataclass(frozen=True, slots=True)
class Hold:
    """Change nothing."""

    reason: Gate | Quiet
    message: str


Action = Step | Rollback | Recommend | Hold


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a step was found to have turned out."""

    verdict: Verdict
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """One cycle's answer: what to do, what stood in the way, and what to remember."""

    action: Action
    memory: TuningStatus
    hits: tuple[Hit, ...] = ()
    judgement: Judgement | None = None
    saturation: Saturation | None = None

    @property
    def reason(self) -> str:
        """One word for programs."""
        match self.action:
            case Step(rule=rule):
                return rule.value
            case Rollback(cause=cause):
                return cause.value
            case Recommend(recommendation=recommendation):
                return recommendation.reason
            case Hold(reason=reason):
                return reason.value

    @property
    def message(self) -> str:
        """One sentence for people."""
        match self.action:
            case Recommend(recommendation=recommendation):
                return recommendation.message
            case Step(message=message) | Rollback(message=message) | Hold(message=message):
                return message
