"""A small subset of the matrix in which every pair of values of two dimensions still occurs. Pure."""

import random
from collections.abc import Hashable, Iterable, Sequence
from itertools import combinations, product

from benchmarks.chaos.plan import Case

_TRIES = 32
Pair = tuple[tuple[int, Hashable], tuple[int, Hashable]]


def subset(cases: Sequence[Case], *, seed: int = 0) -> list[Case]:
    """Return cases that cover every pair which the whole covers: the smallest of several greedy, seeded tries.

    Greedy covering as in AETG (Cohen et al., 1997). With 4 modes and 3 orderings no subset is smaller than 12.
    """
    tries = (_greedy(cases, random.Random(seed + attempt)) for attempt in range(_TRIES))
    return min(tries, key=len)


def pairs(case: Case) -> frozenset[Pair]:
    """Return every pair of (dimension, value) of one case; two families of one case are not a pair."""
    values = (case.mode, case.ordering, case.protocol)
    apart = combinations(enumerate(values), 2)
    with_families = product(enumerate(values), ((len(values), family) for family in case.families))
    return frozenset((*apart, *with_families))


def uncovered(cases: Iterable[Case], whole: Iterable[Case]) -> frozenset[Pair]:
    """Return the pairs of the whole that `cases` leave out."""
    return _all_pairs(whole) - _all_pairs(cases)


def _greedy(cases: Sequence[Case], draw: random.Random) -> list[Case]:
    left, open_pairs, chosen = draw.sample(cases, len(cases)), set(_all_pairs(cases)), []
    while open_pairs:
        best = max(left, key=lambda case: len(pairs(case) & open_pairs))
        left.remove(best)
        open_pairs -= pairs(best)
        chosen.append(best)
    return chosen


def _all_pairs(cases: Iterable[Case]) -> frozenset[Pair]:
    return frozenset(pair for case in cases for pair in pairs(case))
