"""What a member is told and what it answers, as JSON lines. Values only."""

from dataclasses import asdict, dataclass, field
from typing import Any

MEGABYTE = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Job:
    """One consumer's run."""

    settings: dict[str, Any]
    """RuntimeSettings."""
    seconds: float
    """The run's end at the latest, from the assignment on."""
    messages: int | None = None
    """It ends when so many are finished; None: only by time."""
    retries: int | None = None
    """It ends when so many retries were scheduled."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a member saw."""

    seconds: float
    """From the fetch of the first message to the end of the last that succeeded; else from the assignment on."""
    reached: bool
    """Whether the job ended by its count, and not by time."""
    error: str = ""
    """Why the consumer did not run, in the runtime's words."""
    succeeded: int = 0
    failed: int = 0
    dead_lettered: int = 0
    retried: int = 0
    latency_ms: dict[str, float] = field(default_factory=dict)
    """From the fetch of a message to its end: average, p50, p95, p99."""
    handler_ms: dict[str, float] = field(default_factory=dict)
    """Of the handler alone: average and p99, the latter interpolated within the runtime's buckets."""
    mode: str = ""
    mode_reason: str = ""
    import_seconds: float = 0.0
    """From the start of the process to the runtime imported."""
    init_seconds: float = 0.0
    """To make the consumer from its settings."""
    join_seconds: float = 0.0
    """From `run` to partitions assigned."""
    cpu_seconds: float = 0.0
    """Of the process and its children, between assignment and end."""
    cpu_share: float = 0.0
    """CPU seconds per second meanwhile: 1 is a core."""
    rss_before_mb: float = 0.0
    rss_peak_mb: float = 0.0
    """Of the process and its children together."""
    rss_end_mb: float = 0.0
    """The same at the job's end."""
    max_rss_mb: float = 0.0
    """Of the consumer's process alone."""
    pauses: int = 0
    timeline: list[list[float]] = field(default_factory=list)
    """[seconds since the assignment, finished, retried, CPU seconds], a few a second, the job's end included."""
    warnings: list[str] = field(default_factory=list)
    """Lines on standard error that warn of something."""

    @property
    def finished(self) -> int:
        """Messages done with, however they ended."""
        return self.succeeded + self.failed + self.dead_lettered

    @property
    def watched_seconds(self) -> float:
        """Return the seconds from the assignment to the job's end, dead letters included."""
        return max(self.timeline[-1][0] if self.timeline else self.seconds, 1e-9)

    @property
    def rate(self) -> float:
        """Messages per second that succeeded."""
        return self.succeeded / max(self.seconds, 1e-9)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)
