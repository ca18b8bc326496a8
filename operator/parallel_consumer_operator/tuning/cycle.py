"""One cycle's input in one hand, and the few figures that gates, rules and verification all read from it. Pure."""

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator.resource.tuning import Knob
from parallel_consumer_operator.resource.tuning_status import Direction, TuningStatus
from parallel_consumer_operator.tuning.observation import Circumstances, Measurement, Window
from parallel_consumer_operator.tuning.policy import Policy

LIMIT_REACHED = 0.5
"""A limit binds when it was reached for at least half of the time, or was half full with partitions paused as long."""
IN_FLIGHT_NEAR_LIMIT = 0.8
"""Or when this share of it is in flight on average: with hysteresis a binding limit is touched only now and then."""
ALWAYS_REACHED = 0.9
"""Or when one pod was at its limit for this share of the time, while the others had less to do."""
CPU_HEADROOM = 0.9
"""Beyond this share of the CPU more concurrency is only more waiting."""
GIL_HEADROOM = 0.95
"""The same where one interpreter runs the handler: librdkafka's own threads, outside the GIL, are in the figure too."""
WORKERS_BUSY = 0.85
"""Workers count as busy beyond this share of their time (design, rule WorkersBusy)."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """Policy, window, memory and time of one decision."""

    policy: Policy
    window: Window
    memory: TuningStatus
    now: datetime

    @property
    def circumstances(self) -> Circumstances:
        """What the operator knows by itself."""
        return self.window.circumstances

    @property
    def has_pool(self) -> bool:
        """Whether handlers run in a pool of workers."""
        return self.circumstances.mode in {Mode.THREAD, Mode.PROCESS}

    @property
    def target_lag(self) -> int:
        """Seconds of lag that are still fine."""
        return self.policy.spec.objective.target_lag_seconds

    def with_memory(self, memory: TuningStatus) -> "Cycle":
        """Return the same cycle with another memory."""
        return replace(self, memory=memory)

    def value(self, knob: Knob) -> int:
        """Return the value of a knob that is wanted at present: tuned, in force, or stated by the resource."""
        known = (self.memory.knobs.of(knob), self.circumstances.current.of(knob), self.circumstances.starts.of(knob))
        return next((value for value in known if value is not None), self.policy.bounds[knob].min)

    def since(self, moment: datetime | None) -> timedelta | None:
        """Return how long ago a moment was, None when there was none; never negative."""
        return None if moment is None else max(timedelta(0), self.now - moment)


def lag(seen: Measurement) -> float:
    """Return the lag in seconds; infinite when there is a backlog and nothing is finished."""
    return math.inf if seen.lag_seconds is None else seen.lag_seconds


def behind(cycle: Cycle, seen: Measurement) -> bool:
    """Whether the lag is over its target."""
    return lag(seen) > cycle.target_lag


def required_rate(cycle: Cycle, seen: Measurement) -> float:
    """Return the messages per second that keep up with arrivals and work the backlog off within `catchUpSeconds`."""
    return seen.arrivals + seen.backlog / cycle.policy.spec.objective.catch_up_seconds


def pods_at_work(seen: Measurement) -> int:
    """Return the pods that can have partitions; those beyond the partition count are spare and do nothing."""
    return max(1, min(seen.pods, seen.partitions or seen.pods))


def limit_reached(cycle: Cycle, seen: Measurement) -> bool:
    """Whether maxInFlight is what holds messages back.

    Paused partitions alone do not say so: a hot key fills the intake with messages that wait for each other while few
    are in flight.
    """
    at_work = pods_at_work(seen)
    share = seen.in_flight / (cycle.value(Knob.MAX_IN_FLIGHT) * at_work)
    reached = LIMIT_REACHED * at_work / max(1, seen.pods)  # of means over all pods, spare ones too
    paused = seen.backpressure >= reached and share >= LIMIT_REACHED
    return share >= IN_FLIGHT_NEAR_LIMIT or seen.limit_full >= reached or paused or one_pod_is_full(seen)


def one_pod_is_full(seen: Measurement) -> bool:
    """Whether a pod is at its limit all the time, whatever the others do."""
    return seen.limit_full_most >= ALWAYS_REACHED


def busy_share(cycle: Cycle, busy: float, seen: Measurement) -> float:
    """Return the share of the pool's workers that are in handlers; only for modes with a pool."""
    return busy / (cycle.value(Knob.WORKER_POOL_SIZE) * pods_at_work(seen))


def workers_busy(cycle: Cycle, seen: Measurement) -> bool:
    """Whether the pool's workers are what holds messages back."""
    return cycle.has_pool and busy_share(cycle, seen.busy, seen) > WORKERS_BUSY and seen.queued > 0


def limit_in_the_way(cycle: Cycle) -> bool:
    """Whether maxInFlight leaves no room for more workers: each has a message in flight, so that both bind at once."""
    return cycle.has_pool and cycle.value(Knob.MAX_IN_FLIGHT) <= cycle.value(Knob.WORKER_POOL_SIZE)


def cpu_share(cycle: Cycle, seen: Measurement) -> float:
    """Return the share used of the CPU that can be used: one core per pod where one interpreter runs the handler."""
    usable = seen.cpu_limit_cores * pods_at_work(seen) / max(1, seen.pods)
    if cycle.circumstances.mode is not Mode.PROCESS:
        usable = min(usable, float(pods_at_work(seen)))
    return seen.cpu_cores / usable if usable > 0 else 0.0


def cpu_headroom(cycle: Cycle, seen: Measurement) -> bool:
    """Whether more concurrency can still mean more work."""
    limit = CPU_HEADROOM if cycle.circumstances.mode is Mode.PROCESS else GIL_HEADROOM
    return cpu_share(cycle, seen) < limit


def over_latency(cycle: Cycle, seen: Measurement) -> bool:
    """Whether the 99th percentile of the handler's own time is over its objective, if there is one.

    Not the time from admission: while we are behind it is the wait in our own look-ahead, which lowering lengthens.
    """
    limit = cycle.policy.spec.objective.max_latency_ms_p99
    return limit is not None and (seen.service_seconds_p99 or 0.0) * 1_000 > limit


def latency_is_the_handlers_own(cycle: Cycle) -> bool:
    """Whether lowering was tried against the latency and did not help: then it does not forbid raising either."""
    return any(
        block.knob is Knob.MAX_IN_FLIGHT and block.direction is Direction.DOWN and cycle.now < block.until
        for block in cycle.memory.blocked
    )
