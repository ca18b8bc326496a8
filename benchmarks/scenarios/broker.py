"""The Kafka that is measured on, and topics with known contents.

The testbed's, started when it is down; or one of the user's; or, only on request, the embedded one, which keeps no more
than a few megabytes a partition. A topic's name holds what is in it, so that a later run finds it.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks.scenarios.errors import BrokerError
from consumer_runtime.embedded import PARTITIONS as MOCK_PARTITIONS
from consumer_runtime.embedded import EmbeddedKafka, EmbeddedKafkaError, Record
from testbed.errors import TestbedError
from testbed.kafka import Kafka

SERVERS_VARIABLE = "BOOTSTRAP_SERVERS"
PARTITIONS = 8
_ANSWER_SECONDS = 30.0
_FLUSH_SECONDS = 120.0
_QUEUED_AT_MOST = 50_000


@dataclass(frozen=True)
class Broker:
    """Where topics are made and filled."""

    servers: str
    embedded: EmbeddedKafka | None = None

    @property
    def name(self) -> str:
        """What a report says of it."""
        return "embedded (librdkafka's mock)" if self.embedded else "Kafka"

    def create(self, topic: str, *, partitions: int = PARTITIONS) -> None:
        """Make a topic and wait until clients can see it; one that exists is fine. Raises BrokerError."""
        if self.embedded:
            self.embedded.create(topic)
            return
        admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})
        made = admin.create_topics([NewTopic(topic, partitions, 1, config={"retention.ms": "-1"})])
        try:
            made[topic].result(timeout=_ANSWER_SECONDS)
        except TimeoutError as error:
            raise BrokerError(f"no Kafka at {self.servers} answers within {_ANSWER_SECONDS:g} s") from error
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                raise BrokerError(f"topic {topic} could not be made: {error}") from error
        self._await_leaders(admin, topic)

    def _await_leaders(self, admin: AdminClient, topic: str) -> None:
        """A busy broker tells clients of a new topic some time after it has confirmed it."""
        deadline = time.monotonic() + _ANSWER_SECONDS
        while True:
            found = admin.list_topics(timeout=_ANSWER_SECONDS).topics.get(topic)
            if found and found.partitions and all(each.leader >= 0 for each in found.partitions.values()):
                return
            if time.monotonic() > deadline:
                raise BrokerError(f"topic {topic} was made, but has no leaders after {_ANSWER_SECONDS:g} s")
            time.sleep(0.05)

    def drop(self, topic: str) -> None:
        """Delete a topic whose contents nobody asks for again; one that cannot be deleted stays."""
        if not self.embedded:
            admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})
            for deleted in admin.delete_topics([topic]).values():
                with contextlib.suppress(TimeoutError):
                    deleted.exception(timeout=_ANSWER_SECONDS)

    def fill(
        self, topic: str, records: Iterable[Record], *, told: Callable[[int], None] = lambda _: None
    ) -> int:  # fmt: skip
        """Produce records and return how many; `told` hears of progress. Raises BrokerError."""
        failures: list[str] = []

        def delivered(error: object, _: object) -> None:
            if error is not None:
                failures.append(str(error))

        producer = Producer({"bootstrap.servers": self.servers, "linger.ms": 5, "log_level": 0})
        sent = 0
        for sent, record in enumerate(records, start=1):
            while len(producer) > _QUEUED_AT_MOST:
                producer.poll(0.05)
            partition = -1 if record.partition is None else record.partition
            producer.produce(
                topic, record.value, record.key, partition, delivered, headers=list(record.headers)
            )  # fmt: skip
            if sent % 1_000 == 0:
                producer.poll(0)
                told(sent)
        left = producer.flush(_FLUSH_SECONDS)
        if left or failures:
            raise BrokerError(
                f"{left + len(failures)} of {sent} messages were not taken: {(failures or ['no answer'])[0]}"
            )
        return sent

    def filled(self, prefix: str, messages: int, *, value_bytes: int = 100, partitions: int = PARTITIONS) -> str:
        """Return a topic with so many messages, spread evenly and without keys; made now unless it is there."""
        topic = f"{prefix}-{messages}x{value_bytes}-{partitions}"
        found = sum(self.ends(topic))
        if found == messages:
            return topic
        if found:
            raise BrokerError(f"topic {topic} has {found} of {messages} messages; delete it")
        self.create(topic, partitions=partitions)
        spread = MOCK_PARTITIONS if self.embedded else partitions
        self.fill(topic, (Record(b"x" * value_bytes, partition=number % spread) for number in range(messages)))
        return topic

    def ends(self, topic: str) -> Sequence[int]:
        """Return each partition's end offset; nothing when there is no such topic. Raises BrokerError."""
        client = Consumer({"bootstrap.servers": self.servers, "group.id": "look", "log_level": 0})
        deadline = time.monotonic() + _ANSWER_SECONDS
        try:
            while True:
                try:
                    return _ends(client, topic)
                except KafkaException as error:  # a topic that is a moment old has no leaders yet
                    if time.monotonic() > deadline:
                        raise BrokerError(f"{topic} at {self.servers} does not answer: {error}") from error
                    time.sleep(0.1)
        finally:
            client.close()


def _ends(client: Consumer, topic: str) -> Sequence[int]:
    found = client.list_topics(timeout=_ANSWER_SECONDS).topics.get(topic)
    parts = [TopicPartition(topic, number) for number in sorted(found.partitions)] if found else []
    return tuple(client.get_watermark_offsets(part, timeout=_ANSWER_SECONDS)[1] for part in parts)


def connect(servers: str | None = None, *, embedded: bool = False) -> Broker:
    """Return the broker: embedded, or at `servers`, or at $BOOTSTRAP_SERVERS, or the testbed's, started when down.

    Raises BrokerError.
    """
    if embedded:
        try:
            kafka = EmbeddedKafka()
        except EmbeddedKafkaError as error:
            raise BrokerError(str(error)) from error
        return Broker(kafka.bootstrap_servers, kafka)
    if servers or os.environ.get(SERVERS_VARIABLE):
        return Broker(servers or os.environ[SERVERS_VARIABLE])
    try:
        testbed = Kafka()
        testbed.start()
        return Broker(testbed.bootstrap_servers)
    except TestbedError as error:
        raise BrokerError(
            f"{error}\nor name a Kafka: --bootstrap-servers, ${SERVERS_VARIABLE}; or --embedded"
        ) from error
