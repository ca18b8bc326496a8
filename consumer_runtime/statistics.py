"""What the runtime counts about itself: plain mutable numbers, and a frozen copy of them for readers.

The control thread owns a `Statistics` and changes it without a lock, once per batch rather than per message. Other
threads call `snapshot`. Not here: names for Prometheus (`contract.metrics`), serving them (`exposition`), the clock.
"""

import copy
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any

from consumer_runtime import user_metrics
from consumer_runtime.contract.metrics import LATENCY_BUCKETS, DeadLetterOutcome, RetryReason, Stage, Status
from consumer_runtime.user_metrics import Distribution, Series, UserMetrics


@dataclass(slots=True)
class Histogram:
    """Counts by upper bound in seconds; the last count is what lies above every bound."""

    bounds: tuple[float, ...] = LATENCY_BUCKETS
    counts: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BUCKETS) + 1))
    total_seconds: float = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        """Count `times` observations of the same length, such as a batch that shares one measurement."""
        self.counts[bisect_left(self.bounds, seconds)] += times
        self.total_seconds += seconds * times

    @property
    def count(self) -> int:
        """Observations so far."""
        return sum(self.counts)

    def copy(self) -> "Histogram":
        """Return a copy that later observations do not change."""
        return Histogram(self.bounds, list(self.counts), self.total_seconds)


@dataclass(slots=True)
class PartitionStatistics:
    """Gauges of one assigned partition; the control thread replaces them as it goes."""

    parallel_lag: int = 0
    gaps: int = 0
    backlog: int | None = None
    """End offset minus committed; None until the broker was asked."""
    metadata_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The numbers of one moment; the fields of `Statistics`, for readers on other threads."""

    processed: dict[tuple[str, int, Status], int]
    retries: dict[RetryReason, int]
    dead_letters: dict[DeadLetterOutcome, int]
    loop_seconds: dict[Stage, float]
    partitions: dict[tuple[str, int], PartitionStatistics]
    knobs: dict[str, int]
    processing_latency: Histogram
    handler_seconds: Histogram
    in_flight: int
    in_flight_bytes: int
    queue_depth: int
    oldest_task_seconds: float
    backpressure_active: bool
    poll_fill_ratio: float
    worker_busy_seconds: float
    limit_full_seconds: float
    pauses: int
    commit_failures: int
    rebalances: int
    circuit_open: bool
    config_generation: int
    config_rejected: bool
    heartbeat_at: float
    librdkafka: dict[str, Any]
    user_counts: dict[Series, float]
    """What handlers and the program around them counted of their own (`user_metrics`)."""
    user_distributions: dict[Series, Distribution]

    def finished(self, status: Status | None = None) -> int:
        """Return messages finished so far, of one status or of all."""
        return sum(count for key, count in self.processed.items() if status in (None, key[2]))

    @property
    def retried(self) -> int:
        """Attempts scheduled again, over all reasons."""
        return sum(self.retries.values())


@dataclass(slots=True)
class Statistics:
    """The running totals and gauges of one runtime. Seconds are floats; counters only grow."""

    processed: dict[tuple[str, int, Status], int] = field(default_factory=dict)
    """By topic, partition and status. Add through `count_processed`."""
    retries: dict[RetryReason, int] = field(default_factory=lambda: dict.fromkeys(RetryReason, 0))
    dead_letters: dict[DeadLetterOutcome, int] = field(default_factory=lambda: dict.fromkeys(DeadLetterOutcome, 0))
    loop_seconds: dict[Stage, float] = field(default_factory=lambda: dict.fromkeys(Stage, 0.0))
    """Where the control thread's time went."""
    partitions: dict[tuple[str, int], PartitionStatistics] = field(default_factory=dict)
    """Assigned partitions only; an entry leaves with its partition."""
    knobs: dict[str, int] = field(default_factory=dict)
    """Runtime names and the values in force."""
    processing_latency: Histogram = field(default_factory=Histogram)
    handler_seconds: Histogram = field(default_factory=Histogram)
    in_flight: int = 0
    in_flight_bytes: int = 0
    queue_depth: int = 0
    oldest_task_seconds: float = 0.0
    backpressure_active: bool = False
    poll_fill_ratio: float = 0.0
    worker_busy_seconds: float = 0.0
    limit_full_seconds: float = 0.0
    pauses: int = 0
    commit_failures: int = 0
    rebalances: int = 0
    circuit_open: bool = False
    config_generation: int = 0
    config_rejected: bool = False
    """Written by the thread that watches the settings file, and by nobody else."""
    heartbeat_at: float = 0.0
    """`time.monotonic()` of the control thread's last turn; 0 before the first. Liveness is judged by its age."""
    librdkafka: dict[str, Any] = field(default_factory=dict)
    """The client's last statistics report, replaced whole; empty until the first."""
    user: UserMetrics = field(default_factory=lambda: user_metrics.OWN, repr=False, compare=False)
    """The user's own metrics: of the whole process, so that a handler needs no reference to its consumer."""

    def count_processed(self, *, topic: str, partition: int, status: Status, messages: int = 1) -> None:
        """Count finished messages of one partition."""
        key = (topic, partition, status)
        self.processed[key] = self.processed.get(key, 0) + messages

    def observe_poll(self, *, returned: int, asked: int) -> None:
        """Smooth the share of a poll that came back full: each poll weighs a tenth."""
        self.poll_fill_ratio += 0.1 * (returned / asked - self.poll_fill_ratio)

    def snapshot(self) -> Snapshot:
        """Return a copy for a reader. Safe from any thread: each container is copied in one step of the interpreter.

        Two fields may be one batch apart; a scrape does not mind.
        """
        own = {"user_counts": self.user.counts(), "user_distributions": self.user.distributions()}
        names = [name for name in Snapshot.__dataclass_fields__ if name not in own]
        values = {name: _copied(getattr(self, name)) for name in names} | own
        values["partitions"] = {key: copy.copy(each) for key, each in values["partitions"].items()}
        return Snapshot(**values)


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, dict | Histogram) else value
