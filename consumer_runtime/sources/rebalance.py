"""Partitions come and go: restore what was finished, commit before giving up, forget what was lost.

The callbacks run inside the consumer's `consume` and `close`; they never poll it. Not here: commits as such
(`commits`), what the control loop does meanwhile (`source.Listener`).
"""

import time
from collections.abc import Callable

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from consumer_runtime.contract.settings import AutoOffsetReset
from consumer_runtime.event_log import SILENT, Event, EventLog
from consumer_runtime.ledger import codec
from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.sources.commits import Commits, skip_what_never_arrives
from consumer_runtime.sources.source import Listener
from consumer_runtime.sources.tenure import Tenure, for_ever
from consumer_runtime.statistics import Statistics

_COMMITTED_WITHIN_SECONDS = 10.0
_COMMITTED_ATTEMPTS = 3
_WATERMARKS_WITHIN_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class Rebalance:
    """The three callbacks of `Consumer.subscribe`, and the assignment that they keep."""

    def __init__(
        self,
        *,
        commits: Commits,
        statistics: Statistics,
        listener: Listener,
        reset: AutoOffsetReset,
        incremental: bool,
        events: EventLog = SILENT,
    ) -> None:
        self.assignments: dict[tuple[str, int], PartitionOffsets] = {}
        self.unknown: set[tuple[str, int]] = set()
        """Assigned, and where they start is only known once their first message arrives."""
        self.on_change: Callable[[], None] = lambda: None
        self.is_closing = False
        """True once the consumer is being closed: what comes then is given back at once."""
        self._commits = commits
        self._statistics = statistics
        self._listener = listener
        self._reset = reset
        self._incremental = incremental
        self._events = events

    def assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Begin each partition where the group stands, with what its offset map says to be finished."""
        self._statistics.rebalances += 1
        if self.is_closing:
            # Here the client does not answer questions for commits any more; asking would cost all of their time.
            self._accept(consumer, partitions)
            return
        if not self._incremental and self.assignments:
            # The client joined again by itself (see `tenure`) and asked nothing back: others may have had these since.
            self.lose(consumer, [TopicPartition(*held) for held in self.assignments])
        committed = _committed(consumer, partitions)
        for at in committed:
            self._events.record(Event.ASSIGNED, topic=at.topic, partition=at.partition, offset=at.offset)
        begun = [begin for each in committed if (begin := self._begin(consumer, each)) is not None]
        starts = [_start(self.assignments.get((each.topic, each.partition)), each) for each in committed]
        self._accept(consumer, starts)
        # The client keeps a pause over revoke and assign, and then the partition would stand still without a word.
        consumer.resume(starts)
        _log.info("partitions assigned", partitions=_names(partitions), held=len(self.assignments))
        self._listener.assigned(begun)
        self.on_change()

    def revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Let the listener finish what it can, commit it, and give the partitions up."""
        leaving = self._known(partitions)
        if not self._finish(consumer, leaving):
            self.lose(consumer, partitions)
            return
        self._statistics.rebalances += 1
        skip_what_never_arrives(consumer, leaving)
        self._commits.commit_now(consumer, leaving, time.monotonic())
        # what waited was let go before the grace began: what is still held was running when it was over
        dropped = {(each.topic, each.partition): each.held for each in leaving}
        for at in partitions:
            left = dropped.get((at.topic, at.partition), 0)
            self._events.record(Event.REVOKED, topic=at.topic, partition=at.partition, dropped=left)
        self._give_up(partitions, leaving)
        _log.info("partitions revoked", partitions=_names(partitions), held=len(self.assignments))

    def _finish(self, consumer: Consumer, leaving: list[PartitionOffsets]) -> bool:
        """Wait for what runs; return False when the group gave the partitions away meanwhile."""
        if self._incremental or self.is_closing or not any(each.held for each in leaving):
            self._listener.revoking(leaving, for_ever)
            return True
        tenure = Tenure(consumer)
        # So that little runs again should the group not wait: nothing is committed during the grace.
        self._commits.commit_now(consumer, leaving, time.monotonic())
        self._listener.revoking(leaving, tenure.is_over)
        return not tenure.is_over_now()

    def lose(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Give up without a commit: they may be somebody else's already."""
        self._statistics.rebalances += 1
        for each in partitions:
            self._events.record(Event.LOST, topic=each.topic, partition=each.partition)
        self._give_up(partitions, self._known(partitions))
        _log.warning("partitions lost", partitions=_names(partitions), held=len(self.assignments))

    def first_message(self, topic: str, partition: int, offset: int) -> PartitionOffsets | None:
        """Return the assignment of a message; None when the partition is not ours any more."""
        key = (topic, partition)
        if key not in self.unknown:
            return self.assignments.get(key)
        self.unknown.discard(key)
        return self._open(PartitionOffsets(topic, partition, start=offset, now=time.monotonic()), committed=-1, text="")

    def restart(self, old: PartitionOffsets, offset: int) -> PartitionOffsets:
        """Begin anew below the watermark: the topic was made again, or the broker lost its end."""
        _log.error(
            "offsets went back: the topic was recreated, or its log was cut",
            topic=old.topic, partition=old.partition, was=old.arrived, now=offset,
        )  # fmt: skip
        old.is_open = False
        self._listener.dropped([old])
        fresh = PartitionOffsets(old.topic, old.partition, start=offset, now=time.monotonic())
        return self._open(fresh, committed=-1, text="")

    def _accept(self, consumer: Consumer, starts: list[TopicPartition]) -> None:
        if self._incremental:
            consumer.incremental_assign(starts)
        else:
            consumer.assign(starts)

    def _begin(self, consumer: Consumer, committed: TopicPartition) -> PartitionOffsets | None:
        topic, partition = committed.topic, committed.partition
        now = time.monotonic()
        if committed.offset >= 0 and committed.error is None:
            finished = _restored(committed)
            begun = PartitionOffsets(topic, partition, start=committed.offset, finished=finished, now=now)
            return self._open(begun, committed=committed.offset, text=committed.metadata or "")
        start = None if committed.error is not None else _first_start(consumer, committed, self._reset)
        if start is None:
            self.unknown.add((topic, partition))
            return None
        return self._open(PartitionOffsets(topic, partition, start=start, now=now), committed=-1, text="")

    def _open(self, begun: PartitionOffsets, *, committed: int, text: str) -> PartitionOffsets:
        self.assignments[begun.topic, begun.partition] = begun
        self._commits.began(begun, committed, text)
        return begun

    def _known(self, partitions: list[TopicPartition]) -> list[PartitionOffsets]:
        known = (self.assignments.get((each.topic, each.partition)) for each in partitions)
        return [each for each in known if each is not None]

    def _give_up(self, partitions: list[TopicPartition], leaving: list[PartitionOffsets]) -> None:
        for partition in partitions:
            self.unknown.discard((partition.topic, partition.partition))
        for each in leaving:
            each.is_open = False
            self._commits.forget(each)
            del self.assignments[each.topic, each.partition]
        self._listener.dropped(leaving)


def _committed(consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
    """Ask three times; a partition without an answer begins where the client itself finds the group to stand."""
    for attempt in range(1, _COMMITTED_ATTEMPTS + 1):
        try:
            return consumer.committed(partitions, timeout=_COMMITTED_WITHIN_SECONDS)
        except KafkaException as error:
            _log.warning("committed offsets not known", attempt=attempt, error=str(error))
    return partitions


def _restored(committed: TopicPartition) -> bytes:
    try:
        return codec.decode(committed.metadata or "", committed.offset)
    except codec.UnreadableMapError as error:
        _log.warning(
            "offset map ignored: everything from the watermark on runs again",
            topic=committed.topic, partition=committed.partition, offset=committed.offset, reason=str(error),
        )  # fmt: skip
        return b""


def _first_start(consumer: Consumer, partition: TopicPartition, reset: AutoOffsetReset) -> int | None:
    """Return where a group without a commit starts.

    It is committed soon, so that a restart starts there too: with `latest`, what arrives before the first commit would
    be lost otherwise.
    """
    if reset is AutoOffsetReset.ERROR:
        return None
    try:
        low, high = consumer.get_watermark_offsets(partition, timeout=_WATERMARKS_WITHIN_SECONDS)
    except (KafkaException, TypeError) as error:  # TypeError: None is returned when the time is up
        _log.warning("start not known yet", topic=partition.topic, partition=partition.partition, error=str(error))
        return None
    return int(low if reset is AutoOffsetReset.EARLIEST else high)


def _start(assignment: PartitionOffsets | None, partition: TopicPartition) -> TopicPartition:
    if assignment is None:
        return TopicPartition(partition.topic, partition.partition)
    return TopicPartition(assignment.topic, assignment.partition, assignment.watermark)


def _names(partitions: list[TopicPartition]) -> list[str]:
    return [f"{each.topic}[{each.partition}]" for each in partitions]
