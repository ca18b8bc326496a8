"""The tuner does not swing: on any plant that answers the same to the same knobs, no value comes and goes in turns."""

from datetime import timedelta
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_windows import NOW, circumstances, policy, seen

from parallel_consumer_operator.resource.tuning_status import KnobValues, TuningStatus
from parallel_consumer_operator.tuning.decision import Rollback, Step
from parallel_consumer_operator.tuning.observation import Window
from parallel_consumer_operator.tuning.tuner import decide

LOOKS = 60
LOOK_SECONDS = 180.0
"""Longer than a window and a cooldown: each look sees what the last change did, whole."""


class Plant:
    """A consumer whose rate is bound by its limit, then by a downstream that slows down beyond a knee."""

    def __init__(self, *, service: float, knee: int, factor: float, arrivals: float) -> None:
        self.service, self.knee, self.factor, self.arrivals = service, knee, factor, arrivals
        self.backlog = 10_000.0
        self.usual = service

    def look(self, limit: int) -> Any:
        """Let the time between two looks pass, and return its figures."""
        over = max(0, limit - self.knee) / limit
        service = self.service * (1 + over * (self.factor - 1))
        carried = limit / service
        rate = min(carried, self.arrivals + self.backlog / LOOK_SECONDS)
        self.backlog = max(0.0, self.backlog + (self.arrivals - rate) * LOOK_SECONDS)
        full = min(1.0, rate / carried)
        self.usual += (service - self.usual) * LOOK_SECONDS / 600
        return seen(
            rate=rate, rate_long=rate, arrivals=self.arrivals, backlog=self.backlog, backlog_peak_long=self.backlog,
            service_seconds=service, service_seconds_long=self.usual, service_seconds_p99=2 * service,
            limit_full=1.0 if full >= 1 else 0.0, limit_full_long=1.0 if full >= 1 else 0.0,
            backpressure=1.0 if full >= 1 else 0.0, in_flight=full * limit, in_flight_peak_long=full * limit,
            queued=0.0 if full < 1 else 1_000.0, poll_fill=0.5, cpu_cores=0.1, gaps=0.0, pauses_per_second=0.0,
        )  # fmt: skip


def values(plant: Plant) -> list[tuple[int, int]]:
    """Return each value of maxInFlight that the tuner sets, in order, with the number of the look."""
    memory, now, limit = TuningStatus(), NOW, 16
    kept = [(limit, 0)]
    for number in range(LOOKS):
        known = circumstances(current=KnobValues(max_in_flight=limit, poll_batch_size=100, worker_pool_size=4))
        decision = decide(policy(), Window(circumstances=known, measured=plant.look(limit)), memory, now)
        memory, now = decision.memory, now + timedelta(seconds=LOOK_SECONDS)
        if isinstance(decision.action, Step | Rollback):
            limit = decision.action.to_value
            kept.append((limit, number))
    return kept


@settings(max_examples=60, deadline=None)
@given(
    service=st.floats(0.002, 0.5),
    knee=st.integers(8, 4_000),
    factor=st.sampled_from([1.0, 1.5, 3.0, 10.0]),
    arrivals=st.floats(10, 50_000),
)
@example(service=0.5, knee=1792, factor=3.0, arrivals=2693.0)
def test_no_value_comes_and_goes_in_turns(service: float, knee: int, factor: float, arrivals: float) -> None:
    """Never x, y, x, y: what was taken back is not tried again before its block ends, which is an hour."""
    kept = values(Plant(service=service, knee=knee, factor=factor, arrivals=arrivals))
    blocked = policy().spec.verify.block_seconds
    swings = [
        (a, b, c, d)
        for a, b, c, d in zip(kept, kept[1:], kept[2:], kept[3:], strict=False)
        if (a[0], b[0]) == (c[0], d[0]) and (d[1] - a[1]) * LOOK_SECONDS < blocked
    ]
    assert not swings, kept
