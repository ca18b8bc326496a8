"""The failing cell: some messages fail once, some for good; commits and dead letters must be exactly what they should.

Runs ours in this process. Raises RunFailedError with what was wrong.
"""

import threading
import time
from collections import Counter

from confluent_kafka import Consumer, TopicPartition

from benchmarks.compare import topics
from benchmarks.compare.errors import RunFailedError
from benchmarks.compare.topics import PARTITIONS, Contents, Topic
from consumer_runtime import ParallelConsumer, RuntimeSettings
from consumer_runtime.message import Message
from testbed.kafka import Kafka

_CONTENTS = Contents(messages=20_000)
_FAILS_ONCE, _FAILS_ALWAYS = 50, 200
"""Every so many offsets of a partition."""
_SECONDS = 60.0


class _Handler:
    """Raises for some offsets, and counts attempts."""

    def __init__(self) -> None:
        self.attempts: Counter[tuple[int, int]] = Counter()

    async def __call__(self, message: Message) -> None:
        self.attempts[message.partition, message.offset] += 1
        if message.offset % _FAILS_ALWAYS == 0:
            raise ValueError("injected, for good")
        if message.offset % _FAILS_ONCE == 0 and message.attempt == 1:
            raise ValueError("injected, once")


def run(kafka: Kafka) -> float:
    """Return messages per second of a run with failures. Raises RunFailedError."""
    topic = topics.filled(kafka, _CONTENTS)
    dead, group = f"gate-dead-{time.time_ns()}", f"gate-{time.time_ns()}"
    topics.created(kafka, dead, 1)
    handler = _Handler()
    rate = _consume(_settings(kafka, topic, dead, group), handler, topic.messages)
    _require_attempts(handler.attempts, topic)
    _require_committed(kafka, topic, group)
    _require_dead_letters(kafka, dead, sum(-(-end // _FAILS_ALWAYS) for end in topic.ends))
    return rate


def _settings(kafka: Kafka, topic: Topic, dead: str, group: str) -> RuntimeSettings:
    return RuntimeSettings.for_kafka(
        kafka.bootstrap_servers,
        topics=[topic.name],
        consumer_group=group,
        execution={"mode": "async", "max_in_flight": 512, "poll_batch_size": 500},
        retry={"max_retries": 1, "backoff_ms": 50, "max_backoff_ms": 50},
        dead_letter={"enabled": True, "topic": dead, "payload_mode": "metadata_only"},
    )


def _consume(settings: RuntimeSettings, handler: _Handler, messages: int) -> float:
    consumer = ParallelConsumer(settings, handler)
    running = threading.Thread(target=consumer.run, daemon=True)
    begun = time.monotonic()
    running.start()
    while (done := consumer.statistics.snapshot().finished()) < messages:
        if time.monotonic() - begun > _SECONDS:
            raise RunFailedError(f"failures: {done} of {messages} messages after {_SECONDS:g} s")
        time.sleep(0.02)
    seconds = time.monotonic() - begun
    consumer.stop()
    running.join(_SECONDS)
    return messages / seconds


def _require_attempts(attempts: Counter[tuple[int, int]], topic: Topic) -> None:
    wrong = [
        (partition, offset)
        for partition, end in enumerate(topic.ends)
        for offset in range(end)
        if attempts[partition, offset] != (2 if offset % _FAILS_ONCE == 0 else 1)
    ]
    if wrong:
        raise RunFailedError(f"failures: {len(wrong)} messages were not attempted as often as they should: {wrong[:5]}")


def _require_committed(kafka: Kafka, topic: Topic, group: str) -> None:
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": group})
    try:
        parts = [TopicPartition(topic.name, number) for number in range(PARTITIONS)]
        found = tuple(part.offset for part in consumer.committed(parts, timeout=10))
    finally:
        consumer.close()
    if found != topic.ends:
        raise RunFailedError(f"failures: committed {found}, the topic ends at {topic.ends}")


def _require_dead_letters(kafka: Kafka, dead: str, wanted: int) -> None:
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "gate-look"})
    part = TopicPartition(dead, 0, 0)
    try:
        end = consumer.get_watermark_offsets(part, timeout=10)[1]
        consumer.assign([part])
        letters = consumer.consume(end, _SECONDS) if end else []
    finally:
        consumer.close()
    if len(letters) != wanted:
        raise RunFailedError(f"failures: {len(letters)} dead letters, not {wanted}")
    payloads = sum(bool(letter.value()) for letter in letters)
    if payloads:
        raise RunFailedError(f"failures: {payloads} dead letters carry a payload under metadata_only")
