"""A Kafka inside this process, for tests and first minutes: librdkafka's mock cluster. Not for anything that must last.

Its limits (librdkafka 2.16): topics are made by use, with 4 partitions, and `create_topics` times out; each partition
keeps about 5 MB and silently drops older messages; no security, no quotas, no limit on commit metadata. Groups (both
protocols), commits and transactions work, and other processes of this machine can connect.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from confluent_kafka import KafkaException, Producer

from consumer_runtime.errors import ConsumerError

PARTITIONS = 4
"""Of every topic; the mock cluster's own default."""
BYTES_PER_PARTITION_AT_MOST = 4_000_000
"""Stay below: the mock cluster forgets what is older than about 5 MB."""
_ANSWER_SECONDS = 10.0
_BY_KEY = -1
"""librdkafka's RD_KAFKA_PARTITION_UA: the partitioner chooses."""


class EmbeddedKafkaError(ConsumerError):
    """The embedded Kafka did not start, or did not take a message."""


@dataclass(frozen=True, slots=True)
class Record:
    """A message to produce."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    partition: int | None = None
    """None: by the key's hash."""


class EmbeddedKafka:
    """Brokers on free ports of the loopback, as long as this object lives: `with EmbeddedKafka() as kafka: ...`."""

    def __init__(self, *, brokers: int = 1) -> None:
        """Start the brokers. Raises EmbeddedKafkaError."""
        self._producer: Producer | None = Producer({"test.mock.num.brokers": brokers, "linger.ms": 0, "log_level": 3})
        try:
            addresses = self._producer.list_topics(timeout=_ANSWER_SECONDS).brokers.values()
        except KafkaException as error:
            raise EmbeddedKafkaError(f"the embedded Kafka did not answer within {_ANSWER_SECONDS:g} s") from error
        self.bootstrap_servers = ",".join(f"{each.host}:{each.port}" for each in addresses)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the brokers; everything in them is gone."""
        self._producer = None

    def create(self, topic: str) -> None:
        """Make a topic, with 4 partitions, by asking for it. Raises EmbeddedKafkaError."""
        with _translated(f"topic {topic!r} could not be made"):
            self._running().list_topics(topic, timeout=_ANSWER_SECONDS)

    def produce(self, topic: str, records: Iterable[Record]) -> int:
        """Send records, wait until the brokers have them, return how many. Raises EmbeddedKafkaError."""
        failures: list[str] = []
        producer = self._running()

        def delivered(error: Any, _: Any) -> None:
            if error is not None:
                failures.append(str(error))

        sent = 0
        for record in records:
            sent += 1
            with _translated(f"message {sent} was not taken by {topic!r}"):
                self._send(producer, topic, record, delivered)
        left = producer.flush(_ANSWER_SECONDS)
        if failures or left:
            told = failures[0] if failures else "no answer"
            raise EmbeddedKafkaError(f"{len(failures) + left} of {sent} messages were not taken by {topic!r}: {told}")
        return sent

    def _running(self) -> Producer:
        if self._producer is None:
            raise EmbeddedKafkaError("this embedded Kafka was closed")
        return self._producer

    @staticmethod
    def _send(producer: Producer, topic: str, record: Record, delivered: Any) -> None:
        partition = _BY_KEY if record.partition is None else record.partition
        while True:
            try:
                producer.produce(topic, record.value, record.key, partition, delivered, headers=list(record.headers))
            except BufferError:  # the queue is full: the poll below delivers some of it, then try again
                producer.poll(0.1)
            else:
                producer.poll(0)
                return


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise EmbeddedKafkaError(f"{what}: {error}") from error
