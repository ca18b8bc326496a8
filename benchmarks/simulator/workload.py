"""A workload file as models: arrivals, service, keys, pods, bounds, objective, faults; validated here alone."""

import math
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmarks.simulator.errors import WorkloadError
from consumer_runtime.contract import knobs as contract
from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator.resource.tuning import Behavior, Knob, Objective, ScaleDown, ScaleUp, Verification

Knobs = dict[Knob, int]
MOST = {knob: contract.Knobs.model_json_schema()["properties"][knob.runtime_name]["maximum"] for knob in Knob}
"""As the resource allows."""
MOST_MESSAGES = 100_000_000
"""In one run; each takes the simulator some ten microseconds."""


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
    """By default the same."""
    cpu_ms: Annotated[float, Field(ge=0, le=600_000)] = 0.05
    """The handler's own CPU time."""
    knee: Annotated[int, Field(ge=1)] | None = None
    """Calls that the downstream bears at once, from all pods; none: any number."""
    beyond_knee: BeyondKnee = BeyondKnee()

    @model_validator(mode="before")
    @classmethod
    def _constant_unless_said(cls, given: Any) -> Any:
        if isinstance(given, dict) and "latency_ms_p50" in given:
            return {"latency_ms_p99": given["latency_ms_p50"], **given}
        return given

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


EFFECTS = {
    FaultKind.DOWNSTREAM: ("latency_factor", "error_percent"),
    FaultKind.STUCK_PARTITION: ("partition",),
    FaultKind.MEMORY: ("mb_per_message",),
    FaultKind.BROKER_SLOW: ("ms",),
}
"""Which fields say what a fault does; the other kinds have none."""
MOMENTARY = {FaultKind.REBALANCE, FaultKind.POD_RESTART}


class Fault(Part):
    """Something that goes wrong for a while."""

    at: Annotated[float, Field(ge=0)]
    """Seconds from the start."""
    duration: Annotated[float, Field(ge=0, alias="for")] = math.inf
    """Seconds, by default to the end; of no meaning for what happens in a moment."""
    kind: FaultKind
    latency_factor: Annotated[float, Field(ge=1, le=1_000)] = 1
    error_percent: Annotated[float, Field(ge=0, le=100)] = 0
    partition: Annotated[int, Field(ge=0)] = 0
    mb_per_message: Annotated[float, Field(ge=0, le=1_000_000)] = 0
    ms: Annotated[float, Field(ge=0, le=600_000)] = 0

    @model_validator(mode="after")
    def _has_an_effect(self) -> Self:
        own = EFFECTS.get(self.kind, ())
        for field in {name for names in EFFECTS.values() for name in names} & self.model_fields_set:
            if field not in own:
                raise ValueError(f"{field} says nothing of {self.kind}; it takes {', '.join(own) or 'no field'}")
        if own and self.kind is not FaultKind.STUCK_PARTITION and not self.model_fields_set & set(own):
            raise ValueError(f"{self.kind} needs {' or '.join(own)}")
        return self

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

    @model_validator(mode="before")
    @classmethod
    def _with_what_the_mode_does_not_use(cls, given: Any) -> Any:
        """A pool's size may be left out where there is no pool."""
        if not isinstance(given, dict) or given.get("mode") in {Mode.THREAD, Mode.PROCESS}:
            return given
        pool = Knob.WORKER_POOL_SIZE
        for name, value in (("start", 1), ("bounds", (1, MOST[pool]))):
            own = given.get(name)
            if isinstance(own, dict) and pool.value not in own:
                given = {**given, name: {**own, pool.value: value}}
        return given

    @model_validator(mode="after")
    def _complete(self) -> Self:
        problem = next(self._problems(), None)
        if problem is not None:
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        """Say what does not fit together, with the field first."""
        if self.mode is Mode.AUTO:
            yield "mode: auto is settled by the operator before anything runs; say single, async, thread or process"
        yield from self._problems_of_knobs()
        for place, fault in enumerate(self.faults):
            if fault.at >= self.seconds:
                yield f"faults.{place}.at: {fault.at:g} is not before the end of all arrivals, {self.seconds:g}"
            if fault.partition >= self.partitions:
                yield f"faults.{place}.partition: {fault.partition} is none of 0..{self.partitions - 1}"
        offered = sum(each.seconds * each.rate for each in self.arrivals)
        if offered > MOST_MESSAGES:
            yield f"arrivals: {offered:.0f} messages in all are more than {MOST_MESSAGES}, the most that can be played"

    def _problems_of_knobs(self) -> Iterator[str]:
        for knob in Knob:
            for name, values in (("start", self.start), ("bounds", self.bounds)):
                if knob not in values:
                    yield f"{name}.{knob.value}: is missing"
            low, high = self.bounds[knob]
            most = MOST[knob]
            if not 1 <= low <= high <= most:
                yield f"bounds.{knob.value}: [{low}, {high}] is not [min, max] with 1 <= min <= max <= {most}"
            if not low <= self.start[knob] <= high:
                yield f"start.{knob.value}: {self.start[knob]} is outside its bounds {low}..{high}"

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
    except UnicodeDecodeError as error:
        raise WorkloadError(f"{path}: not a text file in UTF-8") from error
    except yaml.YAMLError as error:
        raise WorkloadError(f"{path}: not YAML: {error}") from error
    except ValidationError as error:
        raise WorkloadError(f"{path}: {_first_of(error)}") from error


def _first_of(error: ValidationError) -> str:
    first = error.errors()[0]
    words = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        # Of the file as a whole: our own words name the field.
        return words if first["type"] == "value_error" else f"the file is no mapping of fields: {first['input']!r}"
    field = ".".join(str(part) for part in first["loc"] if part != "[key]")
    given = first["input"]
    return f"{field}: {words}" + ("" if isinstance(given, dict) else f" (given: {str(given)[:80]})")
