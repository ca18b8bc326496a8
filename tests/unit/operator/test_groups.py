"""Two resources on one consumer group: the younger one yields."""

from typing import Any

from parallel_consumer_operator.groups import Groups
from parallel_consumer_operator.port import Key
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec

OLD, YOUNG = Key("shop", "old"), Key("shop", "young")


def manifest(created: str, uid: str) -> dict[str, Any]:
    """Return what counts of a resource's metadata."""
    return {"metadata": {"creationTimestamp": created, "uid": uid}}


def spec(group: str = "orders", servers: tuple[str, ...] = ("kafka:9092",), **more: Any) -> ParallelConsumerSpec:
    """Return a spec on a group."""
    kafka = {"bootstrapServers": list(servers), "topics": ["t"], "consumerGroup": group}
    return ParallelConsumerSpec.model_validate({"source": {"kafka": kafka}, "handler": {"entrypoint": "a:b"}, **more})


def test_the_younger_is_told_and_the_elder_is_not() -> None:
    """In whichever order the operator meets them; the sentence names the other one."""
    groups = Groups()
    assert groups.join(YOUNG, manifest("2026-01-02T00:00:00Z", "b"), spec()) is None
    assert groups.join(OLD, manifest("2026-01-01T00:00:00Z", "a"), spec()) is None
    problem = groups.join(YOUNG, manifest("2026-01-02T00:00:00Z", "b"), spec())
    assert problem is not None
    assert (problem.reason, "shop/old" in problem.message) == ("GroupConflict", True)


def test_another_group_or_another_cluster_is_no_conflict() -> None:
    """A group's name counts within one Kafka cluster."""
    groups = Groups()
    groups.join(OLD, manifest("1", "a"), spec())
    assert groups.join(YOUNG, manifest("2", "b"), spec(group="other")) is None
    assert groups.join(YOUNG, manifest("2", "b"), spec(servers=("elsewhere:9092",))) is None
    assert groups.join(YOUNG, manifest("2", "b"), spec(servers=("second:9092", "kafka:9092"))) is not None


def test_one_that_leaves_or_is_suspended_makes_room() -> None:
    """Those that it stood in the way of are named, so that they can be woken."""
    groups = Groups()
    groups.join(OLD, manifest("1", "a"), spec())
    groups.join(YOUNG, manifest("2", "b"), spec())
    assert groups.leave(OLD) == [YOUNG]
    assert groups.join(YOUNG, manifest("2", "b"), spec()) is None
    groups.join(OLD, manifest("1", "a"), spec(suspend=True))
    assert groups.join(YOUNG, manifest("2", "b"), spec()) is None
