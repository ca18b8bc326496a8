import os

import pytest

from benchmarks.compare.errors import RunFailedError
from benchmarks.figures import pods
from benchmarks.figures.pods import Point


def points(*measured: tuple[int, float, float]):
    """Return points of (pods, messages a second, busy cores)."""
    return [Point(pods=count, rate=rate, busy=busy) for count, rate, busy in measured]


def test_with_room_on_the_cores_the_most_pods_are_judged():
    """Four pods must carry nearly four times as much as one, and the figure says that nothing was full."""
    found = pods.figure(16, points((1, 3_000, 0.3), (2, 6_000, 0.5), (4, 11_700, 0.9)), cores=2)
    assert (found.value, found.at_least, found.is_met) == (3.9, 3.6, True)
    assert "with 4; 2 cores are never full" in found.unit
    assert found.points["4 pods: times one"] == 3.9


def test_more_pods_that_carry_too_little_miss_the_target():
    """The cores have room, so there is no excuse."""
    found = pods.figure(16, points((1, 3_000, 0.3), (2, 6_000, 0.5), (4, 9_000, 0.9)), cores=2)
    assert (found.value, found.is_met) == (3.0, False)


@pytest.mark.parametrize(("busy_with_two", "full_with", "judged"), [(1.2, 4, 2), (1.85, 2, 1)])
def test_pods_beyond_full_cores_are_told_and_not_judged(busy_with_two, full_with, judged):
    """Where there is nothing left to compute with, more pods can carry no more; the figure says with how many."""
    found = pods.figure(256, points((1, 30_000, 1.0), (2, 58_000, busy_with_two), (4, 61_000, 1.95)), cores=2)
    assert f"with {judged}; 2 cores are full with {full_with}" in found.unit
    assert found.is_met
    assert found.points["4 pods: messages/s"] == 61_000


def test_a_machine_that_others_use_gives_no_figure():
    """Else one pod would find the cores full, and the target would be met by doing nothing."""
    pods.require_idle(0.6, 2)
    with pytest.raises(RunFailedError, match=r"1\.9 of 2 cores are busy before there is a pod"):
        pods.require_idle(1.9, 2)


def test_names_do_not_change_with_what_was_measured():
    """A run takes the place of the one before it in the file."""
    first, second = (pods.figure(64, points((1, rate, busy)), cores=2) for rate, busy in [(1.0, 0.1), (2.0, 1.9)])
    assert first.name == second.name


def test_busy_is_all_but_idle_and_waiting_for_disks():
    """Columns of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already."""
    ticks = os.sysconf("SC_CLK_TCK")
    stat = f"cpu  {5 * ticks} {ticks} {2 * ticks} {100 * ticks} {50 * ticks} {ticks} 0 {ticks} 7 7\ncpu0 1 1 1 1\n"
    assert pods.busy_seconds(stat) == 10.0
