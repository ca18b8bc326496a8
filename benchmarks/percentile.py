"""Percentiles of histograms, as Prometheus computes them: within a bucket by proportion. Pure."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


def percentile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """Return below what `share` of all observations lie, in the unit of `bounds`; None of none.

    `counts` has one more than `bounds`, for what is beyond the last: that counts as the last bound.
    """
    totals = list(accumulate(counts))
    if not totals[-1]:
        return None
    wanted = share * totals[-1]
    place = bisect_left(totals, wanted)
    if place >= len(bounds):
        return bounds[-1]
    low, before = (bounds[place - 1], totals[place - 1]) if place else (0.0, 0)
    return low + (bounds[place] - low) * (wanted - before) / max(1, counts[place])
