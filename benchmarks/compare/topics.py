"""Topics of the comparison: by default 100 B values, 8 partitions, 1,000 keys; filled once and used again.

A topic's name holds what is in it, so that a later run finds it or makes its own. A value begins with its partition and
its number there, for peers that show their handler nothing but the value.
"""

import random
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, count

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from benchmarks.compare.errors import CompareError
from benchmarks.compare.works import Keys
from testbed.kafka import Kafka

PARTITIONS = 8
KEYS = 1_000
VALUE_BYTES = 100
ZIPF_EXPONENT = 1.1
PLACE = struct.Struct(">iq")
"""Partition and number in it, as a value begins; the number is the offset, since nothing else is produced there."""
_SEED = 5
_CHUNK = 10_000
_UNSENT_AT_MOST = 100_000
_FLUSH_SECONDS = 120.0
_LEADER_SECONDS = 20.0
_NO_LEADER_YET = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
_DELETE_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a topic holds."""

    messages: int
    keys: Keys = Keys.UNIFORM
    key_count: int = KEYS
    partitions: int = PARTITIONS
    value_bytes: int = VALUE_BYTES
    """At least 12."""

    @property
    def name(self) -> str:
        """Return the topic's name."""
        shape = (self.keys.value, self.messages, self.key_count, self.partitions, self.value_bytes)
        return "compare-" + "-".join(map(str, shape))


@dataclass(frozen=True)
class Topic:
    """A topic that is filled; `ends` are the messages of each partition."""

    name: str
    ends: tuple[int, ...]

    @property
    def messages(self) -> int:
        """Messages in all partitions."""
        return sum(self.ends)

    @property
    def bases(self) -> tuple[int, ...]:
        """Index of each partition's first mark."""
        return (0, *accumulate(self.ends[:-1]))


def draws(keys: Keys, messages: int, key_count: int = KEYS) -> Iterator[int]:
    """Yield key numbers; the same ones for the same arguments."""
    rng = random.Random(_SEED)
    weights = (
        [1 / (rank**ZIPF_EXPONENT) for rank in range(1, key_count + 1)] if keys is Keys.ZIPF else [1.0] * key_count
    )
    cumulated = list(accumulate(weights))
    for start in range(0, messages, _CHUNK):
        yield from rng.choices(range(key_count), cum_weights=cumulated, k=min(_CHUNK, messages - start))


def values(partition: int, value_bytes: int = VALUE_BYTES) -> Iterator[bytes]:
    """Yield the values of a partition without end."""
    filling = random.Random(_SEED).randbytes(value_bytes - PLACE.size)
    for number in count():
        yield PLACE.pack(partition, number) + filling


def created(kafka: Kafka, name: str, partitions: int = PARTITIONS) -> None:
    """Make an empty topic. Raises CompareError."""
    try:
        kafka.create_topic(name, partitions=partitions, config={"retention.ms": "-1"})
    except KafkaException as error:
        raise CompareError(f"topic {name} could not be made: {error}") from error


def filled(kafka: Kafka, contents: Contents) -> Topic:
    """Return the topic with these contents, made now unless it is there. Raises CompareError when it cannot be made."""
    name, messages = contents.name, contents.messages
    ends = _ends(kafka.bootstrap_servers, name)
    if sum(ends) == messages:
        return Topic(name, ends)
    try:
        if sum(ends):  # an earlier run was stopped while it filled it
            _delete(kafka.bootstrap_servers, name)
        if sum(ends) or not ends:
            created(kafka, name, contents.partitions)
        _fill(kafka.bootstrap_servers, contents)
    except KafkaException as error:
        raise CompareError(f"topic {name} could not be filled: {error}") from error
    return Topic(name, _ends(kafka.bootstrap_servers, name))


def _fill(servers: str, contents: Contents) -> None:
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "linger.ms": 20,
            "batch.size": 400_000,
            "queue.buffering.max.messages": 500_000,
            "enable.idempotence": True,
        }
    )
    names = [f"key-{number}".encode() for number in range(contents.key_count)]
    lines = [values(partition, contents.value_bytes) for partition in range(contents.partitions)]
    for done, number in enumerate(draws(contents.keys, contents.messages, contents.key_count)):
        if done % 1_000 == 0:
            while len(producer) > _UNSENT_AT_MOST:
                producer.poll(0.05)
            producer.poll(0)
        partition = number % contents.partitions
        producer.produce(contents.name, next(lines[partition]), names[number], partition)
    if producer.flush(_FLUSH_SECONDS):
        raise CompareError(f"the broker did not take all of {contents.name} within {_FLUSH_SECONDS:g} s")


def _delete(servers: str, name: str) -> None:
    """Delete a topic, and wait until it is gone. Raises CompareError when it stays."""
    admin = AdminClient({"bootstrap.servers": servers})
    admin.delete_topics([name])[name].result(_DELETE_SECONDS)
    deadline = time.monotonic() + _DELETE_SECONDS
    while name in admin.list_topics(timeout=_DELETE_SECONDS).topics:
        if time.monotonic() > deadline:
            raise CompareError(f"topic {name} was half filled and could not be deleted; empty the testbed")
        time.sleep(0.2)


def _ends(servers: str, name: str) -> tuple[int, ...]:
    """Return the end offsets, or nothing when there is no such topic."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "compare-look", "allow.auto.create.topics": False})
    try:
        found = consumer.list_topics(timeout=10).topics.get(name)
        if found is None:
            return ()
        parts = [TopicPartition(name, number) for number in sorted(found.partitions)]
        return tuple(_end(consumer, part) for part in parts)
    finally:
        consumer.close()


def _end(consumer: Consumer, partition: TopicPartition) -> int:
    """Return an end offset, also of a partition made so recently that its broker does not lead it yet."""
    deadline = time.monotonic() + _LEADER_SECONDS
    while True:
        try:
            return int(consumer.get_watermark_offsets(partition, timeout=10)[1])
        except KafkaException as error:
            if error.args[0].code() not in _NO_LEADER_YET or time.monotonic() > deadline:
                raise CompareError(f"the end of {partition.topic} is not known: {error}") from error
        time.sleep(0.2)
