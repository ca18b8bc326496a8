"""What a handler counts and measures of its own, in any mode: exported at /metrics beside ours.

    from consumer_runtime import count, observe

    count("orders_paid", country=order.country)           # consumer_user_orders_paid_total{country="pt"}
    observe("basket_items", len(items), buckets=(1, 5, 20))  # histogram consumer_user_basket_items

A worker process sends what it counted along with its answers; what a killed worker had not sent is gone. Imported by
workers, so it knows no Prometheus client and no settings. Not here: names and the page (`exposition`).
"""

import threading
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from consumer_runtime.contract.metrics import LATENCY_BUCKETS

Labels = tuple[tuple[str, str], ...]
Series = tuple[str, Labels]
SERIES_AT_MOST = 1_000
"""Counters and histograms together; new ones are dropped then: a label like an order number would fill the memory."""


class Distribution(NamedTuple):
    """A histogram: counts by upper bound, the last of what lies above every bound, and the sum of the values."""

    bounds: tuple[float, ...]
    counts: list[int]
    total: float


class UserMetrics:
    """Counters and histograms by name and labels. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Series, float] = {}
        self._distributions: dict[Series, Distribution] = {}

    def count(self, name: str, amount: float = 1.0, /, **labels: object) -> None:
        """Add to a counter. Raises ValueError for a negative amount: counters only grow."""
        if not amount >= 0:
            raise ValueError(f"count({name!r}, {amount!r}): the amount must be 0 or more")
        key = _series(name, labels)
        with self._lock:
            if key in self._counts or self._has_room():
                self._counts[key] = self._counts.get(key, 0.0) + amount

    def observe(
        self, name: str, value: float, /, *, buckets: Sequence[float] = LATENCY_BUCKETS, **labels: object
    ) -> None:
        """Add a value to a histogram; `buckets` are ascending upper bounds, by default seconds from 0.1 ms to 60 s.

        The bounds of a series' first observation stay. Raises ValueError for bounds that do not ascend.
        """
        key = _series(name, labels)
        with self._lock:
            found = self._distributions.get(key)
            if found is None:
                if not self._has_room():
                    return
                bounds = _ascending(name, buckets)
                found = Distribution(bounds, [0] * (len(bounds) + 1), 0.0)
            found.counts[bisect_left(found.bounds, value)] += 1
            self._distributions[key] = found._replace(total=found.total + value)

    def take(self) -> tuple[Any, ...] | None:
        """Return all and begin anew, as plain values for `add` in another process; None when there is nothing."""
        if not (self._counts or self._distributions):
            return None
        with self._lock:
            taken = (self._counts, {key: tuple(each) for key, each in self._distributions.items()})
            self._counts, self._distributions = {}, {}
        return taken

    def add(self, taken: tuple[Any, ...]) -> None:
        """Add what another process took. A histogram with other bounds than ours is left out."""
        counts, distributions = taken
        with self._lock:
            for key, amount in counts.items():
                if key in self._counts or self._has_room():
                    self._counts[key] = self._counts.get(key, 0.0) + amount
            for key, each in distributions.items():
                self._merge(key, Distribution(*each))

    def counts(self) -> dict[Series, float]:
        """Return a copy of the counters."""
        with self._lock:
            return dict(self._counts)

    def distributions(self) -> dict[Series, Distribution]:
        """Return a copy of the histograms."""
        with self._lock:
            return {key: each._replace(counts=list(each.counts)) for key, each in self._distributions.items()}

    def _merge(self, key: Series, more: Distribution) -> None:
        found = self._distributions.get(key)
        if found is None:
            if self._has_room():
                self._distributions[key] = more
        elif found.bounds == more.bounds:
            counts = [ours + theirs for ours, theirs in zip(found.counts, more.counts, strict=True)]
            self._distributions[key] = Distribution(found.bounds, counts, found.total + more.total)

    def _has_room(self) -> bool:
        return len(self._counts) + len(self._distributions) < SERIES_AT_MOST


def _series(name: str, labels: dict[str, object]) -> Series:
    return name, tuple(sorted((key, str(value)) for key, value in labels.items()))


def _ascending(name: str, buckets: Sequence[float]) -> tuple[float, ...]:
    bounds = tuple(float(each) for each in buckets)
    if not bounds or any(low >= high for low, high in pairwise(bounds)):
        raise ValueError(f"observe({name!r}, buckets={buckets!r}): buckets must be ascending numbers, at least one")
    return bounds


OWN = UserMetrics()
"""This process's; in the parent of worker processes theirs are added."""
count = OWN.count
observe = OWN.observe
