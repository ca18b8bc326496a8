"""Which message fails, waits, hangs or is poison: pure functions of (seed, partition, offset), with no state to lose.

A draw must come out the same in every process and after every restart, so it is computed and never remembered. What
may happen only once in a case (a hang that ends a whole process) is marked by the handler on disk, not here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from benchmarks.chaos.plan import Case, Mark
from consumer_runtime.contract.settings import Mode, Ordering

_MASK = (1 << 64) - 1


class Salt(IntEnum):
    """Keeps draws about one message independent of each other."""

    POISON = 1
    FAILURE = 2
    WORK = 3
    WORK_SECONDS = 4
    HANG = 5
    BLOCK = 6
    EXIT = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Odds:
    """How often something is drawn, as shares of all messages, 0 to 1."""

    poison: float
    """Raises at every attempt."""
    failure: float
    """Raises at attempt 1, and half of these at attempt 2; never at attempt 3, so that retries always suffice."""
    work: float
    """Works for a while."""
    work_seconds_max: float
    """Longest of those while; uniform from 0."""


def odds_of(case: Case) -> Odds:
    """Return the odds of a case. A partition in order stands still for each retry, so it gets fewer of them."""
    serial = case.ordering is Ordering.PARTITION
    waits = case.mode in {Mode.ASYNC, Mode.THREAD}
    return Odds(
        poison=0.0001 if serial else 0.0005,
        failure=0.002 if serial else 0.01,
        work=0.1 if waits else 0.02,
        # one key has an eighth of all messages, one after the other: what it waits for must not be most of the case
        work_seconds_max=0.002,
    )


def share(seed: int, *, partition: int, offset: int, salt: Salt) -> float:
    """Return a number in [0, 1), uniform and independent for each (partition, offset, salt): splitmix64's finaliser."""
    state = (seed * 0xA24BAED4963EE407 + partition * 0x9E3779B97F4A7C15 + offset * 0xD1B54A32D192ED03) & _MASK
    state ^= salt << 56
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((state ^ (state >> 31)) >> 11) / (1 << 53)


def is_poison(seed: int, odds: Odds, *, partition: int, offset: int) -> bool:
    """Return whether the message raises at every attempt."""
    return share(seed, partition=partition, offset=offset, salt=Salt.POISON) < odds.poison


def fails(seed: int, odds: Odds, *, partition: int, offset: int, attempt: int) -> bool:
    """Return whether a message that is not poison raises at this attempt, counted from 1."""
    limit = {1: odds.failure, 2: odds.failure / 2}.get(attempt, 0.0)
    return limit > 0 and share(seed, partition=partition, offset=offset, salt=Salt.FAILURE) < limit


def work_seconds(seed: int, odds: Odds, *, partition: int, offset: int) -> float:
    """Return how long the handler works on the message; 0 for most."""
    if share(seed, partition=partition, offset=offset, salt=Salt.WORK) >= odds.work:
        return 0.0
    return odds.work_seconds_max * share(seed, partition=partition, offset=offset, salt=Salt.WORK_SECONDS)


def marked(case: Case) -> Mapping[tuple[int, int], Mark]:
    """Return the few (partition, offset) at which the handler does something drastic, once each in a case.

    They lie in the first half of what each partition gets on average, so that every partition gets that far, also when
    others are added, and the case is still under load afterwards.
    """
    return {_position(case, mark, number): mark for mark, count in case.marks.items() for number in range(count)}


def _position(case: Case, mark: Mark, number: int) -> tuple[int, int]:
    partition = (number * 3 + case.seed) % case.partitions
    along = share(case.seed, partition=partition, offset=number, salt=Salt[mark.name])
    return partition, int(case.messages / case.partitions * (0.08 + 0.32 * along))
