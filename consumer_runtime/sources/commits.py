"""Commits of what is finished: asynchronous at most every 200 ms with one on its way, synchronous when it must hold.

The metadata of each commit is the offset map (`ledger.codec`); a commit without it would clear it. Not here: when
partitions come and go (`rebalance`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from consumer_runtime.event_log import SILENT, Event, EventLog
from consumer_runtime.ledger import codec
from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.statistics import Statistics

INTERVAL_SECONDS = 0.2
"""What finished since the last acknowledged commit runs again after a kill; this bounds it."""
_POSITION_INTERVAL_SECONDS = 1.0
_ANSWER_WITHIN_SECONDS = 60.0

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Committed:
    """What the broker has acknowledged of one assignment."""

    assignment: PartitionOffsets
    watermark: int
    text: str


class Commits:
    """Sends commits for the assignments that it is given, and remembers what was acknowledged."""

    def __init__(self, statistics: Statistics, events: EventLog = SILENT) -> None:
        self._statistics = statistics
        self._events = events
        self._committed: dict[tuple[str, int], _Committed] = {}
        self._on_their_way: dict[tuple[str, int], _Committed] = {}
        self._sent_at = 0.0
        self._looked_at_positions = 0.0

    def began(self, assignment: PartitionOffsets, committed: int, text: str) -> None:
        """Remember what was committed when the partition was assigned; -1 for nothing."""
        self._committed[assignment.topic, assignment.partition] = _Committed(assignment, committed, text)

    def forget(self, assignment: PartitionOffsets) -> None:
        """Drop what is known of a partition that is ours no more."""
        self._committed.pop((assignment.topic, assignment.partition), None)

    def watermark(self, assignment: PartitionOffsets) -> int:
        """Return the offset that the broker acknowledged last, -1 for none."""
        return self._of(assignment).watermark

    def metadata_characters(self, assignment: PartitionOffsets) -> int:
        """Return the size of the offset map in the last acknowledged commit."""
        return len(self._of(assignment).text)

    def tick(self, consumer: Consumer, assignments: Iterable[PartitionOffsets], now: float) -> None:
        """Send what changed, if the last commit is answered and 200 ms old."""
        if now - self._sent_at < INTERVAL_SECONDS:
            return
        if self._on_their_way and now - self._sent_at < _ANSWER_WITHIN_SECONDS:
            return
        if now - self._looked_at_positions >= _POSITION_INTERVAL_SECONDS:
            self._looked_at_positions = now
            assignments = list(assignments)
            skip_what_never_arrives(consumer, assignments)
        changed = self._changed(assignments, now)
        if changed:
            self._sent_at = now
            self._on_their_way = {(each.assignment.topic, each.assignment.partition): each for each in changed}
            self._record(Event.COMMIT_SENT, changed)
            if not _send(consumer, changed):
                self._on_their_way.clear()

    def answered(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Take the broker's answer to an asynchronous commit; runs inside the consumer's poll."""
        for partition in partitions:
            sent = self._on_their_way.pop((partition.topic, partition.partition), None)
            if sent is not None:
                self._book(sent, partition.error or error)
        if error is not None:
            self._on_their_way.clear()

    def commit_now(self, consumer: Consumer, assignments: Iterable[PartitionOffsets], now: float) -> None:
        """Commit synchronously (7-9 ms); an error is counted and logged: the messages run again elsewhere."""
        changed = self._changed(assignments, now)
        if not changed:
            return
        offsets = [_offset(each) for each in changed]
        self._record(Event.COMMIT_SENT, changed)
        try:
            answers = consumer.commit(offsets=offsets, asynchronous=False) or []
        except KafkaException as error:
            for each in changed:
                self._book(each, error.args[0])
            return
        by_partition = {(answer.topic, answer.partition): answer.error for answer in answers}
        for each in changed:
            self._book(each, by_partition.get((each.assignment.topic, each.assignment.partition)))

    def _changed(self, assignments: Iterable[PartitionOffsets], now: float) -> list[_Committed]:
        changed = []
        for assignment in assignments:
            progress = assignment.progress(now)
            text = codec.encode(progress).text
            last = self._of(assignment)
            if (progress.watermark, text) != (last.watermark, last.text):
                changed.append(_Committed(assignment, progress.watermark, text))
        return changed

    def _book(self, sent: _Committed, error: KafkaError | None) -> None:
        assignment = sent.assignment
        self._record(Event.COMMIT_FAILED if error else Event.COMMIT_ACKNOWLEDGED, [sent])
        if error is None:
            if assignment.is_open:
                self._committed[assignment.topic, assignment.partition] = sent
            return
        self._statistics.commit_failures += 1
        _log.warning(
            "commit refused", topic=assignment.topic, partition=assignment.partition, offset=sent.watermark,
            error=error.name(), text=error.str(),
        )  # fmt: skip

    def _record(self, event: Event, commits: Iterable[_Committed]) -> None:
        for each in commits:
            topic, partition = each.assignment.topic, each.assignment.partition
            self._events.record(event, topic=topic, partition=partition, offset=each.watermark, metadata=each.text)

    def _of(self, assignment: PartitionOffsets) -> _Committed:
        known = self._committed.get((assignment.topic, assignment.partition))
        return known if known is not None and known.assignment is assignment else _Committed(assignment, -1, "")


def skip_what_never_arrives(consumer: Consumer, assignments: Iterable[PartitionOffsets]) -> None:
    """Move partitions with nothing outstanding to the client's position.

    Transaction markers and compaction leave offsets that never arrive (last message 9, end 11): without this the
    backlog would never be 0.
    """
    idle = [each for each in assignments if each.watermark == each.position]
    if not idle:
        return
    known = {(each.topic, each.partition): each for each in idle}
    try:
        positions = consumer.position([TopicPartition(*key) for key in known])
    except KafkaException as error:
        _log.debug("positions not known", error=str(error))
        return
    for at in positions:
        if at.error is None and at.offset >= 0:
            known[at.topic, at.partition].skip_to(at.offset)


def _send(consumer: Consumer, commits: list[_Committed]) -> bool:
    try:
        consumer.commit(offsets=[_offset(each) for each in commits], asynchronous=True)
    except KafkaException as error:  # such as a member that is being fenced: the next interval tries again
        _log.warning("commit not sent", error=str(error))
        return False
    return True


def _offset(commit: _Committed) -> TopicPartition:
    return TopicPartition(commit.assignment.topic, commit.assignment.partition, commit.watermark, metadata=commit.text)
