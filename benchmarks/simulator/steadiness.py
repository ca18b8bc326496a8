"""When a run came to rest, and what moved afterwards: changes of knobs against the changes of the load. Pure.

A stretch is the time between two changes of the load: of the arrival rate, or of what goes wrong.
"""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.simulator.loop import Run, steps
from benchmarks.simulator.workload import Fault, FaultKind, Workload
from parallel_consumer_operator.resource.tuning import Knob
from parallel_consumer_operator.tuning.rules import NEVER

COUNTED_WINDOWS = 30
"""So many windows after convergence nothing may change (issue's target)."""
STAYS = 1.25
"""A lag within this of the last one has come down to it."""
MOMENTARY = {FaultKind.REBALANCE, FaultKind.POD_RESTART}


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time of one load."""

    begin: float
    end: float


def stretches(workload: Workload) -> list[Stretch]:
    """Return the times of one load, in order."""
    edges = {0.0, workload.seconds}
    second = 0.0
    for before, after in pairwise(workload.arrivals):
        second += before.seconds
        if before.rate != after.rate:
            edges.add(second)
    for fault in workload.faults:
        edges.update(edge for edge in _edges(fault) if edge < workload.seconds)
    return [Stretch(begin, end) for begin, end in pairwise(sorted(edges))]


def _edges(fault: Fault) -> tuple[float, ...]:
    return (fault.at,) if fault.kind in MOMENTARY else (fault.at, fault.end)


def rest_seconds(workload: Workload) -> float:
    """Return how long nothing has to change for a run to have converged: a long window, and two short ones.

    Lowering what was idle for a whole long window is part of finding the value, not unrest.
    """
    behavior = workload.bench.behavior
    return behavior.long_window_seconds + 2 * behavior.window_seconds


def converged_at(kept: Run, stretch: Stretch) -> float | None:
    """Return the last change before the first rest in a stretch, its begin without any change; None: no rest.

    While a backlog is worked off the load is what comes and the backlog: it is steady once that is gone.
    """
    moments, steady = _changes(kept, stretch) or [stretch.begin], caught_up_at(kept, stretch)
    rest = rest_seconds(kept.workload)
    settled = ((before, after - max(before, steady)) for before, after in pairwise([*moments, stretch.end]))
    return next((before for before, rested in settled if rested >= rest), None)


def caught_up_at(kept: Run, stretch: Stretch) -> float:
    """Return when a lag over its target was down to where it stayed; the begin where there was none, or it stays over.

    Where it stayed is a tenth of the target, or what is left at the end: what waits for its keys is a lag too.
    """
    target, was_behind = kept.workload.objective.target_lag_seconds, False
    lags = [(moment, lag) for moment, lag in kept.lag_seconds if stretch.begin <= moment < stretch.end]
    level = max(target / 10, STAYS * lags[-1][1]) if lags else 0.0
    for moment, lag in lags if level < target else []:
        was_behind = was_behind or lag > target
        if was_behind and lag <= level:
            return moment
    return stretch.begin


def windows_to_converge(kept: Run) -> float | None:
    """Return the windows from the last change of the load to convergence; None when it did not come to rest."""
    last = stretches(kept.workload)[-1]
    moments = [last.begin, *_changes(kept, last)]
    at = converged_at(kept, last)
    at = moments[-1] if at is None and last.end - last.begin < rest_seconds(kept.workload) else at
    return None if at is None else round((at - last.begin) / kept.workload.bench.behavior.window_seconds, 1)


def changes_after_convergence(kept: Run) -> int:
    """Count changes of knobs in the 30 windows after convergence, in each stretch of one load."""
    return sum(_late(kept, stretch) for stretch in stretches(kept.workload))


def _late(kept: Run, stretch: Stretch) -> int:
    at = converged_at(kept, stretch)
    if at is None:
        return 0
    until = at + COUNTED_WINDOWS * kept.workload.bench.behavior.window_seconds
    return sum(at < moment <= until for moment in _changes(kept, stretch))


def _changes(kept: Run, stretch: Stretch) -> list[float]:
    return [moment for moment, _ in steps(kept) if stretch.begin < moment < stretch.end]


def longest_below(kept: Run, start: Run) -> float:
    """Return the longest time in seconds in which a run did over 5 % less than the start does, while it was behind.

    Rates are those of half a window; a run that has no backlog beyond its target has nothing to be faster for, and what
    waits for its keys is not held back by a knob: a run that was faster has more of those left.
    """
    span = kept.workload.bench.behavior.window_seconds / 2
    target, scrape = kept.workload.objective.target_lag_seconds, kept.workload.bench.scrape_seconds
    longest = current = 0.0
    for moment, lag in kept.lag_seconds:
        begun = max(0.0, moment - span)
        worse = lag > target and kept.rate(begun, moment) < 0.95 * start.rate(begun, moment)
        worse = worse and not _keys_wait(kept, moment)
        current = current + scrape if worse else 0.0
        longest = max(longest, current)
    return longest


def _keys_wait(kept: Run, moment: float) -> bool:
    """Whether, at the last look, no limit was reached and more messages waited in memory than may be in flight."""
    place = bisect_right(kept.looks, moment, key=lambda look: look.second) - 1
    seen = kept.looks[place].measured if place >= 0 else None
    if seen is None:
        return False
    return seen.limit_full < NEVER and seen.queued > kept.looks[place].knobs[Knob.MAX_IN_FLIGHT] * seen.pods
