"""What a pod says of itself: at `GET /state` (the operator's handshake) and in its termination message."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from consumer_runtime.contract.choices import Mode
from consumer_runtime.contract.choices import StartReason as StartReason  # noqa: PLC0414 - re-exported


class Phase(StrEnum):
    """Where the runtime is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"


class StartError(BaseModel):
    """One JSON object in the container's termination message, or `problem` at /state while the runtime keeps trying."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    reason: StartReason
    field: Annotated[str, Field(max_length=256)]
    """The settings' field in the CRD's spelling, such as `spec.handler.entrypoint`."""
    value: Annotated[str, Field(max_length=1024)]
    remedy: Annotated[str, Field(max_length=2048)]


class RejectedSettings(BaseModel):
    """Why the settings file on disk is not in force."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    field: str
    value: str
    remedy: str


class RuntimeState(BaseModel):
    """The answer of `GET /state`. Fields are only ever added: the operator talks to runtimes one version behind."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    phase: Phase
    config_generation: int
    """Generation in force."""
    rejected: RejectedSettings | None = None
    """Set while a newer file on disk is refused."""
    problem: StartError | None = None
    """Set while the runtime runs but cannot do its work, for example while no broker can be reached."""
    mode: Mode
    knobs: dict[str, int]
    """Runtime names and the values in force."""
    assigned_partitions: int
    in_flight: int
    mode_reason: str = ""
    """For mode auto: what was measured or declared, and the choice."""
