"""A workload file as models: arrivals, service, keys, pods, bounds, objective, faults; validated here alone."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmarks.simulator.errors import WorkloadError
from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator.resource.tuning import Behavior, Knob, Objective, ScaleDown, ScaleUp, Verification

Knobs = dict[Knob, int]


class Part(BaseModel):
    """Root of a workload's parts: unknown fields are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Arrivals(Part):
    """A stretch of time with one arrival rate."""

    seconds: Annotated[int, Field(ge=1, le=86_400)]
    rate: Annotated[float, Field(ge=0, le=1_000_000)]
    """Messages per second."""


class BeyondKnee(Part):
    """What a call meets that begins while more than `knee` calls are under way downstream."""

    latency_factor: Annotated[float, Field(ge=1, le=1_000)] = 3
    error_percent: Annotated[float, Field(ge=0, le=100)] = 0


class Service(Part):
    """What one message takes."""

    latency_ms_p50: Annotated[float, Field(ge=0, le=600_000)] = 0
    """Waiting for the downstream; log-normal."""
    latency_ms_p99: Annotated[float, Field(ge=0, le=600_000)] = 0
    cpu_ms: Annotated[float, Field(ge=0, le=600_000)] = 0.05
    """The handler's own CPU time."""
    knee: Annotated[int, Field(ge=1)] | None = None
    """Calls that the downstream bears at once, from all pods; none: any number."""
    beyond_knee: BeyondKnee = BeyondKnee()

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.latency_ms_p99 < self.latency_ms_p50:
            raise ValueError(f"latency_ms_p99 {self.latency_ms_p99} is below latency_ms_p50 {self.latency_ms_p50}")
        return self


class Keys(Part):
    """Whose turn it is: messages of one key wait for each other."""

    count: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    zipf: Annotated[float, Field(ge=0, le=4)] = 0
    """Exponent of the skew; 0 is uniform."""


class Pods(Part):
    """The consumers."""

    count: Annotated[int, Field(ge=1, le=64)] = 1
    cpu: Annotated[float, Field(gt=0, le=64)] = 1
    """Cores of each."""
    memory_mb: Annotated[float, Field(gt=0)] = 1_024
    """Memory limit of each."""


class FaultKind(StrEnum):
    """What can go wrong."""

    DOWNSTREAM = "downstream"
    METRICS_MISSING = "metrics_missing"
    METRICS_FLAP = "metrics_flap"
    STUCK_PARTITION = "stuck_partition"
    REBALANCE = "rebalance"
    POD_RESTART = "pod_restart"
    MEMORY = "memory"
    BROKER_SLOW = "broker_slow"


class Fault(Part):
    """Something that goes wrong for a while."""

    at: Annotated[float, Field(ge=0)]
    """Seconds from the start."""
    duration: Annotated[float, Field(ge=0, alias="for")] = 0
    """Seconds; 0 is a moment."""
    kind: FaultKind
    latency_factor: Annotated[float, Field(ge=1)] = 1
    error_percent: Annotated[float, Field(ge=0, le=100)] = 0
    partition: Annotated[int, Field(ge=0)] = 0
    mb_per_message: Annotated[float, Field(ge=0)] = 0
    ms: Annotated[float, Field(ge=0)] = 0

    @property
    def end(self) -> float:
        """Seconds from the start."""
        return self.at + self.duration


class Bench(Part):
    """How the tuner is set in this workload: windows short enough for runs of minutes."""

    behavior: Behavior = Behavior(
        window_seconds=10,
        long_window_seconds=60,
        max_changes_per_hour=60,
        scale_up=ScaleUp(cooldown_seconds=5),
        scale_down=ScaleDown(cooldown_seconds=30),
    )
    verification: Verification = Verification()
    scrape_seconds: Annotated[float, Field(gt=0, le=60)] = 1


class Workload(Part):
    """One workload."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    arrivals: Annotated[list[Arrivals], Field(min_length=1, max_length=1_000)]
    service: Service = Service()
    keys: Keys = Keys()
    partitions: Annotated[int, Field(ge=1, le=256)] = 8
    pods: Pods = Pods()
    mode: Mode = Mode.ASYNC
    start: Knobs
    bounds: dict[Knob, tuple[int, int]]
    objective: Objective = Objective()
    faults: Annotated[list[Fault], Field(max_length=1_000)] = Field(default_factory=list)
    bench: Bench = Bench()
    seed: int = 1

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for knob in Knob:
            if knob not in self.start or knob not in self.bounds:
                raise ValueError(f"start and bounds need {knob.value}")
            low, high = self.bounds[knob]
            if not low <= self.start[knob] <= high:
                raise ValueError(f"start.{knob.value} {self.start[knob]} is outside its bounds {low}..{high}")
        return self

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return float(sum(each.seconds for each in self.arrivals))

    def rate_at(self, second: float) -> float:
        """Return the arrival rate at a moment; the last one beyond the end."""
        for each in self.arrivals:
            if second < each.seconds:
                return each.rate
            second -= each.seconds
        return self.arrivals[-1].rate


def load(path: Path) -> Workload:
    """Return the workload of a YAML file; raises WorkloadError naming file, field, value and what is allowed."""
    try:
        return Workload.model_validate(yaml.safe_load(path.read_text()))
    except OSError as error:
        raise WorkloadError(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise WorkloadError(f"{path}: not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise WorkloadError(f"{path}: {field}: {first['msg']} (given: {str(first['input'])[:80]})") from error
