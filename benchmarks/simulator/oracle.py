"""The best static settings of a workload, by a coarse-to-fine grid search on the same seed. It knows no controller.

Best is the highest rate under the objective; of those within 1 % of it, the smallest knobs.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.simulator.loop import Run, Static, run
from benchmarks.simulator.workload import Knobs, Workload
from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator.resource.tuning import Freeze, Knob

MEASURED_SHARE = 1 / 3
"""The last part of a run is measured: by then a tuner had its time."""
MESSAGES = 120_000
"""One try is cut to about so many messages; a rate needs no more."""
SHORTEST_SECONDS = 15.0
WARM_UP_SECONDS = 5.0
WITHIN = 0.01
COARSE, FINE = 2.0, 1.1


@dataclass(frozen=True, slots=True)
class Try:
    """One static setting, and what it did."""

    knobs: Knobs
    rate: float
    """Messages per second."""
    latency_p99: float
    """Seconds, from admission to completion."""
    allowed: bool
    """Whether the handler's p99 kept to the objective, and errors to the limit that the tuner has as well."""


class Oracle:
    """Tries settings, each once."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._tried: dict[tuple[int, ...], Try] = {}
        self._begin, self._end = _measured_part(workload)

    def best(self) -> Try:
        """Return the smallest settings within 1 % of the best rate under the objective."""
        knobs = {knob: self._workload.bounds[knob][1] for knob in Knob}
        # A usual batch to begin with: the largest would only make the look-ahead longer.
        usual = min(1_000, knobs[Knob.POLL_BATCH_SIZE])
        knobs[Knob.POLL_BATCH_SIZE] = max(self._workload.start[Knob.POLL_BATCH_SIZE], usual)
        for _ in range(2):
            for knob in _searched(self._workload.mode):
                knobs[knob] = self._smallest_best(knobs, knob)
        return self.attempt(knobs)

    def attempt(self, knobs: Knobs) -> Try:
        """Return what a static setting does over the measured part."""
        key = tuple(knobs[knob] for knob in Knob)
        if key not in self._tried:
            begin = max(0.0, self._begin - WARM_UP_SECONDS)
            kept = run(self._workload, Static(), begin=begin, end=self._end, knobs=knobs)
            self._tried[key] = Try(
                knobs=dict(knobs),
                rate=kept.rate(self._begin, self._end),
                latency_p99=kept.latency_p99(self._begin, self._end) or 0.0,
                allowed=_keeps_objective(kept) and _keeps_errors(kept),
            )
        return self._tried[key]

    def _smallest_best(self, knobs: Knobs, knob: Knob) -> int:
        """Return the smallest value of one knob within 1 % of the best, the others as they are."""
        low, high = self._workload.bounds[knob]
        coarse = sorted({*_ladder(low, high, COARSE), knobs[knob]})
        peak = self._peak(knobs, knob, coarse)
        fine = _ladder(max(low, round(peak / COARSE)), min(high, round(peak * COARSE)), FINE)
        values = sorted({*coarse, *fine})
        best = max(self._score(knobs, knob, value) for value in values)
        return next(value for value in values if self._score(knobs, knob, value) >= best * (1 - WITHIN))

    def _peak(self, knobs: Knobs, knob: Knob, values: list[int]) -> int:
        best = max(self._score(knobs, knob, value) for value in values)
        return next(value for value in values if self._score(knobs, knob, value) >= best * (1 - WITHIN))

    def _score(self, knobs: Knobs, knob: Knob, value: int) -> float:
        tried = self.attempt({**knobs, knob: value})
        return tried.rate if tried.allowed else 0.0


def _searched(mode: Mode) -> Iterable[Knob]:
    if mode is Mode.SINGLE:
        return (Knob.POLL_BATCH_SIZE,)
    pool = (Knob.WORKER_POOL_SIZE,) if mode in {Mode.THREAD, Mode.PROCESS} else ()
    return (Knob.MAX_IN_FLIGHT, *pool, Knob.POLL_BATCH_SIZE)


def _ladder(low: int, high: int, factor: float) -> list[int]:
    values, value = [low], float(low)
    while value < high:
        value = max(value * factor, value + 1)
        values.append(min(high, round(value)))
    return values


def _measured_part(workload: Workload) -> tuple[float, float]:
    """Return (begin, end) of what a try is measured on: the last third, or less of it when there are many messages.

    Faults inside the last third are never cut away.
    """
    begin, end = workload.seconds * (1 - MEASURED_SHARE), workload.seconds
    if any(fault.end > begin and fault.at < end for fault in workload.faults):
        return begin, end
    rates = [workload.rate_at(begin + (end - begin) * place / 20) for place in range(20)]
    if max(rates) > 1.05 * min(rates):
        return begin, end
    return max(begin, end - max(SHORTEST_SECONDS, MESSAGES / max(1.0, *rates))), end


def _keeps_errors(kept: Run) -> bool:
    limit = Freeze().max_error_percent / 100
    values = sorted(look.measured.error_ratio for look in kept.looks if look.measured is not None)
    return not values or values[len(values) // 2] <= limit


def _keeps_objective(kept: Run) -> bool:
    limit = kept.workload.objective.max_latency_ms_p99
    if limit is None:
        return True
    values = sorted(look.measured.service_seconds_p99 or 0.0 for look in kept.looks if look.measured is not None)
    return not values or values[len(values) // 2] * 1_000 <= limit
