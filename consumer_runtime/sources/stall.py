"""Partitions that stand still for no reason: the group is stable, the broker answers, messages are there, none comes.

Seen in the field after rebalances, with every client's own metrics fine. It is told, and the partition is fetched anew.
Not here: watermarks that stand still because of a handler (`gauges`).
"""

from collections.abc import Iterable

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from consumer_runtime.ledger.offsets import PartitionOffsets

STALLED_AFTER_SECONDS = 30.0
_LOOK_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class StallWatch:
    """Remembers where each partition stood, and since when."""

    def __init__(self) -> None:
        self._seen: dict[PartitionOffsets, tuple[int, float]] = {}
        self._looked_at = 0.0

    def stalled(
        self, assignments: Iterable[PartitionOffsets], end_offsets: dict[tuple[str, int], int], now: float
    ) -> list[PartitionOffsets]:
        """Return what has not moved for 30 s although its end lies ahead; each again after another 30 s.

        `assignments` are those that are being fetched: a paused one stands still for a reason.
        """
        if now - self._looked_at < _LOOK_SECONDS:
            return []
        self._looked_at = now
        seen, found = {}, []
        for each in assignments:
            position, since = self._seen.get(each, (-1, now))
            behind = end_offsets.get((each.topic, each.partition), 0) > each.position
            if position != each.position or not behind:
                since = now
            elif now - since >= STALLED_AFTER_SECONDS:
                found.append(each)
                since = now
            seen[each] = (each.position, since)
        self._seen = seen
        for each in found:
            end = end_offsets[each.topic, each.partition]
            _log.error("partition stalled", topic=each.topic, partition=each.partition, position=each.position, end=end)
        return found


def fetch_anew(consumer: Consumer, assignment: PartitionOffsets) -> None:
    """Also resume it: a pause that the client keeps and we do not know of is one way of standing still."""
    at = TopicPartition(assignment.topic, assignment.partition, assignment.arrived)
    try:
        consumer.resume([at])
        consumer.seek(at)
    except KafkaException as error:  # not being fetched at all just now, such as in the middle of a rebalance
        _log.warning("not fetched anew", topic=assignment.topic, partition=assignment.partition, error=str(error))
