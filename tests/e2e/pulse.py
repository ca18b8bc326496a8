"""Watches whether a consumer group goes on, by what it commits; reads the broker alone. Not a test."""

import threading
import time
from itertools import pairwise
from types import TracebackType
from typing import Self

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

LOOK_SECONDS = 0.2
"""Between two looks; the runtime commits about as often."""


class Pulse:
    """Notes when a group's committed offsets move. What is committed was processed: gaps here are gaps there."""

    def __init__(self, bootstrap_servers: str, topic: str, group: str, *, partitions: int) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers})
        self._group = group
        self._partitions = [TopicPartition(topic, number) for number in range(partitions)]
        self._moves: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="pulse", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def longest_gap(self, since: float) -> float:
        """Seconds of the longest time without a commit from a `time.monotonic()` on until now."""
        marks = [since, *(moved for moved in list(self._moves) if moved > since), time.monotonic()]
        return max(later - earlier for earlier, later in pairwise(marks))

    def committed(self) -> int:
        """Sum of the group's committed offsets; those of partitions without a commit count as 0."""
        asked = [ConsumerGroupTopicPartitions(self._group, self._partitions)]
        (answer,) = self._admin.list_consumer_group_offsets(asked, request_timeout=10).values()
        return sum(max(partition.offset, 0) for partition in answer.result().topic_partitions)

    def offered(self) -> int:
        """Sum of the topic's end offsets."""
        ends = self._admin.list_offsets({partition: OffsetSpec.latest() for partition in self._partitions})
        return sum(end.result(10).offset for end in ends.values())

    def _look(self) -> None:
        last = -1
        while not self._ended.wait(LOOK_SECONDS):
            try:
                now = self.committed()
            except KafkaException:
                continue
            if now > last:
                last = now
                self._moves.append(time.monotonic())
