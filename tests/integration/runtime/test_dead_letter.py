import time

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from consumer_runtime import Reject
from consumer_runtime.contract.metrics import DeadLetterOutcome, Status

pytestmark = pytest.mark.kafka


def limit_message_bytes(topic, size: int) -> None:
    """Set what the broker takes in one message of the topic."""
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic.name, incremental_configs=[entry])
    admin = topic.kafka.admin()
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(10)


def test_a_refused_dead_letter_is_held_and_nothing_is_lost(make_topic, running):
    """While the broker refuses it the offset stays, its key waits, others go on; once taken, it is delivered once."""
    source, dead = make_topic(1), make_topic(1)
    limit_message_bytes(dead, 150)
    source.produce([(0, b"a", b"poison"), (0, b"a", b"after"), (0, b"b", b"other")])
    done = []

    async def work(message) -> None:
        if message.value == b"poison":
            raise Reject("bad order")
        done.append(message.value)

    settings = source.settings(dead_letter={"enabled": True, "topic": dead.name})
    with running(settings, work) as member:
        statistics = member.consumer.statistics
        member.wait_for(lambda: statistics.snapshot().dead_letters[DeadLetterOutcome.FAILED] >= 2)
        time.sleep(0.5)
        assert done == [b"other"]
        assert source.committed()[0][0] in {-1001, 0}
        assert statistics.snapshot().finished(Status.DEAD_LETTERED) == 0
        limit_message_bytes(dead, 1_000_000)
        member.wait_for(lambda: member.finished() == 3)
        assert statistics.snapshot().dead_letters[DeadLetterOutcome.DELIVERED] == 1
    assert done == [b"other", b"after"]
    assert source.committed()[0][0] == 3
    assert len(dead.read(1)) == 1


def test_a_message_too_large_as_a_dead_letter_is_told_by_its_metadata(make_topic, running):
    """A payload that the topic never takes would be held for ever: its origin is published instead, and says so."""
    source, dead = make_topic(1), make_topic(1)
    limit_message_bytes(dead, 2_000)
    source.produce([(0, b"a", b"x" * 10_000)])

    async def work(message) -> None:
        raise Reject("too much")

    with running(source.settings(dead_letter={"enabled": True, "topic": dead.name}), work) as member:
        member.wait_for(lambda: member.finished() == 1)
    (letter,) = dead.read(1)
    headers = dict(letter.headers())
    assert letter.value() is None
    assert (headers["x-payload-mode"], headers["offset"]) == (b"metadata_only", b"0")


def test_a_dead_letter_under_way_at_a_kill_is_made_again(make_topic, running):
    """What was held and never confirmed belongs to the next member: the poison ends there."""
    source, dead = make_topic(1), make_topic(1)
    limit_message_bytes(dead, 150)
    source.produce([(0, b"a", b"poison")])

    async def work(message) -> None:
        raise Reject("bad order")

    execution = {"shutdown_grace_seconds": 1}
    settings = source.settings(dead_letter={"enabled": True, "topic": dead.name}, execution=execution)
    with running(settings, work) as first:
        first.wait_for(lambda: first.consumer.statistics.snapshot().dead_letters[DeadLetterOutcome.FAILED] >= 1)
    assert source.committed()[0][0] in {-1001, 0}
    limit_message_bytes(dead, 1_000_000)
    with running(settings, work) as second:
        second.wait_for(lambda: second.finished() == 1)
    assert source.committed()[0][0] == 1
    assert len(dead.read(1)) == 1
