"""The runbook's profiles: starting values and tuning bounds for one kind of work. Pure data and its expansion."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from consumer_runtime.contract.choices import Mode


class Profile(StrEnum):
    """A set of starting values and tuning bounds for one kind of work."""

    LOW_LATENCY = "LowLatency"
    HIGH_THROUGHPUT = "HighThroughput"
    RESOURCE_CONSTRAINED = "ResourceConstrained"
    NONE = "None"


@dataclass(frozen=True, slots=True)
class Range:
    """A knob's tuning bounds in a profile; `low` is where it starts."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class ProfileValues:
    """What one profile fills where the spec is silent; `knobs`, `ranges`, `process`, `retry` by runtime names."""

    mode: Mode | None = None
    ranges: dict[str, Range] = field(default_factory=dict)
    knobs: dict[str, int] = field(default_factory=dict)
    process: dict[str, int] = field(default_factory=dict)
    retry: dict[str, int] = field(default_factory=dict)
    cpus_per_worker: int | None = None
    """Workers are the pod's CPU limit divided by this, rounded up; None leaves the pool alone."""


_PROFILES: Final = {
    Profile.NONE: ProfileValues(),
    Profile.LOW_LATENCY: ProfileValues(
        mode=Mode.ASYNC,
        ranges={
            "max_in_flight": Range(256, 512),
            "poll_batch_size": Range(200, 500),
            "task_timeout_ms": Range(500, 1_000),
        },
        knobs={"max_blocking_duration_ms": 0},
    ),
    # Where the runbook states only a minimum, the maximum is four times it.
    Profile.HIGH_THROUGHPUT: ProfileValues(
        mode=Mode.PROCESS,
        ranges={"max_in_flight": Range(2_000, 8_000), "poll_batch_size": Range(1_000, 2_000)},
        knobs={"task_timeout_ms": 5_000},
        process={"batch_size": 128, "queue_size": 4_096},
        cpus_per_worker=1,
    ),
    Profile.RESOURCE_CONSTRAINED: ProfileValues(
        ranges={"max_in_flight": Range(128, 256), "poll_batch_size": Range(200, 500)},
        process={"batch_size": 64},
        retry={"max_retries": 3, "backoff_ms": 1_000},
        cpus_per_worker=2,
    ),
}


def values(profile: Profile) -> ProfileValues:
    """Return what a profile fills."""
    return _PROFILES[profile]


def starting_knobs(profile: Profile, *, cpu_limit: int | None) -> dict[str, int]:
    """Return the knobs that a profile fills, by runtime name; `cpu_limit` is the pod's, in whole cores rounded up."""
    filled = values(profile)
    knobs = filled.knobs | {name: limits.low for name, limits in filled.ranges.items()}
    if filled.cpus_per_worker is not None and cpu_limit is not None:
        knobs["worker_pool_size"] = max(1, -(-cpu_limit // filled.cpus_per_worker))
    return knobs


def filled(document: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    """Return a runtime's settings with what a profile fills where they state nothing, but for the number of workers."""
    wanted = values(profile)
    execution: dict[str, Any] = dict(starting_knobs(profile, cpu_limit=None))
    if wanted.mode is not None:
        execution["mode"] = wanted.mode
    if wanted.process:
        execution["process"] = wanted.process
    return _over({"execution": execution, "retry": wanted.retry}, document)


def _over(below: Mapping[str, Any], stated: Mapping[str, Any]) -> dict[str, Any]:
    """Lay what is stated over what lies below, within mappings too; a whole model that is stated stays as it is."""
    merged = dict(below) | dict(stated)
    for name, value in below.items():
        if isinstance(value, Mapping) and isinstance(stated.get(name), Mapping):
            merged[name] = _over(value, stated[name])
    return merged
