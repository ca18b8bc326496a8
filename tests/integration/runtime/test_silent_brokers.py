import asyncio
import time
from collections.abc import Iterator

import pytest

from consumer_runtime.contract.state import StartReason
from testbed import parts
from testbed.kafka import Kafka, Security
from testbed.layout import Instance, Part
from testbed.progress import Progress

pytestmark = pytest.mark.kafka

INSTANCE = 5
SESSION_SECONDS = 6
MESSAGES = 4_000


@pytest.fixture(scope="module")
def broker() -> Iterator[Kafka]:
    """A broker of its own, to be frozen, with short sessions of KIP-848 groups."""
    prefix = "group.consumer"
    security = Security(
        properties={
            f"{prefix}.min.session.timeout.ms": "1000",
            f"{prefix}.session.timeout.ms": str(SESSION_SECONDS * 1000),
            f"{prefix}.min.heartbeat.interval.ms": "500",
            f"{prefix}.heartbeat.interval.ms": "1000",
        }
    )
    broker = Kafka(Instance(number=INSTANCE), security=security, for_pods=False)
    broker.start()
    try:
        yield broker
    finally:
        broker.resume()
        parts.remove([Part.KAFKA], broker.instance, Progress())


@pytest.mark.parametrize("mode", ["async", "single"])
def test_nothing_begins_while_the_broker_may_give_everything_to_others(broker, topic_on, running, mode):
    """KIP-848: beyond the session's time, which the broker tells, nothing fetched is begun; then all of it is."""
    topic = topic_on(broker, 2)
    topic.produce([(number % 2, None, b"%d" % number) for number in range(MESSAGES)])
    begun: list[tuple[int, int]] = []

    async def wait(message) -> None:
        begun.append((message.partition, message.offset))
        await asyncio.sleep(0.02)

    def block(message) -> None:
        begun.append((message.partition, message.offset))
        time.sleep(0.01)

    settings = topic.settings(
        properties={"group.protocol": "consumer", "statistics.interval.ms": 500},
        execution={"mode": mode, "max_in_flight": 4, "task_timeout_ms": 0, "ordering": "unordered"},
    )
    with running(settings, wait if mode == "async" else block) as member:
        member.wait_for(lambda: len(begun) > 100)
        broker.pause()
        frozen_at = time.monotonic()
        try:
            member.wait_for(lambda: member.consumer.state().problem is not None, SESSION_SECONDS + 2)
            problem = member.consumer.state().problem
            assert problem.reason is StartReason.BROKER_UNREACHABLE
            assert time.monotonic() - frozen_at < SESSION_SECONDS + 0.5
            time.sleep(0.5)
            at_most = len(begun)
            assert at_most < MESSAGES, "the machine was so slow that nothing was left to hold back"
            time.sleep(2)
            assert len(begun) == at_most
        finally:
            broker.resume()
        member.wait_for(lambda: len(set(begun)) == MESSAGES, 90)
        member.wait_for(lambda: member.consumer.state().problem is None)


def freeze(broker: Kafka) -> None:
    """Hold a broker for longer than its own session with the controller: its partitions get new leader epochs."""
    broker.pause()
    time.sleep(10)
    broker.resume()


@pytest.mark.parametrize("away", [freeze, Kafka.restart])
def test_the_backlog_is_true_again_once_the_broker_is_back(broker, topic_on, running, away):
    """The client that asks for end offsets has to learn the leaders anew; without, the backlog would stand still."""
    topic = topic_on(broker, 2)
    topic.produce([(partition, None, b"") for partition in (0, 1)])

    async def wait_when_told(message) -> None:
        await asyncio.sleep(3_600 if message.value else 0)

    def backlog() -> list[int | None]:
        return [each.backlog for each in member.consumer.statistics.snapshot().partitions.values()]

    settings = topic.settings(
        properties={"session.timeout.ms": 6_000}, execution={"task_timeout_ms": 0, "shutdown_grace_seconds": 1}
    )
    with running(settings, wait_when_told) as member:
        member.wait_for(lambda: backlog() == [0, 0])
        away(broker)
        topic.produce([(partition, None, b"wait") for partition in (0, 1) for _ in range(5)])
        member.wait_for(lambda: backlog() == [5, 5], 60)
