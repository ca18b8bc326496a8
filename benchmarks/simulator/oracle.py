"""The best static settings of a workload, by a coarse-to-fine grid search on the same seed. It knows no controller.

Best is the highest rate under the objective; of those within 1 % of it, the smallest knobs.
"""

from dataclasses import dataclass

from benchmarks.simulator.loop import Run, Static, run
from benchmarks.simulator.workload import Knobs, Workload
from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator.resource.tuning import Freeze, Knob

MEASURED_SHARE = 1 / 3
"""The last part of a run is measured: by then a tuner had its time."""
MESSAGES = 40_000
"""One try is cut to about so many messages: drawn service times then leave a mean within 0.3 %."""
SHORTEST_SECONDS = 12.0
SHORTEST_SERVICES = 20
"""And a try takes at least so many service times, of which a third to get going before it is measured."""
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
        self._offered = _offered(workload, self._begin, self._end)
        """Messages per second that come in the measured part: no static setting, without a backlog, does more."""
        self._warm_up = max(WARM_UP_SECONDS, SHORTEST_SERVICES / 3 * _service_seconds(workload))

    def best(self) -> Try:
        """Return the smallest settings within 1 % of the best rate under the objective."""
        searched = _searched(self._workload.mode)
        knobs = {knob: self._workload.bounds[knob][1] if knob in searched else self._workload.start[knob]
                 for knob in Knob}  # fmt: skip
        # A usual batch to begin with: the largest would only make the look-ahead longer.
        usual = min(1_000, knobs[Knob.POLL_BATCH_SIZE])
        knobs[Knob.POLL_BATCH_SIZE] = max(self._workload.start[Knob.POLL_BATCH_SIZE], usual)
        # With a pool the knobs depend on each other: once more around, from the values found.
        for _ in range(2 if Knob.WORKER_POOL_SIZE in searched else 1):
            for knob in searched:
                knobs[knob] = self._smallest_best(knobs, knob)
        return self.attempt(knobs)

    @property
    def tries(self) -> int:
        """Settings tried."""
        return len(self._tried)

    def attempt(self, knobs: Knobs) -> Try:
        """Return what a static setting does over the measured part."""
        key = tuple(knobs[knob] for knob in Knob)
        if key not in self._tried:
            begin = max(0.0, self._begin - self._warm_up)
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
        scores = self._scores(knobs, knob, coarse)
        coarse = coarse[: len(scores)]
        best, place = max(scores), scores.index(max(scores))
        before, after = coarse[max(0, place - 1)], coarse[min(len(coarse) - 1, place + 1)]
        neighbours = [score for score in scores[max(0, place - 1) : place + 2] if score >= best * (1 - WITHIN)]
        # A peak, not a plateau: it may lie on either side of the best so far.
        if len(neighbours) < 2 and best < self._offered * (1 - WITHIN):
            between = _ladder(before, after, FINE)
            best = max(best, *(self._score(knobs, knob, value) for value in between))
            coarse = sorted({*coarse, *between})
        first = next(index for index, value in enumerate(coarse) if self._enough(knobs, knob, value, best))
        return coarse[first] if first == 0 else self._edge(knobs, knob, coarse[first - 1 : first + 1], best)

    def _scores(self, knobs: Knobs, knob: Knob, values: list[int]) -> list[float]:
        """Return the score of each value, smallest first, up to the first that carries all that comes."""
        scores: list[float] = []
        for value in values:
            scores.append(self._score(knobs, knob, value))
            if scores[-1] >= self._offered * (1 - WITHIN):
                break
        return scores

    def _edge(self, knobs: Knobs, knob: Knob, pair: list[int], best: float) -> int:
        """Return where, between a value that is too small and one that is enough, enough begins."""
        values = [value for value in _ladder(pair[0], pair[1], FINE) if value > pair[0]]
        low, high = 0, len(values) - 1
        while low < high:
            middle = (low + high) // 2
            if self._enough(knobs, knob, values[middle], best):
                high = middle
            else:
                low = middle + 1
        return values[low]

    def _enough(self, knobs: Knobs, knob: Knob, value: int, best: float) -> bool:
        return self._score(knobs, knob, value) >= best * (1 - WITHIN)

    def _score(self, knobs: Knobs, knob: Knob, value: int) -> float:
        tried = self.attempt({**knobs, knob: value})
        return tried.rate if tried.allowed else 0.0


def _searched(mode: Mode) -> tuple[Knob, ...]:
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
    least = max(SHORTEST_SECONDS, SHORTEST_SERVICES * _service_seconds(workload), MESSAGES / max(1.0, *rates))
    return max(begin, end - least), end


def _offered(workload: Workload, begin: float, end: float) -> float:
    parts = 1_000
    return sum(workload.rate_at(begin + (end - begin) * (place + 0.5) / parts) for place in range(parts)) / parts


def _service_seconds(workload: Workload) -> float:
    return (workload.service.latency_ms_p50 + workload.service.cpu_ms) / 1_000


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
