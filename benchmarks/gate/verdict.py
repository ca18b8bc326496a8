"""What a gate run says against the stored one. Pure: values in, reasons out."""

from collections.abc import Mapping
from dataclasses import dataclass

P99_SLACK_MS = 5.0
"""Of a latency: below it a difference is the scheduler's."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One setting of the matrix."""

    msgs_per_second: float
    of_raw: float
    """Its rate over the raw loop's in the same run: what survives a faster or busier machine."""
    latency_ms_p99: float | None
    """At half load; None where there is no open loop."""


def regressions(now: Mapping[str, Cell], stored: Mapping[str, Cell], *, tolerance: float) -> list[str]:
    """Return a sentence for each cell that became slower, or its p99 longer, by more than the tolerance.

    A p99 may grow by twice the tolerance and 5 ms: it is the noisier figure. Cells that only one side has say nothing.
    """
    found = []
    for name, cell in now.items():
        before = stored.get(name)
        if before is None:
            continue
        if cell.of_raw < before.of_raw * (1 - tolerance):
            found.append(f"{name}: {cell.of_raw:.4f} of the raw loop, was {before.of_raw:.4f}")
        p99, p99_before = cell.latency_ms_p99, before.latency_ms_p99
        if p99 is not None and p99_before is not None and p99 > p99_before * (1 + 2 * tolerance) + P99_SLACK_MS:
            found.append(f"{name}: p99 {p99:.1f} ms, was {p99_before:.1f} ms")
    return found
