import pytest

from consumer_runtime import ParallelConsumer, RuntimeSettings, StartFailure
from consumer_runtime.contract.state import StartReason

pytestmark = pytest.mark.kafka


async def work(message) -> None:
    """Do nothing."""


def test_a_missing_topic_is_named(topic):
    """The failure names field and topic, and comes at once instead of waiting for messages for ever."""
    settings = RuntimeSettings.for_kafka(
        topic.kafka.bootstrap_servers, topics=[topic.name, f"{topic.name}-missing"], consumer_group=topic.group
    )
    with pytest.raises(StartFailure) as failure:
        ParallelConsumer(settings, work).run()
    error = failure.value.error
    assert (error.reason, error.field) == (StartReason.TOPIC_NOT_FOUND, "spec.source.kafka.topics")
    assert error.value == f"{topic.name}-missing"


def test_a_missing_dead_letter_topic_is_named_before_anything_is_consumed(topic):
    """A dead letter that cannot be written would hold its partition: that shows at the start."""
    settings = topic.settings(dead_letter={"enabled": True, "topic": f"{topic.name}-dead"})
    with pytest.raises(StartFailure) as failure:
        ParallelConsumer(settings, work).run()
    error = failure.value.error
    assert (error.reason, error.field) == (StartReason.DEAD_LETTER_TOPIC_NOT_FOUND, "spec.deadLetter.topic")
    assert error.value == f"{topic.name}-dead"
    assert {offset for offset, _ in topic.committed().values()} == {-1001}


def test_an_unreachable_broker_is_a_problem_in_state_and_no_crash(running):
    """The consumer keeps trying, says what it waits for, and can be stopped meanwhile."""
    settings = RuntimeSettings.for_kafka("127.0.0.1:1", topics=["orders"], consumer_group="unreachable")
    with running(settings, work) as member:
        member.wait_for(lambda: member.consumer.state().problem is not None)
        problem = member.consumer.state().problem
        assert problem.reason is StartReason.BROKER_UNREACHABLE
        assert problem.value == "127.0.0.1:1"
        assert "bootstrapServers" in problem.field


@pytest.mark.parametrize(
    ("properties", "named"),
    [({"no.such.property": "1"}, "no.such.property"), ({"fetch.max.bytes": "many"}, "fetch.max.bytes")],
)
def test_a_property_that_the_client_refuses_is_named(topic, properties: dict, named: str):
    """The client's own complaint, with the field to change."""
    with pytest.raises(StartFailure) as failure:
        ParallelConsumer(topic.settings(properties=properties), work).run()
    assert failure.value.error.reason is StartReason.INVALID_SETTINGS
    assert failure.value.error.field == f"spec.source.kafka.properties.{named}"


def test_a_retry_policy_for_a_class_that_does_not_exist_is_named(topic):
    """A policy that could never match would be a silent mistake."""
    policy = {"errors": ["shop.errors:Missing"], "max_retries": 1, "backoff_ms": 1, "max_backoff_ms": 1}
    with pytest.raises(StartFailure, match=r"shop\.errors:Missing") as failure:
        ParallelConsumer(topic.settings(retry={"policies": [policy]}), work)
    assert failure.value.error.field == "spec.retry.policies.errors"


def test_a_blocking_handler_is_refused_by_mode_async(topic):
    """It would stop the loop for all others; the message says which mode to use."""
    with pytest.raises(StartFailure, match="use mode thread"):
        ParallelConsumer(topic.settings(), lambda _: None)


def test_a_handler_that_does_not_open_ends_the_start(topic):
    """What the user's `open` raised is in the failure."""

    class Broken:
        def open(self) -> None:
            raise ConnectionError("no database")

        async def handle(self, message) -> None:
            """Never reached."""

    with pytest.raises(StartFailure, match="no database"):
        ParallelConsumer(topic.settings(), Broken).run()
