"""What a pass is about: one resource as read at its start, and what this process remembers of it. Values only."""

from dataclasses import dataclass, field
from typing import Any

from parallel_consumer_operator.carry_out import Applied
from parallel_consumer_operator.desired.owner import Owner
from parallel_consumer_operator.port import Key, Manifest
from parallel_consumer_operator.resource import names
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec
from parallel_consumer_operator.resource.status import ParallelConsumerStatus


@dataclass(slots=True)
class Memory:
    """What this process keeps of one resource between passes. Losing it costs a few reads, never a wrong step."""

    figures_written_at: float
    """On the loop's clock; at first the present, so that a restart of the operator is no reason to write."""
    status: ParallelConsumerStatus | None = None
    """As last computed; folded figures in it may be newer than in the cluster."""
    applied: Applied = field(default_factory=Applied)
    settings_written_at: float | None = None
    apply_seconds: float | None = None
    gave_up_on: int = 0
    """The generation that a full handshake did not bring to every pod."""
    tune_at: float = 0.0
    tuned_for: tuple[Any, ...] = ()
    """What a person said when the tuner last looked; when it changes the tuner looks at once."""
    measured: bool | None = None
    missing: str = ""
    rollout_cause: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """One resource as read at the start of a pass."""

    key: Key
    manifest: Manifest
    spec: ParallelConsumerSpec
    before: ParallelConsumerStatus
    owner: Owner
    paused: bool


def subject_of(manifest: Manifest, spec: ParallelConsumerSpec, before: ParallelConsumerStatus) -> Subject:
    """Return the subject of a pass."""
    metadata = manifest["metadata"]
    paused = (metadata.get("annotations") or {}).get(names.ANNOTATION_PAUSED, "").lower() == "true"
    owner = Owner(namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"])
    key = Key(owner.namespace, owner.name)
    return Subject(key=key, manifest=manifest, spec=spec, before=before, owner=owner, paused=paused)


def said(subject: Subject) -> tuple[Any, ...]:
    """Return what a person said last: a new word of theirs is looked at without waiting for the tuner's time."""
    metadata = subject.manifest["metadata"]
    annotations = metadata.get("annotations") or {}
    told = (names.ANNOTATION_TUNING, names.ANNOTATION_APPROVE, names.ANNOTATION_PAUSED)
    return (metadata["generation"], *(annotations.get(name) for name in told))
