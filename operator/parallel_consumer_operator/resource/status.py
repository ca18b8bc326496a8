"""The status of a ParallelConsumer as pydantic models: what the operator tells people and what it remembers."""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, JsonValue

from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator.resource.model import StatusModel
from parallel_consumer_operator.resource.tuning_status import TuningStatus

Reason = Annotated[str, Field(max_length=128)]
Message = Annotated[str, Field(max_length=4096)]
Time = Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]


class ConditionType(StrEnum):
    """What is told of the resource, one line each in `kubectl describe`."""

    READY = "Ready"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"
    PAUSED = "Paused"
    METRICS_AVAILABLE = "MetricsAvailable"
    TUNING_ACTIVE = "TuningActive"
    SATURATED = "Saturated"


class ConditionStatus(StrEnum):
    """Kubernetes' three-valued truth."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(StatusModel):
    """One condition, in Kubernetes' own shape."""

    type: ConditionType
    status: ConditionStatus
    reason: Reason
    """One word for programs."""
    message: Message = ""
    """A sentence for people: what is, and what to do."""
    observed_generation: int = 0
    """The generation of the spec that this was seen for."""
    last_transition_time: Time
    """When the status of this condition last changed."""


class ValueSource(StrEnum):
    """Where an effective value comes from, strongest last but one: a tuner's value stands over the spec's start."""

    DEFAULT = "Default"
    PROFILE = "Profile"
    SPEC = "Spec"
    TUNER = "Tuner"


class EffectiveKnob(StatusModel):
    """One knob as the pods are told it."""

    name: Annotated[str, Field(max_length=64)]
    """Its name in the spec."""
    value: int
    """The value in the pods' settings."""
    source: ValueSource
    """Who decided it."""
    start: int
    """What spec, profile and defaults say: where tuning started. A tuned value is given up when this changes."""


class EffectiveStatus(StatusModel):
    """What the pods are told, and how many have it."""

    mode: Mode | None = None
    """How the handler runs."""
    mode_source: ValueSource | None = None
    """Who decided the mode."""
    mode_reason: Annotated[str, Field(max_length=1024)] | None = None
    """For mode auto: what the runtime measured, and its choice."""
    config_generation: int = 0
    """Counts the writes of the settings."""
    pods_applied: int = 0
    """Ready pods that report this generation as in force."""
    apply_milliseconds: int | None = None
    """From the last write of the settings until every ready pod reported it."""
    knobs: Annotated[list[EffectiveKnob], Field(max_length=64)] = []
    """Every knob, its value, and who decided it."""


class LagStatus(StatusModel):
    """How far the group is behind."""

    messages: int | None = None
    """End offsets minus committed offsets, over all partitions."""
    seconds: int | None = None
    """Messages divided by the rate at which they are finished."""
    rate_per_second: int | None = None
    """Messages finished per second."""
    updated: Time | None = None
    """When these figures were taken."""


class ParallelConsumerStatus(StatusModel):
    """What the operator saw and did."""

    observed_generation: int = 0
    """The generation of the spec that the rest of the status is about."""
    replicas: int = 0
    """Pods that exist."""
    ready_replicas: int = 0
    """Pods that are ready."""
    selector: Annotated[str, Field(max_length=512)] = ""
    """A label selector of the pods, for the scale subresource."""
    in_flight: int | None = None
    """Messages admitted and not finished, over all pods, when last asked."""
    reason: Reason = ""
    """The one word that matters most now; shown by kubectl get."""
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = []
    """What is so and what is not, one of each type, each with its reason and a sentence."""
    effective: EffectiveStatus = EffectiveStatus()
    lag: LagStatus = LagStatus()
    tuning: TuningStatus = TuningStatus()

    @classmethod
    def parse(cls, manifest: dict[str, Any]) -> Self:
        """Return the status of a ParallelConsumer's manifest; an absent or unreadable one is an empty status.

        Unreadable means written by another version: the ConfigMap holds what is applied, so nothing is lost.
        """
        try:
            return cls.model_validate(manifest.get("status") or {})
        except ValueError:
            return cls()

    def manifest(self) -> dict[str, JsonValue]:
        """Return the status as the API server stores it; what is unknown or empty is left out."""
        stored: dict[str, JsonValue] = _without_empty(self.model_dump(mode="json", by_alias=True, exclude_none=True))
        return stored

    def condition(self, kind: ConditionType) -> Condition | None:
        """Return one condition, or None when it was never told."""
        return next((condition for condition in self.conditions if condition.type is kind), None)


def _without_empty(value: Any) -> Any:
    """Return a JSON value without the empty lists and objects in it."""
    if isinstance(value, list):
        return [_without_empty(item) for item in value]
    if not isinstance(value, dict):
        return value
    inner = {key: _without_empty(item) for key, item in value.items()}
    return {key: item for key, item in inner.items() if item not in ({}, [])}
