"""The objects as the API server last told of them: of two versions the newer one is kept, whoever told it first.

Values only: what is told comes from `watch.py` and from the answers to our own writes (`cluster.py`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from parallel_consumer_operator.port import Key, KindRef, Manifest
from parallel_consumer_operator.resource import names

Place = tuple[KindRef, str, str]
"""Kind, namespace and name of an object."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One kind in one namespace, or with an empty namespace in the whole cluster."""

    kind: KindRef
    namespace: str

    def holds(self, place: Place) -> bool:
        """Return whether an object belongs here."""
        kind, namespace, _ = place
        return kind == self.kind and self.namespace in {"", namespace}


@dataclass(slots=True)
class Mirror:
    """Objects by place. Those handed out are shared: nobody changes them."""

    _objects: dict[Place, Manifest] = field(default_factory=dict)
    _pods: dict[Key, set[Place]] = field(default_factory=dict)
    """Places of the pods of each resource."""
    _complete: set[Scope] = field(default_factory=set)
    _missing: set[Scope] = field(default_factory=set)

    def covers(self, kind: KindRef, namespace: str) -> bool:
        """Return whether every object of ours of a kind is here, so that one that is not here does not exist."""
        return Scope(kind, "") in self._complete or Scope(kind, namespace) in self._complete

    def lacks_kind(self, kind: KindRef, namespace: str) -> bool:
        """Return whether the cluster does not know the kind at all."""
        return Scope(kind, "") in self._missing or Scope(kind, namespace) in self._missing

    def get(self, kind: KindRef, namespace: str, name: str) -> Manifest | None:
        """Return an object, None when it is not here."""
        return self._objects.get((kind, namespace, name))

    def pods(self, key: Key) -> list[Manifest]:
        """Return a resource's pods by name."""
        return [self._objects[place] for place in sorted(self._pods.get(key, ()), key=lambda place: place[2])]

    def keep(self, kind: KindRef, manifest: Manifest) -> bool:
        """Take note of an object; return whether that is news."""
        metadata = manifest["metadata"]
        metadata.pop("managedFields", None)
        place = (kind, metadata["namespace"], metadata["name"])
        known = self._objects.get(place)
        if known is not None and _version(known) >= _version(manifest):
            return False
        self._objects[place] = manifest
        self._index(place, manifest)
        return True

    def drop(self, kind: KindRef, manifest: Manifest) -> bool:
        """Take note that an object is gone; return whether that is news."""
        metadata = manifest["metadata"]
        place = (kind, metadata["namespace"], metadata["name"])
        known = self._objects.get(place)
        if known is None or _version(known) > _version(manifest):
            return False
        self.forget(place)
        return True

    def forget(self, place: Place) -> None:
        """Drop what is kept at a place, which is then asked of the API server again."""
        known = self._objects.pop(place, None)
        if known is not None and place[0].kind == "Pod":
            self._pods.get(_owner(known), set()).discard(place)

    def fill(self, scope: Scope, manifests: Iterable[Manifest], *, version: int) -> list[Manifest]:
        """Take a list of all objects in scope as of a version; return those of them that are news, and those gone."""
        listed = list(manifests)
        present = {(scope.kind, each["metadata"]["namespace"], each["metadata"]["name"]) for each in listed}
        gone = [
            (place, known)
            for place, known in self._objects.items()
            if scope.holds(place) and place not in present and _version(known) <= version
        ]
        for place, _ in gone:
            self.forget(place)
        news = [each for each in listed if self.keep(scope.kind, each)]
        self._missing.discard(scope)
        self._complete.add(scope)
        return [*news, *(known for _, known in gone)]

    def lose(self, scope: Scope, *, kind_is_missing: bool = False) -> None:
        """Say no more that everything in scope is here: it cannot be read, or the cluster has no such kind."""
        self._complete.discard(scope)
        if kind_is_missing:
            self._missing.add(scope)
        else:
            self._missing.discard(scope)

    def _index(self, place: Place, manifest: Manifest) -> None:
        if place[0].kind == "Pod":
            self._pods.setdefault(_owner(manifest), set()).add(place)


def _version(manifest: Manifest) -> int:
    """Resource versions are to be compared as numbers since Kubernetes 1.35, and always were numbers in etcd."""
    return int(manifest["metadata"]["resourceVersion"])


def _owner(manifest: Manifest) -> Key:
    metadata = manifest["metadata"]
    return Key(metadata["namespace"], (metadata.get("labels") or {}).get(names.LABEL_NAME, ""))
