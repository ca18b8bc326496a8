"""What passes between `reconcile.py` and `tune.py`: the subject of one tuning cycle, and its outcome. Values only.

`tune.py` offers a `Tuner`; `reconcile.py` calls it once per pass, after the pods were asked and before the status is
written. The outcome's `status.knobs` is the intent: reconcile writes it to the status first, then to the ConfigMap, and
carries out the handshake; `Circumstances.applied` tells the next cycle that every ready pod has it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from parallel_consumer_operator.port import Event, Key
from parallel_consumer_operator.resource.tuning import Knob, TuningSpec
from parallel_consumer_operator.resource.tuning_status import TuningStatus, Verdict
from parallel_consumer_operator.tuning.observation import Circumstances


@dataclass(frozen=True, slots=True)
class TuneSubject:
    """One resource, as the tuner sees it."""

    key: Key
    spec: TuningSpec
    circumstances: Circumstances
    profile: Mapping[Knob, tuple[int, int]]
    """The profile's (min, max) of each knob that it fills."""
    memory: TuningStatus
    """What the last cycle left, values in force included (`memory.knobs`)."""
    pods: frozenset[str] = frozenset()
    """Names of the ready pods: series of others are not counted."""


@dataclass(frozen=True, slots=True)
class Lag:
    """Backlog as measured; each None while unknown. Whole messages, seconds, messages per second."""

    messages: int | None = None
    seconds: int | None = None
    rate_per_second: int | None = None


@dataclass(frozen=True, slots=True)
class TuneOutcome:
    """What one cycle came to."""

    status: TuningStatus
    """The new memory; `knobs` in it are the values wanted in force from now on."""
    requeue_after_seconds: float
    """When to look again at the latest."""
    measured: bool
    """Whether there were figures to decide upon."""
    missing: str = ""
    """What to do about missing figures, for people."""
    lag: Lag = field(default_factory=Lag)
    events: tuple[Event, ...] = ()
    verdict: Verdict | None = None
    """How the step before turned out, if this cycle judged it."""


class Tuner(Protocol):
    """One cycle: observe, decide, remember. Never raises for what Prometheus does: `measured` is false then."""

    async def __call__(self, subject: TuneSubject, *, now: datetime) -> TuneOutcome:
        """Return the outcome of one cycle."""
        ...
