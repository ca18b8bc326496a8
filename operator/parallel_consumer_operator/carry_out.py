"""Brings the children of one resource to what is wanted: settings first, then the rest, nothing when nothing differs.

Decides nothing: what is wanted comes from `desired`, what it means for the status is `reconcile.py`'s.
"""

import asyncio
from dataclasses import dataclass, field

from parallel_consumer_operator.desired import objects as desired
from parallel_consumer_operator.desired import settings_file
from parallel_consumer_operator.desired.autoscaler import SCALED_OBJECT
from parallel_consumer_operator.desired.effective import Effective
from parallel_consumer_operator.desired.owner import ANNOTATION_DESIRED_HASH, Owner
from parallel_consumer_operator.desired.pod_monitor import POD_MONITOR
from parallel_consumer_operator.desired.prometheus_rule import PROMETHEUS_RULE
from parallel_consumer_operator.desired.restart import Build, restart_cause
from parallel_consumer_operator.diagnosis import Problem
from parallel_consumer_operator.errors import NotFoundError
from parallel_consumer_operator.port import Key, KindRef, Manifest, Port
from parallel_consumer_operator.resource import names
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec

_OPTIONAL_KINDS = frozenset({POD_MONITOR, PROMETHEUS_RULE, SCALED_OBJECT})
"""Kinds that a cluster may lack; then the object is left out."""
_NO_KEDA = Problem(
    "KedaMissing",
    "spec.scaling.type is KEDA and the cluster has no ScaledObject (keda.sh/v1alpha1): install KEDA, or set it to HPA"
    " or None.",
)


@dataclass(slots=True)
class Written:
    """What one pass wrote, and what it could not."""

    generation: int = 0
    """Of the settings that are now in the ConfigMap."""
    settings_written: bool = False
    created: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    """Objects that someone had changed."""
    left_out: list[str] = field(default_factory=list)
    """Objects of kinds that the cluster lacks."""
    updated: list[str] = field(default_factory=list)
    rollout_cause: tuple[str, ...] = ()
    problems: list[Problem] = field(default_factory=list)
    workload: Manifest | None = None
    """The Deployment or StatefulSet as stored now."""


@dataclass(slots=True)
class Applied:
    """What this process applied: an object whose stored form never equals ours is not applied again and again."""

    versions: dict[tuple[KindRef, str], tuple[str, str]] = field(default_factory=dict)
    absent: set[tuple[KindRef, str]] = field(default_factory=set)
    """Objects seen not to be there, as they should not: nobody but us makes one that is ours."""

    def settled(self, live: Manifest, wanted: Manifest) -> bool:
        """Return whether exactly this was applied, and nobody changed the object since."""
        return self.versions.get(_place(live)) == (_hash_of(wanted), _version(live))

    def remember(self, stored: Manifest, wanted: Manifest) -> None:
        """Note what was applied, and what the API server made of it."""
        self.absent.discard(_place(stored))
        self.versions[_place(stored)] = (_hash_of(wanted), _version(stored))


async def carry_out(
    port: Port,
    key: Key,
    owner: Owner,
    spec: ParallelConsumerSpec,
    effective: Effective,
    build: Build,
    *,
    known_generation: int,
    applied: Applied,
) -> Written:
    """Write what differs; raises ConflictError when the settings changed since they were read, else ClusterError.

    Raises InvalidResourceError, before anything is written, for what cannot be carried out.
    """
    written = Written()
    wanted = desired.objects(owner, spec, effective, build)
    await _settings(port, key, owner, effective, written, known_generation=known_generation)
    live = await asyncio.gather(
        *(port.child(key, desired.kind_of(each), each["metadata"]["name"]) for each in wanted.wanted)
    )
    *others, workload = zip(wanted.wanted, live, strict=True)
    for manifest, found in others:
        await _object(port, owner, manifest, found, written, applied)
    for kind, name in wanted.unwanted:
        if desired.may_exist(kind, workload[1]):
            await _remove(port, key, owner, kind, name, applied)
    # Last: it names what stands beside it, and the other kind of workload is gone before this one comes.
    await _object(port, owner, *workload, written, applied)
    return written


async def _settings(
    port: Port, key: Key, owner: Owner, effective: Effective, written: Written, *, known_generation: int
) -> None:
    live = await port.child(key, desired.CONFIG_MAP, names.settings_name(owner.name))
    if live is not None and not desired.is_owned(live, owner):
        written.problems.append(_taken(live))
        return
    written.generation = settings_file.next_generation(effective, live=live, known=known_generation)
    manifest = settings_file.settings_map(owner, effective, generation=written.generation)
    if not desired.needs_apply(live, manifest):
        return
    version = live["metadata"]["resourceVersion"] if live is not None else None
    await port.apply(manifest, resource_version=version)
    written.settings_written = live is None or settings_file.generation_of(live) != written.generation
    (written.created if live is None else written.updated).append(_title(manifest))


async def _object(
    port: Port, owner: Owner, manifest: Manifest, live: Manifest | None, written: Written, applied: Applied
) -> None:
    if live is not None and not desired.is_owned(live, owner):
        written.problems.append(_taken(live))
        return
    is_workload = desired.kind_of(manifest) in desired.WORKLOADS
    if is_workload:
        written.workload = live
    if not desired.needs_apply(live, manifest) or (live is not None and applied.settled(live, manifest)):
        return
    try:
        stored = await port.apply(manifest)
    except NotFoundError:
        if desired.kind_of(manifest) not in _OPTIONAL_KINDS:
            raise
        written.left_out.append(_title(manifest))
        if desired.kind_of(manifest) == SCALED_OBJECT:
            written.problems.append(_NO_KEDA)
        return
    applied.remember(stored, manifest)
    if is_workload:
        written.rollout_cause = restart_cause(live, manifest)
        written.workload = stored
    _note(written, manifest, live)


def _note(written: Written, manifest: Manifest, live: Manifest | None) -> None:
    if live is None:
        written.created.append(_title(manifest))
    elif _hash_of(live) == _hash_of(manifest):
        written.repaired.append(_title(manifest))
    else:
        written.updated.append(_title(manifest))


async def _remove(port: Port, key: Key, owner: Owner, kind: KindRef, name: str, applied: Applied) -> None:
    if (kind, name) in applied.absent:
        return
    live = await port.child(key, kind, name)
    if live is not None and desired.is_owned(live, owner):
        await port.delete(key, kind, name)
    applied.absent.add((kind, name))


def _taken(live: Manifest) -> Problem:
    return Problem(
        "NameTaken",
        f"A {live['kind']} called {live['metadata']['name']} exists and belongs to something else: rename it, or this"
        " ParallelConsumer.",
    )


def _title(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def _place(manifest: Manifest) -> tuple[KindRef, str]:
    return desired.kind_of(manifest), manifest["metadata"]["name"]


def _hash_of(manifest: Manifest) -> str:
    return str((manifest["metadata"].get("annotations") or {}).get(ANNOTATION_DESIRED_HASH, ""))


def _version(manifest: Manifest) -> str:
    """Return what changes when someone writes the object: its generation, or its version where a kind has none."""
    metadata = manifest["metadata"]
    return str(metadata.get("generation") or metadata["resourceVersion"])
