"""A consumer under test in a thread of its own, and topics on the real Kafka."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import pytest
from confluent_kafka import Consumer, ConsumerGroupState, Producer, TopicPartition
from confluent_kafka.admin import NewPartitions

from consumer_runtime import ParallelConsumer, RuntimeSettings
from consumer_runtime.contract.settings import AutoOffsetReset
from testbed.kafka import Kafka


class Running:
    """A consumer that runs while the block does; what it raised is raised at its end."""

    def __init__(self, settings: RuntimeSettings, handler: Any) -> None:
        self.consumer = ParallelConsumer(settings, handler)
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            self.consumer.run()
        except BaseException as error:  # noqa: BLE001 - told at the end of the block, whatever it is
            self.error = error

    def stop(self, seconds: float = 40.0) -> None:
        """Stop it as SIGTERM would, and wait for its end."""
        self.consumer.stop()
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the consumer did not end"

    def wait_for(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        """Wait until the condition holds, while the consumer runs."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self._thread.is_alive(), f"the consumer ended: {self.error}"
            assert time.monotonic() < deadline, f"not within {seconds} s: {self.consumer.state()}"
            time.sleep(0.02)

    def finished(self) -> int:
        """Messages finished so far."""
        return self.consumer.statistics.snapshot().finished()

    def wait_for_assignment(self, partitions: int) -> None:
        """Wait until the member holds so many partitions."""
        self.wait_for(lambda: self.consumer.state().assigned_partitions == partitions)


@dataclass
class Topic:
    """A topic of its own for a test, and a group to consume it."""

    kafka: Kafka
    partitions: int
    name: str = field(default_factory=lambda: f"runtime-{uuid.uuid4().hex[:10]}")
    group: str = ""

    def __post_init__(self) -> None:
        self.group = f"{self.name}-group"
        self.kafka.create_topic(self.name, partitions=self.partitions)

    def produce(self, messages: list[tuple[int | None, bytes | None, bytes | None]], **properties: Any) -> None:
        """Write (partition, key, value) in order; None leaves the partition to the key."""
        producer = Producer(
            {"bootstrap.servers": self.kafka.bootstrap_servers, "enable.idempotence": True, **properties}
        )
        for partition, key, value in messages:
            producer.produce(self.name, key=key, value=value, partition=-1 if partition is None else partition)
            producer.poll(0)
        assert producer.flush(30) == 0

    def feed(self, keys: int) -> "Feed":
        """Return what writes while its block runs."""
        return Feed(self, keys)

    def settings(self, **sections: Any) -> RuntimeSettings:
        """Settings to consume it; sections are those of RuntimeSettings."""
        properties = sections.pop("properties", {})
        reset = AutoOffsetReset(sections.pop("auto_offset_reset", "earliest"))
        settings = RuntimeSettings.for_kafka(
            self.kafka.bootstrap_servers, topics=[self.name], consumer_group=self.group, **sections
        )
        kafka = settings.source.kafka.model_copy(update={"properties": properties, "auto_offset_reset": reset})
        source = settings.source.model_copy(update={"kafka": kafka})
        return RuntimeSettings.model_validate(settings.model_copy(update={"source": source}).model_dump())

    def group_state(self) -> ConsumerGroupState:
        """What the broker says of the group."""
        admin = self.kafka.admin()  # held until the answer is there: the client's end would cancel the request
        return admin.describe_consumer_groups([self.group])[self.group].result(10).state

    def grow(self, partitions: int) -> None:
        """Add partitions until there are so many; `committed` goes on to tell of the first ones."""
        admin = self.kafka.admin()
        admin.create_partitions([NewPartitions(self.name, partitions)])[self.name].result(10)

    def committed(self) -> dict[int, tuple[int, str]]:
        """What the broker has: offset and metadata by partition."""
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap_servers, "group.id": self.group})
        wanted = [TopicPartition(self.name, partition) for partition in range(self.partitions)]
        try:
            return {at.partition: (at.offset, at.metadata or "") for at in consumer.committed(wanted, timeout=10)}
        finally:
            consumer.close()

    def read(self, count: int, seconds: float = 20.0) -> list[Any]:
        """Read the first messages with a plain consumer."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.kafka.bootstrap_servers,
                "group.id": uuid.uuid4().hex,
                "auto.offset.reset": "earliest",
            }
        )
        consumer.subscribe([self.name])
        found: list[Any] = []
        deadline = time.monotonic() + seconds
        while len(found) < count and time.monotonic() < deadline:
            found += [each for each in consumer.consume(count, 0.2) if each.error() is None]
        consumer.close()
        return found


class Feed:
    """Writes to a topic while the block runs: 200 messages each 50 ms, over its partitions and so many keys in turn."""

    def __init__(self, topic: Topic, keys: int) -> None:
        self.count = 0
        self._topic = topic
        self._keys = keys
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the broker did not take what was written"

    def _run(self) -> None:
        producer = Producer({"bootstrap.servers": self._topic.kafka.bootstrap_servers, "enable.idempotence": True})
        while not self._ended.wait(0.05):
            for number in range(self.count, self.count + 200):
                key = b"%d" % (number % self._keys)
                producer.produce(self._topic.name, key=key, partition=number % self._topic.partitions)
            self.count += 200
            producer.poll(0)
        producer.flush(50)


@pytest.fixture
def make_topic(kafka: Kafka) -> Iterator[Callable[..., Topic]]:
    """Make topics; they are deleted afterwards."""
    made: list[Topic] = []

    def make(partitions: int = 4) -> Topic:
        made.append(Topic(kafka, partitions))
        return made[-1]

    yield make
    kafka.admin().delete_topics([topic.name for topic in made])


@pytest.fixture
def topic(make_topic: Callable[..., Topic]) -> Topic:
    """One topic of four partitions."""
    return make_topic()


@pytest.fixture
def running() -> type[Running]:
    """The class that runs a consumer."""
    return Running


@pytest.fixture
def topic_on() -> type[Topic]:
    """The class that makes a topic, for a test with a broker of its own."""
    return Topic
