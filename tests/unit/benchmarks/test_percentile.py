"""Percentiles of histograms."""

import pytest

from benchmarks.percentile import percentile

BOUNDS = (1.0, 2.0, 4.0)


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ([100, 0, 0, 0], 0.5, 0.5),
        ([50, 50, 0, 0], 0.5, 1.0),
        ([50, 0, 50, 0], 0.75, 3.0),
        ([99, 0, 1, 0], 0.99, 1.0),
        ([98, 0, 2, 0], 0.99, 3.0),
        ([0, 0, 0, 7], 0.99, 4.0),
    ],
)
def test_percentile_lies_within_its_bucket_by_proportion(counts: list[int], share: float, expected: float) -> None:
    """An empty bucket is passed over, and what is beyond the last bound counts as that."""
    assert percentile(BOUNDS, counts, share) == pytest.approx(expected)


def test_percentile_of_nothing_is_none() -> None:
    """What handled nothing has no latency."""
    assert percentile(BOUNDS, [0, 0, 0, 0], 0.99) is None
