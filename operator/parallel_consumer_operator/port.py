"""What the control loop needs from the world, as one protocol: `cluster.py` is Kubernetes, `local` is one machine.

Manifests are plain dictionaries in Kubernetes' own shape in both. Everything raises errors of `errors.py` alone.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from consumer_runtime.contract.state import RuntimeState

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Names one ParallelConsumer."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class KindRef:
    """Names one kind of object."""

    api_version: str
    kind: str


class EventType(StrEnum):
    """Kubernetes' own two."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Event:
    """What a person reads in `kubectl describe`: one CamelCase reason, one sentence."""

    type: EventType
    reason: str
    message: str


class Port(Protocol):
    """Reads and writes of one cluster, or of one machine that stands in for it.

    Every method may raise UnavailableError (worth trying again) or DeniedError (not worth it).
    """

    async def resource(self, key: Key) -> Manifest | None:
        """Return the ParallelConsumer, None when there is none."""
        ...

    async def resources(self, namespaces: tuple[str, ...]) -> list[Manifest]:
        """Return every ParallelConsumer of these namespaces, of the whole cluster when none is named."""
        ...

    async def child(self, key: Key, kind: KindRef, name: str) -> Manifest | None:
        """Return one object by its name in the resource's namespace; None when it, or its kind, does not exist."""
        ...

    async def pods(self, key: Key) -> list[Manifest]:
        """Return the consumer's pods: `metadata.name`, `.uid`, `status.podIP`, `.containerStatuses` and so on."""
        ...

    async def secret_versions(self, key: Key, secrets: frozenset[str]) -> dict[str, str | None]:
        """Return a fingerprint of each Secret's contents by name, None where there is none; never the contents."""
        ...

    async def apply(self, manifest: Manifest, *, resource_version: str | None = None) -> Manifest:
        """Server-side apply one object with all our fields; return it as stored.

        With `resource_version` the write is fenced: ConflictError when the object changed since it was read.
        Raises NotFoundError when the cluster has no such kind.
        """
        ...

    async def delete(self, key: Key, kind: KindRef, name: str) -> None:
        """Delete one object; nothing happens when it, or its kind, does not exist."""
        ...

    async def write_status(self, key: Key, status: Manifest) -> None:
        """Replace the resource's status by this one; nothing happens when the resource is gone."""
        ...

    async def post_event(self, resource: Manifest, event: Event) -> None:
        """Tell people; a repeated event is counted at the first one instead of standing there twice."""
        ...

    async def warnings(self, key: Key, uid: str) -> list[Manifest]:
        """Return the Warning events about one object, by its uid; [] where there are none."""
        ...

    async def touch_pod(self, key: Key, pod: str, value: str) -> None:
        """Set the pod's `ANNOTATION_TOUCHED`, which makes the kubelet sync its volumes; a pod that is gone is fine."""
        ...

    async def pod_state(self, pod: Manifest) -> RuntimeState:
        """Ask one pod what is in force (`GET /state`, 2 s at most); raises PodUnreachableError."""
        ...
