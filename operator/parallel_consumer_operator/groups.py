"""Who consumes as which group: two resources on one group would share its partitions between different handlers."""

from dataclasses import dataclass

from parallel_consumer_operator.diagnosis import Problem
from parallel_consumer_operator.port import Key, Manifest
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec


@dataclass(frozen=True, slots=True)
class _Member:
    group: str
    servers: frozenset[str]
    seniority: tuple[str, str]
    """Creation time, then uid: the younger one of two yields."""

    def meets(self, other: "_Member") -> bool:
        """Return whether another one of the same group's name is in the same Kafka cluster."""
        return bool(self.servers & other.servers)


class Groups:
    """The consumer groups of all resources that this operator watches."""

    def __init__(self) -> None:
        self._members: dict[Key, _Member] = {}
        self._by_group: dict[str, set[Key]] = {}
        """By the group's name, so that a pass costs the same among a thousand resources as among ten."""

    def enter(self, key: Key, manifest: Manifest, spec: ParallelConsumerSpec) -> list[Key]:
        """Enter a resource as it is now; return those to whom that makes a difference. A suspended one has no group."""
        if spec.suspend:
            return self.leave(key)
        kafka, metadata = spec.source.kafka, manifest["metadata"]
        member = _Member(
            group=kafka.consumer_group,
            servers=frozenset(kafka.bootstrap_servers),
            seniority=(metadata["creationTimestamp"], metadata["uid"]),
        )
        if self._members.get(key) == member:
            return []
        met_before = self.leave(key)
        self._members[key] = member
        self._by_group.setdefault(member.group, set()).add(key)
        return [*met_before, *(rival for rival in self.rivals(key) if rival not in met_before)]

    def conflict(self, key: Key) -> Problem | None:
        """Return a problem when an older resource has the group."""
        elder = self.elder(key)
        if elder is None:
            return None
        return Problem(
            "GroupConflict",
            f"{elder} already consumes as the group {self._members[key].group!r}: use another"
            " spec.source.kafka.consumerGroup, or suspend or delete that one. This one has no pods until then.",
        )

    def elder(self, key: Key) -> Key | None:
        """Return the oldest resource that has the group, None when none is older."""
        member = self._members.get(key)
        elders = [rival for rival in self.rivals(key) if member and self._members[rival].seniority < member.seniority]
        return min(elders, key=lambda rival: self._members[rival].seniority, default=None)

    def rivals(self, key: Key) -> list[Key]:
        """Return the other resources on the same group and cluster."""
        member = self._members.get(key)
        if member is None:
            return []
        others = sorted(self._by_group[member.group] - {key})
        return [other for other in others if self._members[other].meets(member)]

    def leave(self, key: Key) -> list[Key]:
        """Remove a resource; return those that it stood in the way of."""
        rivals = self.rivals(key)
        member = self._members.pop(key, None)
        if member is not None:
            self._by_group[member.group].discard(key)
            if not self._by_group[member.group]:
                del self._by_group[member.group]
        return rivals
