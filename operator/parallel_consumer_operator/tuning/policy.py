"""What the tuner is allowed and asked to do: `spec.tuning` with every bound filled in, and the operator's brake.

Not what is measured (`observation.py`), and not what was decided before (`resource/tuning_status.py`).
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from consumer_runtime.contract import knobs as contract
from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator.resource.tuning import Knob, TuningMode, TuningSpec

DEFAULT_REACH = 16
"""Without bounds in spec or profile a knob stays within this factor of its start, in both directions."""


class Bounds(BaseModel):
    """The fence of one knob, both ends included."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    min: Annotated[int, Field(ge=1)]
    max: Annotated[int, Field(ge=1)]


class Policy(BaseModel):
    """One resource's tuning policy, complete."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    spec: TuningSpec = TuningSpec()
    bounds: dict[Knob, Bounds]
    """Every tunable knob's fence."""
    brake: bool = False
    """The operator-wide emergency brake: nothing is changed anywhere."""

    @property
    def window(self) -> timedelta:
        """The short window."""
        return timedelta(seconds=self.spec.behavior.window_seconds)

    @property
    def long_window(self) -> timedelta:
        """The long window."""
        return timedelta(seconds=self.spec.behavior.long_window_seconds)

    @property
    def tolerance(self) -> float:
        """The smallest change worth making, as a share."""
        return self.spec.behavior.tolerance_percent / 100

    def mode_of(self, knob: Knob) -> TuningMode:
        """Return how far the tuner goes with one knob."""
        if self.spec.mode is TuningMode.OFF:
            return TuningMode.OFF
        return self.spec.knobs.of(knob).mode or self.spec.mode

    def clamp(self, knob: Knob, wanted: float) -> int:
        """Return the nearest allowed value: the one place in which a value meets its fence."""
        fence = self.bounds[knob]
        return max(fence.min, min(fence.max, round(wanted)))


def resolve(
    spec: TuningSpec,
    *,
    starts: Mapping[Knob, int],
    profile: Mapping[Knob, tuple[int, int]] | None = None,
    brake: bool = False,
) -> Policy:
    """Return the policy of a spec: a bound is the spec's, else the profile's, else a factor of 16 around the start."""
    fences = {knob: _fence(spec, knob, start, (profile or {}).get(knob)) for knob, start in starts.items()}
    return Policy(spec=spec, bounds=fences, brake=brake)


def _fence(spec: TuningSpec, knob: Knob, start: int, profile: tuple[int, int] | None) -> Bounds:
    lowest, highest = contract.bounds(knob.runtime_name)
    low, high = profile or (max(lowest, start // DEFAULT_REACH), min(highest, start * DEFAULT_REACH))
    section = spec.knobs.of(knob)
    low = section.min if section.min is not None else low
    high = section.max if section.max is not None else high
    return Bounds(min=min(low, high), max=max(low, high))


def tunable(mode: Mode) -> tuple[Knob, ...]:
    """Return the knobs that mean something in a mode: in single only the poll batch, a pool only where there is one."""
    if mode is Mode.SINGLE:
        return (Knob.POLL_BATCH_SIZE,)
    if mode in {Mode.THREAD, Mode.PROCESS}:
        return tuple(Knob)
    return (Knob.MAX_IN_FLIGHT, Knob.POLL_BATCH_SIZE)
