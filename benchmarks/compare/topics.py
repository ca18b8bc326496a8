"""Topics of the comparison: 100 B values, 8 partitions, keys uniform or by Zipf; filled once and used again.

A topic's name holds what is in it, so that a later run finds it or makes its own.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from benchmarks.compare.errors import CompareError
from benchmarks.compare.works import Keys
from testbed.kafka import Kafka

PARTITIONS = 8
KEYS = 1_000
VALUE_BYTES = 100
ZIPF_EXPONENT = 1.1
_SEED = 5
_CHUNK = 10_000
_FLUSH_SECONDS = 120.0


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


def draws(keys: Keys, messages: int) -> Iterator[int]:
    """Yield key numbers; the same ones for the same arguments."""
    rng = random.Random(_SEED)
    weights = [1 / (rank**ZIPF_EXPONENT) for rank in range(1, KEYS + 1)] if keys is Keys.ZIPF else [1.0] * KEYS
    cumulated = list(accumulate(weights))
    for start in range(0, messages, _CHUNK):
        yield from rng.choices(range(KEYS), cum_weights=cumulated, k=min(_CHUNK, messages - start))


def filled(kafka: Kafka, keys: Keys, messages: int) -> Topic:
    """Return the topic with these contents, made now unless it is there. Raises CompareError when it cannot be made."""
    name = f"compare-{keys.value}-{messages}"
    ends = _ends(kafka.bootstrap_servers, name)
    if sum(ends) == messages:
        return Topic(name, ends)
    if sum(ends):
        raise CompareError(f"topic {name} has {sum(ends)} of {messages} messages; delete it, or empty the testbed")
    try:
        if not ends:
            kafka.create_topic(name, partitions=PARTITIONS, config={"retention.ms": "-1"})
        _fill(kafka.bootstrap_servers, name, keys, messages)
    except KafkaException as error:
        raise CompareError(f"topic {name} could not be filled: {error}") from error
    return Topic(name, _ends(kafka.bootstrap_servers, name))


def _fill(servers: str, name: str, keys: Keys, messages: int) -> None:
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "linger.ms": 20,
            "batch.size": 400_000,
            "queue.buffering.max.messages": 500_000,
            "enable.idempotence": True,
        }
    )
    value = bytes(random.Random(_SEED).randbytes(VALUE_BYTES))
    names = [f"key-{number}".encode() for number in range(KEYS)]
    for count, number in enumerate(draws(keys, messages)):
        if count % 1_000 == 0:
            while len(producer) > 400_000:
                producer.poll(0.05)
            producer.poll(0)
        producer.produce(name, value, names[number], number % PARTITIONS)
    if producer.flush(_FLUSH_SECONDS):
        raise CompareError(f"the broker did not take all of {name} within {_FLUSH_SECONDS:g} s")


def _ends(servers: str, name: str) -> tuple[int, ...]:
    """Return the end offsets, or nothing when there is no such topic."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "compare-look", "allow.auto.create.topics": False})
    try:
        found = consumer.list_topics(timeout=10).topics.get(name)
        if found is None:
            return ()
        parts = [TopicPartition(name, number) for number in sorted(found.partitions)]
        return tuple(consumer.get_watermark_offsets(part, timeout=10)[1] for part in parts)
    finally:
        consumer.close()
