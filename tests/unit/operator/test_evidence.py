"""Which objects' events are read: those that are stuck and old enough, a few of them; a healthy consumer's never."""

from datetime import UTC, datetime
from typing import Any

import pytest

from parallel_consumer_operator.evidence import OBJECTS_AT_MOST, from_events
from parallel_consumer_operator.port import Key, Manifest

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
OLD, YOUNG = "2026-01-01T11:59:00Z", "2026-01-01T11:59:55Z"


class Events:
    """Warnings by the uid of what they are about; remembers who was asked about."""

    def __init__(self, **by_uid: list[Manifest]) -> None:
        self.by_uid, self.asked = by_uid, list[str]()

    async def warnings(self, _key: Key, uid: str) -> list[Manifest]:
        """Answer as the API server does."""
        self.asked.append(uid)
        return self.by_uid.get(uid, [])


def pod(uid: str, created: str = OLD, state: str = "ContainerCreating") -> Manifest:
    """Return a pod that has a node and waits."""
    waiting = {"name": "consumer", "state": {"waiting": {"reason": state}}}
    scheduled = {"type": "PodScheduled", "status": "True"}
    return {
        "metadata": {"name": uid, "uid": uid, "creationTimestamp": created},
        "status": {"phase": "Pending", "conditions": [scheduled], "containerStatuses": [waiting]},
    }


def mount_failed(what: str) -> list[Manifest]:
    """Return the kubelet's warning."""
    return [{"reason": "FailedMount", "message": f'configmap "{what}" not found', "lastTimestamp": OLD}]


async def found(events: Any, pods: list[Manifest], workload: Manifest | None = None) -> list[str]:
    """Return the reasons of what is found."""
    problems = await from_events(events, Key("shop", "orders"), workload, pods, now=NOW)
    return [problem.reason for problem in problems]


async def test_a_stuck_pods_event_is_told_once_for_all_of_them() -> None:
    """Many pods, one cause, a bounded number of questions."""
    events = Events(**{f"p{number}": mount_failed("code") for number in range(9)})
    assert await found(events, [pod(f"p{number}") for number in range(9)]) == ["VolumeNotMounted"]
    assert len(events.asked) == OBJECTS_AT_MOST


@pytest.mark.parametrize("other", [pod("a", created=YOUNG), pod("a", state="ImagePullBackOff")])
async def test_nobody_is_asked_about_a_pod_that_is_new_or_says_why_it_waits(other: Manifest) -> None:
    """A rollout that goes well costs no request."""
    events = Events(a=mount_failed("code"))
    assert await found(events, [other]) == []
    assert events.asked == []


async def test_a_stateful_set_without_pods_is_asked_about() -> None:
    """Only its events say that pods are refused."""
    refused = [{"reason": "FailedCreate", "message": "exceeded quota", "lastTimestamp": OLD}]
    metadata = {"name": "orders", "uid": "set", "creationTimestamp": OLD}
    workload = {"kind": "StatefulSet", "metadata": metadata, "spec": {"replicas": 1}}
    assert await found(Events(set=refused), [], workload) == ["PodsRefused"]
