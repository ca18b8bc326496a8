"""`status.tuning` of the ParallelConsumer: everything the tuner remembers, and the story it tells.

It is the tuner's only memory: an operator that restarts reads it back and decides as the old one would have. Figures
are integers in thousandths or whole units, so that what is written is exactly what is read.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field

from parallel_consumer_operator.resource.model import StatusModel
from parallel_consumer_operator.resource.tuning import Knob

Text = Annotated[str, Field(max_length=1_024)]
Identifier = Annotated[str, Field(max_length=64)]
Count = Annotated[int, Field(ge=0, le=2**53)]
KnobValue = Annotated[int, Field(ge=1, le=100_000)]


class TuningPhase(StrEnum):
    """What the tuner is doing, in one word."""

    OFF = "Off"
    PAUSED = "Paused"
    WAITING = "Waiting"
    VERIFYING = "Verifying"
    FROZEN = "Frozen"
    SATURATED = "Saturated"
    RECOMMENDING = "Recommending"
    TUNING = "Tuning"
    STEADY = "Steady"


class Direction(StrEnum):
    """Which way a knob goes."""

    UP = "Up"
    DOWN = "Down"


class Pace(StrEnum):
    """How far one raise goes, by what the last one returned."""

    UNPROVEN = "Unproven"
    """Times 2."""
    PROVEN = "Proven"
    """The last raise returned at least 80 % of its proportional gain: times 4."""
    CAREFUL = "Careful"
    """It returned less: times 1.5."""


class HistoryKind(StrEnum):
    """What an entry of the history tells."""

    STEP = "Step"
    ROLLBACK = "Rollback"
    COMMAND = "Command"
    HOLD = "Hold"


class Verdict(StrEnum):
    """How a step turned out."""

    PAID = "Paid"
    NOT_PAID = "NotPaid"
    INCONCLUSIVE = "Inconclusive"


class KnobValues(StatusModel):
    """Values by knob; those that are not set follow the resource."""

    max_in_flight: KnobValue | None = None
    """Messages admitted and not finished, per pod."""
    poll_batch_size: KnobValue | None = None
    """Messages taken by one poll."""
    worker_pool_size: KnobValue | None = None
    """Threads or processes."""

    def of(self, knob: Knob) -> int | None:
        """Return one knob's value, None when it is not set."""
        value: int | None = getattr(self, knob.runtime_name)
        return value

    def having(self, knob: Knob, value: int) -> "KnobValues":
        """Return a copy in which one knob has a value."""
        return self.model_copy(update={knob.runtime_name: value})

    def as_runtime(self) -> dict[str, int]:
        """Return the values that are set, by runtime name."""
        return {knob.runtime_name: value for knob in Knob if (value := self.of(knob)) is not None}


class Paces(StatusModel):
    """The pace of each knob."""

    max_in_flight: Pace = Pace.UNPROVEN
    poll_batch_size: Pace = Pace.UNPROVEN
    worker_pool_size: Pace = Pace.UNPROVEN

    def of(self, knob: Knob) -> Pace:
        """Return one knob's pace."""
        pace: Pace = getattr(self, knob.runtime_name)
        return pace

    def having(self, knob: Knob, pace: Pace) -> "Paces":
        """Return a copy in which one knob has a pace."""
        return self.model_copy(update={knob.runtime_name: pace})


class Baseline(StatusModel):
    """What was measured when a step was decided; it is compared with what is measured after it."""

    rate_milli: Count
    """Completions, in thousandths per second."""
    arrivals_milli: Count
    """Arrivals, in thousandths per second."""
    lag_seconds: Count
    """Backlog over completion rate."""
    service_micros: Count
    """The handler's own mean time, in microseconds."""
    latency_ms_p99: Count
    """99th percentile of the handler's own time."""
    pauses_milli: Count
    """Pauses for backpressure, in thousandths per second and pod."""
    replicas: Annotated[int, Field(ge=0, le=100_000)]
    """Pods that were ready."""


class OpenVerify(StatusModel):
    """A step that is applied, or being applied, and not judged yet."""

    id: Identifier
    """The step's id in the history."""
    knob: Knob
    direction: Direction
    from_value: KnobValue
    """Its value before the step."""
    to_value: KnobValue
    """Its value since the step."""
    rule: Text
    """The rule that asked for the step."""
    started_at: AwareDatetime
    """When the step was decided."""
    deadline: AwareDatetime
    """When it is judged Inconclusive at the latest."""
    baseline: Baseline


