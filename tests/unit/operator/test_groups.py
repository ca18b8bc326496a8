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


def enter(groups: Groups, key: Key, created: str, spec: ParallelConsumerSpec) -> list[Key]:
    """Enter a resource that was created at a time."""
    return groups.enter(key, manifest(created, created), spec)


def test_the_younger_is_told_and_the_elder_is_not() -> None:
    """In whichever order the operator meets them; the sentence names the other one, and the younger is woken for it."""
    groups = Groups()
    enter(groups, YOUNG, "2", spec())
    assert groups.conflict(YOUNG) is None
    assert enter(groups, OLD, "1", spec()) == [YOUNG]
    assert groups.conflict(OLD) is None
    problem = groups.conflict(YOUNG)
    assert problem is not None
    assert (problem.reason, "shop/old" in problem.message) == ("GroupConflict", True)


def test_nobody_is_woken_for_nothing() -> None:
    """A pass over a resource whose group is as before makes no difference to the others."""
    groups = Groups()
    enter(groups, OLD, "1", spec())
    enter(groups, YOUNG, "2", spec())
    assert enter(groups, OLD, "1", spec(replicas=5)) == []
    assert enter(groups, YOUNG, "2", spec()) == []


def test_another_group_or_another_cluster_is_no_conflict() -> None:
    """A group's name counts within one Kafka cluster."""
    groups = Groups()
    enter(groups, OLD, "1", spec())
    for other in (spec(group="other"), spec(servers=("elsewhere:9092",))):
        enter(groups, YOUNG, "2", other)
        assert groups.conflict(YOUNG) is None
    enter(groups, YOUNG, "2", spec(servers=("second:9092", "kafka:9092")))
    assert groups.conflict(YOUNG) is not None


def test_one_that_leaves_or_is_suspended_makes_room_and_may_come_back() -> None:
    """Those that it stood in the way of, or stands in the way of again, are named, so that they can be woken."""
    groups = Groups()
    enter(groups, OLD, "1", spec())
    enter(groups, YOUNG, "2", spec())
    assert enter(groups, OLD, "1", spec(suspend=True)) == [YOUNG]
    assert groups.conflict(YOUNG) is None
    assert enter(groups, OLD, "1", spec()) == [YOUNG]
    assert groups.conflict(YOUNG) is not None
    assert groups.leave(OLD) == [YOUNG]
    assert groups.conflict(YOUNG) is None


def test_one_that_moves_to_another_cluster_wakes_those_of_both() -> None:
    """Where it was there is room, where it comes to there is none."""
    groups = Groups()
    enter(groups, YOUNG, "2", spec())
    there = Key("shop", "there")
    enter(groups, there, "3", spec(servers=("b:1",)))
    assert enter(groups, OLD, "1", spec()) == [YOUNG]
    assert enter(groups, OLD, "1", spec(servers=("b:1",))) == [YOUNG, there]
