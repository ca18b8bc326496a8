"""Threads take short turns while calls wait, and as the program has them otherwise."""

import sys
from collections.abc import Iterator

import pytest

from consumer_runtime.engines.pace import SHORT_TURN_SECONDS, Pace

PYTHONS = 0.005


@pytest.fixture(autouse=True)
def turns() -> Iterator[None]:
    """Python's own interval, before and after."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(PYTHONS)
    yield
    sys.setswitchinterval(before)


def paced(*call_seconds: float) -> Pace:
    """Return a pace after so many hundreds of calls of these lengths."""
    made, total = Pace(), 0.0
    for seconds in call_seconds:
        for _ in range(120):
            total += 100 * seconds
            made.took(100, total)
    made.take_turns()
    return made


def test_waiting_calls_make_turns_short_and_the_end_restores_them():
    """And only once: what was found is what is restored."""
    pace = paced(0.005)
    pace.take_turns()
    assert sys.getswitchinterval() == pytest.approx(SHORT_TURN_SECONDS)
    pace.end()
    assert sys.getswitchinterval() == PYTHONS


def test_calls_that_do_not_wait_leave_turns_alone():
    """A switch costs them more than it brings."""
    paced(0.00001)
    assert sys.getswitchinterval() == PYTHONS


def test_turns_follow_calls_that_become_short():
    """Both ways, in one engine."""
    pace, total = paced(0.005), 120 * 100 * 0.005
    for _ in range(120):
        total += 100 * 0.00001
        pace.took(100, total)
    pace.take_turns()
    assert sys.getswitchinterval() == PYTHONS


def test_interval_of_the_program_is_kept():
    """Whoever set one has a reason."""
    sys.setswitchinterval(0.001)
    pace = paced(0.005)
    assert sys.getswitchinterval() == pytest.approx(0.001)
    pace.end()
    assert sys.getswitchinterval() == pytest.approx(0.001)


@pytest.mark.parametrize(("call_seconds", "follows"), [(0.0009, 5), (0.006, 0), (0.0, 5_000)])
def test_chains_hold_five_milliseconds_of_work(call_seconds: float, follows: int):
    """However short the calls."""
    assert paced(call_seconds).follows == pytest.approx(follows, abs=follows * 0.05)