class Block(StatusModel):
    """A direction of a knob that is not tried for a while: upwards from `limit`, or downwards from it."""

    knob: Knob
    direction: Direction
    limit: KnobValue
    """The value that is not to be reached again; values short of it are allowed."""
    until: AwareDatetime
    """When it may be tried again."""
    failures: Annotated[int, Field(ge=1, le=1_000)] = 1
    """How often in a row it was tried in vain; each doubles the time, up to eightfold."""
    arrivals_milli: Count | None = None
    """Arrivals when it brought nothing, in thousandths per second: when clearly more come it may be tried again before
    its time. Left out where it did harm."""
    reason: Text
    """What was tried in vain."""


class Recommendation(StatusModel):
    """What the tuner would do, or advises beyond its power."""

    id: Identifier
    """Approve it by this id."""
    knobs: KnobValues
    """The proposed values, inside their bounds."""
    uncapped: KnobValues = KnobValues()
    """What it would be without bounds."""
    reason: Text
    """The rule that proposes it."""
    message: Text
    """The proposal and its grounds, for people."""
    time: AwareDatetime
    """When it was first made."""


class Saturation(StatusModel):
    """Nothing within the tuner's bounds helps any more, and what would."""

    reason: Text
    """What stands in the way: a bound, the partitions, or the mode."""
    message: Text
    """What would help, for people."""
    uncapped: KnobValues = KnobValues()
    """What the values would be without bounds."""


class LastCommand(StatusModel):
    """Commands by annotation that were carried out or refused; none is carried out twice."""

    tuning: Annotated[str, Field(max_length=256)] = ""
    """The last value of `parallelconsumer.dev/tuning` that was acted upon."""
    approve: Annotated[str, Field(max_length=256)] = ""
    """The last value of `parallelconsumer.dev/approve` that was acted upon."""
    outcome: Text = ""
    """What came of the last one."""
    time: AwareDatetime | None = None
    """When it was carried out or refused."""


class HistoryEntry(StatusModel):
    """One thing that the tuner did, or held for; repeated holds of one reason are one entry."""

    id: Identifier
    """Name it in the commands rollback@ and reset@."""
    kind: HistoryKind
    time: AwareDatetime
    """When it happened, or first did."""
    last_time: AwareDatetime
    """When it happened last."""
    count: Annotated[int, Field(ge=1, le=2**31)] = 1
    """How often, for holds."""
    knob: Knob | None = None
    from_value: KnobValue | None = None
    """The knob's value before."""
    to_value: KnobValue | None = None
    """The knob's value after."""
    reason: Text
    """The rule, gate or command, in one word."""
    message: Text
    """The same for people, with the figures."""
    verdict: Verdict | None = None


class TuningStatus(StatusModel):
    """`status.tuning`."""

    phase: TuningPhase = TuningPhase.WAITING
    reason: Text = ""
    """Why the last decision was taken."""
    message: Text = ""
    """The last decision, for people."""
    knobs: KnobValues = KnobValues()
    """The values that the tuner wants in force, written before they are applied."""
    recommendation: Recommendation | None = None
    saturated: Saturation | None = None
    verifying: OpenVerify | None = None
    starts: KnobValues = KnobValues()
    """The resource's own values that tuning set out from; a knob whose own value is edited starts anew."""
    blocked: Annotated[tuple[Block, ...], Field(max_length=6)] = ()
    """Directions that are not tried for a while."""
    paces: Paces = Paces()
    frozen: bool = False
    """Set by the command `freeze`, cleared by `resume`."""
    stable_since: AwareDatetime | None = None
    """Since when no rollout, rebalance or change disturbs the measurement."""
    last_change: AwareDatetime | None = None
    """When a value was last changed."""
    last_out_of_memory: AwareDatetime | None = None
    """The latest out-of-memory kill that was acted upon."""
    change_times: Annotated[tuple[AwareDatetime, ...], Field(max_length=60)] = ()
    """When steps of the last hour were made."""
    last_command: LastCommand = LastCommand()
    history: Annotated[tuple[HistoryEntry, ...], Field(max_length=10)] = ()
    """What the tuner did and held for, oldest first."""
