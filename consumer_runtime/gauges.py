"""What the control loop shows of itself: gauges brought up to date once a second, and stuck watermarks told.

Not here: counters, which are counted where things happen; serving them (`exposition`).
"""

import structlog

from consumer_runtime.backpressure import Backpressure
from consumer_runtime.contract.settings import RuntimeSettings
from consumer_runtime.engines.engine import Engine
from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.ledger.shards import Shards
from consumer_runtime.settle import Holdings
from consumer_runtime.sources.source import Source
from consumer_runtime.statistics import PartitionStatistics, Statistics

INTERVAL_SECONDS = 0.5
_TELL_STUCK_EVERY_SECONDS = 60.0

_log = structlog.get_logger(__name__)


class Gauges:
    """Writes into the statistics; called by the control thread."""

    def __init__(
        self, statistics: Statistics, *, source: Source, engine: Engine, shards: Shards, holdings: Holdings
    ) -> None:
        self._statistics = statistics
        self._source = source
        self._engine = engine
        self.shards = shards
        self._holdings = holdings
        self._looked_at = 0.0
        self._told: dict[PartitionOffsets, float] = {}

    def tick(self, now: float, settings: RuntimeSettings, backpressure: Backpressure, in_flight: int) -> None:
        """Bring every gauge up to date, at most twice a second."""
        self._statistics.heartbeat_at = now
        if now - self._looked_at < INTERVAL_SECONDS:
            return
        self._looked_at = now
        statistics, engine = self._statistics, self._engine.statistics()
        statistics.in_flight = in_flight
        statistics.in_flight_bytes = self._holdings.size_bytes
        statistics.queue_depth = len(self.shards.ready) + len(self.shards.due) + self.shards.waiting + engine.queued
        oldest = self._engine.oldest_started_at()
        statistics.oldest_task_seconds = now - oldest if oldest is not None else 0.0
        statistics.backpressure_active = backpressure.is_active
        statistics.handler_seconds = engine.handler_seconds
        statistics.worker_busy_seconds = engine.busy_seconds
        partitions = list(self._source.assignments.values())
        statistics.partitions = {(each.topic, each.partition): self._of(each) for each in partitions}
        self._tell_stuck(partitions, now, settings.execution.max_blocking_duration_ms / 1000)

    def _of(self, assignment: PartitionOffsets) -> PartitionStatistics:
        committed = self._source.committed(assignment)
        end = self._source.end_offset(assignment)
        return PartitionStatistics(
            parallel_lag=assignment.position - committed,
            gaps=assignment.gaps,
            backlog=max(end - committed, 0) if end is not None else None,
            metadata_bytes=self._source.metadata_bytes(assignment),
        )

    def _tell_stuck(self, assignments: list[PartitionOffsets], now: float, tolerated: float) -> None:
        """Report a watermark that stands still although work beyond it is finished (`max_blocking_duration_ms`)."""
        self._told = {each: at for each, at in self._told.items() if each.is_open}
        if not tolerated:
            return
        for each in assignments:
            blocked = now - each.moved_at
            if blocked < tolerated or not each.gaps:
                self._told.pop(each, None)
            elif now - self._told.get(each, float("-inf")) >= _TELL_STUCK_EVERY_SECONDS:
                self._told[each] = now
                _log.error(
                    "watermark stuck", topic=each.topic, partition=each.partition, offset=each.watermark,
                    seconds=round(blocked, 1), gaps=each.gaps, finished_beyond=each.span - each.outstanding,
                )  # fmt: skip
