"""Exact percentiles of what the runtime otherwise counts in buckets, and exact times of first and last.

A bucket from 1 to 2.5 s would make 1.75 s of a job of 1.01 s. And a thread that looks from beside comes late when the
handler's threads hold the interpreter: these times are taken by the control thread, as it books the messages.
"""

import time
from dataclasses import dataclass, field

from consumer_runtime.statistics import Histogram

_SAMPLES_AT_MOST = 500_000


@dataclass(slots=True)
class Latencies(Histogram):
    """A histogram that also keeps its observations, the first half million of them."""

    samples: list[tuple[float, int]] = field(default_factory=list)
    first_fetch_at: float = float("inf")
    last_done_at: float = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        """Count observations of the same length."""
        Histogram.observe(self, seconds, times)
        self.last_done_at = time.monotonic()
        self.first_fetch_at = min(self.first_fetch_at, self.last_done_at - seconds)
        if len(self.samples) < _SAMPLES_AT_MOST:
            self.samples.append((seconds, times))

    @property
    def seconds(self) -> float:
        """Return the time from the fetch of the first message to the end of the last one; 0 without any."""
        return max(self.last_done_at - self.first_fetch_at, 0.0)

    def summary_ms(self) -> dict[str, float]:
        """Return average, p50, p95 and p99 in milliseconds; nothing without observations."""
        if not self.samples:
            return {}
        ordered = sorted(self.samples)
        shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
        total = sum(times for _, times in ordered)
        found = {name: round(1e3 * _at(ordered, share * total), 3) for name, share in shares.items()}
        return {"average": round(1e3 * self.total_seconds / max(self.count, 1), 3), **found}


def _at(ordered: list[tuple[float, int]], wanted: float) -> float:
    seen = 0
    for seconds, times in ordered:
        seen += times
        if seen >= wanted:
            return seconds
    return ordered[-1][0]
