"""What Kafka holds: the topic itself, the dead letters, the group's commits. The truth that a verdict starts from."""

from collections.abc import Callable, Iterator
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from benchmarks.chaos import payload
from benchmarks.chaos.errors import ChaosError
from benchmarks.chaos.payload import Content

_BATCH = 1_000
_WAIT_SECONDS = 5.0
_EMPTY_AT_MOST = 6
Place = tuple[int, int]
PROBE_KEY = b"probe"
"""Of what the harness itself writes to a dead letter topic."""


class Reader:
    """Reads as a member of no group. Close it when done."""

    def __init__(self, bootstrap_servers: str, *, group: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "log_level": 2,
                "fetch.queue.backoff.ms": 2,
            }
        )

    def close(self) -> None:
        """Release the client."""
        self._consumer.close()

    def truth(self, topic: str, is_poison: Callable[[int, int], bool]) -> dict[int, list[Content]]:
        """Return the content of every message by partition and offset; `is_poison` draws by (partition, offset).

        Raises ChaosError where the producer's own promises are broken: a hole in the offsets, or sequence numbers of
        a (partition, key) that are not 0, 1, 2 and so on.
        """
        contents: dict[int, list[Content]] = {partition: [] for partition in self.end_offsets(topic)}
        following: dict[tuple[int, int], int] = {}
        for message in self._messages(topic):
            partition, offset = message.partition(), message.offset()
            found = payload.decode(message.key(), message.value(), message.headers())
            if offset != len(contents[partition]) or found.sequence != following.get((partition, found.key), 0):
                raise ChaosError(f"the topic itself is not in order at partition {partition}, offset {offset}")
            following[partition, found.key] = found.sequence + 1
            contents[partition].append(found._replace(poison=found.poison or is_poison(partition, offset)))
        return contents

    def dead_letters(self, topic: str, *, origin: str) -> frozenset[Place]:
        """Return the distinct (partition, offset) of `origin` that the dead letter topic names in its headers."""
        places = set()
        for message in self._messages(topic):
            if message.key() == PROBE_KEY:
                continue
            headers = {name: (value or b"").decode() for name, value in message.headers() or []}
            if headers["source-topic"] != origin:
                raise ChaosError(f"a dead letter at {topic} {message.offset()} names {headers['source-topic']!r}")
            places.add((int(headers["partition"]), int(headers["offset"])))
        return frozenset(places)

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Return the end offset of each partition; raises KafkaException while no broker answers."""
        metadata = self._consumer.list_topics(topic, timeout=_WAIT_SECONDS).topics[topic]
        ends = {}
        for partition in metadata.partitions:
            found = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_WAIT_SECONDS)
            if found is None:
                raise ChaosError(f"the end of {topic} {partition} is not known within {_WAIT_SECONDS:g} s")
            ends[partition] = found[1]
        return ends

    def committed(self, topic: str, partitions: list[int]) -> dict[int, int]:
        """Return the group's committed offset by partition, without those that have none."""
        asked = [TopicPartition(topic, partition) for partition in partitions]
        answers = self._consumer.committed(asked, timeout=_WAIT_SECONDS)
        return {answer.partition: answer.offset for answer in answers if answer.offset >= 0}

    def _messages(self, topic: str) -> Iterator[Any]:
        ends = self.end_offsets(topic)
        left = {partition for partition, end in ends.items() if end > 0}
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in left])
        last: dict[int, int] = {}
        empty = 0
        while left:
            batch: list[Any] = self._consumer.consume(_BATCH, 0.5)
            empty = 0 if batch else empty + 1
            if empty > _EMPTY_AT_MOST * 2:
                raise ChaosError(f"{topic} cannot be read to its end: partitions {sorted(left)}")
            for message in batch:
                if message.error() is None:
                    yield message
                    last[message.partition()] = message.offset() or 0
            left = {partition for partition in left if last.get(partition, -1) + 1 < ends[partition]}
        self._consumer.unassign()


def delete_topics(admin: AdminClient, topics: list[str]) -> None:
    """Delete topics; one that is gone already is fine."""
    for future in admin.delete_topics(topics).values():
        try:
            future.result(timeout=30)
        except KafkaException as error:
            if error.args[0].name() != "UNKNOWN_TOPIC_OR_PART":
                raise
