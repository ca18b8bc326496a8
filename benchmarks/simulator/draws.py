"""Seeded chance, drawn in advance: service times, and the keys of each partition. Tables are cycled, which is fast."""

import itertools
import math
import random
from collections.abc import Iterator

from benchmarks.simulator.workload import Keys, Service

TABLE = 32_768
"""Draws in one table."""
Z99 = 2.326
"""The 99th percentile of the standard normal distribution."""


def service_seconds(service: Service, seed: int) -> Iterator[float]:
    """Return an endless, seeded sequence of waiting times downstream, log-normal by their median and p99."""
    chance = random.Random(f"service-{seed}")
    median = service.latency_ms_p50 / 1_000
    if median <= 0:
        return itertools.repeat(0.0)
    sigma = math.log(service.latency_ms_p99 / service.latency_ms_p50) / Z99
    return itertools.cycle([median * math.exp(chance.gauss(0, sigma)) for _ in range(TABLE)])


class KeyDraws:
    """Which partition gets what share of the messages, and whose keys they carry."""

    def __init__(self, keys: Keys, partitions: int, seed: int) -> None:
        chance = random.Random(f"keys-{seed}")
        weights = [1 / (rank + 1) ** keys.zipf for rank in range(keys.count)]
        order = list(range(keys.count))
        chance.shuffle(order)
        members: list[list[int]] = [order[partition::partitions] for partition in range(partitions)]
        total = sum(weights)
        self.shares = [sum(weights[key] for key in group) / total for group in members]
        self._draws = [self._table(chance, group, weights) for group in members]

    @staticmethod
    def _table(chance: random.Random, group: list[int], weights: list[float]) -> Iterator[int]:
        if not group:
            return itertools.repeat(-1)
        return itertools.cycle(chance.choices(group, [weights[key] for key in group], k=TABLE))

    def take(self, partition: int, count: int) -> list[int]:
        """Return the keys of the next messages of a partition."""
        return list(itertools.islice(self._draws[partition], count))
