"""End offsets of the assigned partitions, asked of the broker every 5 s by a thread of its own.

The consumer's cached watermark is no use: it freezes while a partition is paused (100 shown, 5,100 true), which is just
when the backlog matters. Not here: the backlog itself, which the control loop works out.
"""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from consumer_runtime.ledger.offsets import PartitionOffsets

INTERVAL_SECONDS = 5.0
_TIMEOUT_SECONDS = 10.0

_log = structlog.get_logger(__name__)
Partitions = Iterable[tuple[str, int]]


class EndOffsets:
    """Keeps `latest`, written by its own thread, each entry in one step."""

    def __init__(self, admin: AdminClient, partitions: Callable[[], Partitions], *, is_committed_only: bool) -> None:
        """Ask for what `partitions` returns, up to the last stable offset when only committed messages are read."""
        self.latest: dict[tuple[str, int], int] = {}
        self.answered_at = 0.0
        """`time.monotonic()` of the broker's last answer."""
        self.earliest: dict[tuple[str, int], int] = {}
        """Where the partitions' logs began when the assignment last changed."""
        self._wants_earliest = True
        self._is_doubted = False
        self._admin = admin
        self._partitions = partitions
        self._isolation = IsolationLevel.READ_COMMITTED if is_committed_only else IsolationLevel.READ_UNCOMMITTED
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="end-offsets", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def ask_soon(self) -> None:
        """Ask without waiting for the interval, since the assignment changed."""
        self._wants_earliest = True
        self._wake.set()

    def doubt(self) -> None:
        """Ask the broker for something soon, since it is not certain that it answers."""
        self._is_doubted = True
        self._wake.set()

    def stop(self) -> None:
        """End the thread; a request under way is left behind (the thread is a daemon)."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _run(self) -> None:
        while not self._stopping:
            self._ask(list(self._partitions()))
            self._wake.wait(INTERVAL_SECONDS)
            self._wake.clear()

    def _ask(self, partitions: list[tuple[str, int]]) -> None:
        asked_at = time.monotonic()
        if not partitions:
            self._ask_for_anything(asked_at)
            return
        try:
            found = self._listed(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]
            if self._wants_earliest:
                self._wants_earliest = False
                self.earliest = self._listed(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        except (KafkaException, TimeoutError) as error:
            _log.debug("end offsets not known", error=str(error))
            self._look_for_leaders()
            return
        self.latest = found
        self.answered_at = asked_at

    def _listed(self, partitions: list[tuple[str, int]], spec: Any) -> dict[tuple[str, int], int]:
        """Raises KafkaException and TimeoutError."""
        wanted = {TopicPartition(*each): spec for each in partitions}
        answers = self._admin.list_offsets(wanted, isolation_level=self._isolation, request_timeout=_TIMEOUT_SECONDS)
        return {(at.topic, at.partition): future.result(_TIMEOUT_SECONDS).offset for at, future in answers.items()}

    def _look_for_leaders(self) -> None:
        """Have the client learn them anew: it would go by what it knew, or did not know, for minutes.

        After a leader was away it says FENCED_LEADER_EPOCH, or that there is none. By the list of all topics, since a
        question about one may make it where brokers do that.
        """
        try:
            self._admin.list_topics(timeout=_TIMEOUT_SECONDS)
        except KafkaException as error:
            _log.debug("leaders not known", error=str(error))

    def _ask_for_anything(self, asked_at: float) -> None:
        """Ask only while in doubt: the list of all topics is long in large clusters."""
        if not self._is_doubted:
            return
        try:
            self._admin.list_topics(timeout=_TIMEOUT_SECONDS)
        except KafkaException as error:
            _log.debug("no broker answers", error=str(error))
            return
        self._is_doubted = False
        self.answered_at = asked_at


def tell_deleted(assignments: Iterable[PartitionOffsets], earliest: dict[tuple[str, int], int]) -> None:
    """Say what retention deleted before it was consumed: the client itself goes on behind it without a word."""
    for each in assignments:
        deleted = earliest.get((each.topic, each.partition), 0) - each.start
        if deleted > 0:
            _log.error(
                "messages deleted before they were consumed", topic=each.topic, partition=each.partition,
                messages=deleted, remedy="raise the topic's retention, or consume faster",
            )  # fmt: skip
