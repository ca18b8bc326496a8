"""Every knob of the runtime, written once: type, bounds, unit, default, and whether a change needs a restart.

The CRD, the chart's schema, the reference page, the ConfigMap, the gauge `consumer_knob` and the tuner's queries are
generated from here. This file says nothing about what a knob does to an engine; that is the engine's.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Change(StrEnum):
    """What it takes for a new value to be in force."""

    HOT = "hot"
    RESTART = "restart"


def _knob(unit: str, change: Change, *, tunable: bool = False) -> dict[str, Any]:
    return {"x-unit": unit, "x-change": change.value, "x-tunable": tunable}


class Knobs(BaseModel):
    """The numbers that decide how much the runtime does at once, and how long it waits."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    max_in_flight: Annotated[
        int, Field(ge=1, le=100_000, json_schema_extra=_knob("messages", Change.HOT, tunable=True))
    ] = 256
    """Messages that run or wait for a worker at most, in one pod. Fetching pauses when their look-ahead is full."""
    poll_batch_size: Annotated[
        int, Field(ge=1, le=10_000, json_schema_extra=_knob("messages", Change.HOT, tunable=True))
    ] = 500
    """Messages taken from the client by one poll at most."""
    worker_pool_size: Annotated[
        int, Field(ge=1, le=512, json_schema_extra=_knob("workers", Change.HOT, tunable=True))
    ] = 4
    """Threads or processes that run the handler; modes thread and process only."""
    max_in_flight_bytes: Annotated[
        int, Field(ge=1_048_576, le=17_179_869_184, json_schema_extra=_knob("bytes", Change.HOT))
    ] = 268_435_456
    """Payload bytes fetched and not yet finished, look-ahead included, over all partitions of one pod."""
    rate_limit_per_second: Annotated[
        int, Field(ge=0, le=10_000_000, json_schema_extra=_knob("messages per second", Change.HOT))
    ] = 0
    """Messages that one pod hands to its handler per second at most, retries included; 0 means no limit."""
    task_timeout_ms: Annotated[int, Field(ge=0, le=86_400_000, json_schema_extra=_knob("milliseconds", Change.HOT))] = (
        30_000
    )
    """How long one attempt of the handler may take before it counts as failed; 0 means no limit."""
    revoke_grace_ms: Annotated[int, Field(ge=0, le=300_000, json_schema_extra=_knob("milliseconds", Change.HOT))] = (
        5_000
    )
    """How long work of a revoked partition may go on before its finished offsets are committed and it is given up."""
    max_blocking_duration_ms: Annotated[
        int, Field(ge=0, le=86_400_000, json_schema_extra=_knob("milliseconds", Change.HOT))
    ] = 0
    """How long a watermark may stand still, with work finished beyond it, before it is reported stuck; 0 is never."""
    shutdown_grace_seconds: Annotated[
        int, Field(ge=0, le=3_600, json_schema_extra=_knob("seconds", Change.RESTART))
    ] = 30
    """How long admitted work may go on after SIGTERM; the pod's termination grace period follows it."""


class ProcessKnobs(BaseModel):
    """Batching between the runtime and its worker processes; mode process only."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    batch_size: Annotated[int, Field(ge=1, le=4_096, json_schema_extra=_knob("messages", Change.HOT))] = 64
    """Messages in one batch to a worker at most; a batch leaves earlier when the worker is idle."""
    queue_size: Annotated[int, Field(ge=1, le=65_536, json_schema_extra=_knob("messages", Change.HOT))] = 2_048
    """Messages waiting in front of one worker at most."""


def camel_case(name: str) -> str:
    """Return the CRD's name of a runtime field: `max_in_flight` -> `maxInFlight`. Pure; the only such converter."""
    return to_camel(name)


def tunable_knobs() -> tuple[str, ...]:
    """Return the runtime names of the knobs that the tuner may change, in the order in which it prefers them."""
    return tuple(name for name, field in Knobs.model_fields.items() if _extra(field)["x-tunable"])


def hot_knobs() -> tuple[str, ...]:
    """Return the runtime names of the knobs that take a new value without a restart."""
    return tuple(name for name, field in Knobs.model_fields.items() if _extra(field)["x-change"] == Change.HOT)


def bounds(name: str) -> tuple[int, int]:
    """Return (minimum, maximum) of a knob by its runtime name; raises KeyError for an unknown one."""
    limits = {type(rule).__name__: rule for rule in Knobs.model_fields[name].metadata}
    return int(limits["Ge"].ge), int(limits["Le"].le)


def _extra(field: Any) -> dict[str, Any]:
    extra = field.json_schema_extra
    if not isinstance(extra, dict):
        message = "every knob states its unit and how it changes"
        raise TypeError(message)
    return extra
