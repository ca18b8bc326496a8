import pytest
from structlog.testing import capture_logs

from consumer_runtime import ParallelConsumer, StartFailure

pytestmark = pytest.mark.kafka


async def work(message) -> None:
    """Do nothing."""


def test_a_group_without_an_offset_is_told_when_that_is_an_error(topic):
    """`auto_offset_reset: error`: neither the beginning nor the end is taken for granted."""
    topic.produce([(0, None, b"1")])
    with pytest.raises(StartFailure) as failure:
        ParallelConsumer(topic.settings(auto_offset_reset="error"), work).run()
    error = failure.value.error
    assert (error.field, error.value) == ("spec.source.kafka.autoOffsetReset", topic.name)
    assert "no valid offset" in error.remedy


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_topic_that_is_made_again_is_consumed_from_its_start(make_topic, running, protocol):
    """Its offsets begin anew below what is committed: nothing new may pass for finished, and the log says what was."""
    topic = make_topic(1)
    seen: list[bytes] = []

    async def remember(message) -> None:
        seen.append(message.value)

    topic.produce([(0, None, b"old %d" % number) for number in range(100)])
    settings = topic.settings(properties={"group.protocol": protocol, "topic.metadata.refresh.interval.ms": 1_000})
    with capture_logs() as logs, running(settings, remember) as member:
        member.wait_for(lambda: member.finished() == 100 and topic.committed()[0][0] == 100)
        admin = topic.kafka.admin()
        admin.delete_topics([topic.name])[topic.name].result(20)
        member.wait_for(lambda: topic.name not in admin.list_topics(timeout=5).topics)
        topic.kafka.create_topic(topic.name, partitions=1)
        topic.produce([(0, None, b"new %d" % number) for number in range(30)])
        member.wait_for(lambda: len(seen) >= 130, 60)
        member.wait_for(lambda: topic.committed()[0][0] == 30)
        rebalances = member.consumer.statistics.snapshot().rebalances
    assert seen[100:] == [b"new %d" % number for number in range(30)]
    was_assigned_anew = rebalances > 1  # when the client saw that the topic was gone, and the group's offsets with it
    assert was_assigned_anew or [each for each in logs if "recreated" in each["event"]]
