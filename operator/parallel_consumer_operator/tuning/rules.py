"""The rules: what a measurement asks for, in the runbook's order, the cheapest knob first. Pure; they only ask.

Each is one function with the runbook's sentence. Bounds, cooldown, blocks and the one clamp are `tuner.py`'s.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator.resource.tuning import Knob
from parallel_consumer_operator.resource.tuning_status import Pace
from parallel_consumer_operator.tuning.cycle import (
    WORKERS_BUSY,
    Cycle,
    behind,
    busy_share,
    cpu_headroom,
    cpu_share,
    lag,
    latency_is_the_handlers_own,
    limit_in_the_way,
    limit_reached,
    over_latency,
    pods_at_work,
    required_rate,
    workers_busy,
)
from parallel_consumer_operator.tuning.decision import Quiet, Rule
from parallel_consumer_operator.tuning.observation import Measurement

FACTORS = {Pace.UNPROVEN: 2.0, Pace.PROVEN: 4.0, Pace.CAREFUL: 1.5}
"""How far one raise goes (design: 2 to 4 while raises return 80 % of their proportional gain, afterwards 1.5)."""
SATURATED = 1.5
"""Service time over its usual value from which on the downstream counts as saturated (design)."""
FLAT = 1.25
"""Service time over its usual value up to which it counts as flat."""
POLLS_FULL = 0.9
"""Polls come back full from this fill ratio on."""
HEADROOM = 1.2
"""What Little's law asks for is exceeded by this, so that fluctuation does not bind at once."""
LATENCY_FACTOR = 0.8
"""How far the limit goes down when the latency objective is missed."""
THRASH_FACTOR = 0.7
"""How far the poll batch goes down (design, rule Thrash)."""
THRASH_PAUSES = 1.0
"""Pauses per second and pod from which on it is toggling: each costs 0.5 ms and the prefetch."""
HOT = 0.5
"""A partition with more than this share of the backlog is called hot."""
NEVER = 0.01
"""A limit reached for less than this share of the time was not reached."""
MOST = 1e6
"""No knob and no number of replicas goes so far; a rate near 0 would ask for more than a number can say."""
SPARE = 1.25
"""What lowering leaves above the long window's maximum."""
WORTH_LOWERING = 0.6
"""Only so small a share of the present value is worth a step down: idle room costs little (decision 10)."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A rule asks for a value; `ideal` is what it would want without pacing and bounds."""

    rule: Rule
    knob: Knob
    wanted: int
    ideal: int
    message: str


@dataclass(frozen=True, slots=True)
class Note:
    """A rule has something to say and asks for nothing; with `saturated`, nothing in the tuner's power helps."""

    reason: Quiet
    message: str
    saturated: bool = False


Finding = Proposal | Note | None


def no_progress(cycle: Cycle, seen: Measurement) -> Finding:
    """Rate 0 with a backlog is stuck, not idle, and no knob helps."""
    del cycle
    if seen.lag_seconds is not None:
        return None
    text = f"nothing was finished over the window with {seen.backlog:.0f} messages waiting"
    return Note(Quiet.NO_PROGRESS, f"{text}: look at the handler and its downstream", saturated=True)


def downstream_saturated(cycle: Cycle, seen: Measurement) -> Finding:
    """Service time is 1.5 x its usual, the limit is full and the rate no higher: the downstream has enough; lower."""
    growth = _service_growth(seen)
    if growth <= SATURATED or not limit_reached(cycle, seen) or seen.rate > 1.05 * seen.rate_long:
        return None
    value = cycle.value(Knob.MAX_IN_FLIGHT)
    wanted = math.floor(value * min(0.9, max(0.7, growth**-0.5)))
    text = f"service time is {growth:.1f} x its usual, the limit of {value} is full and the rate no higher"
    return Proposal(Rule.DOWNSTREAM_SATURATED, Knob.MAX_IN_FLIGHT, wanted, wanted, text)


def latency_over_objective(cycle: Cycle, seen: Measurement) -> Finding:
    """The handler's p99 is over its objective while the limit is full: fewer at once may be faster each; lower."""
    if not over_latency(cycle, seen) or not limit_reached(cycle, seen):
        return None
    value, limit = cycle.value(Knob.MAX_IN_FLIGHT), cycle.policy.spec.objective.max_latency_ms_p99
    wanted = math.floor(value * LATENCY_FACTOR)
    text = f"p99 is {(seen.service_seconds_p99 or 0) * 1_000:.0f} ms, the objective {limit} ms, and the limit is full"
    return Proposal(Rule.LATENCY_OVER_OBJECTIVE, Knob.MAX_IN_FLIGHT, wanted, wanted, text)


def cpu_bound(cycle: Cycle, seen: Measurement) -> Finding:
    """Behind with the CPU used up: neither a limit nor a worker helps, but another mode, more CPU or more pods do."""
    if not behind(cycle, seen) or cpu_headroom(cycle, seen):
        return None
    text = (
        f"{_lag_text(cycle, seen)}, and the CPU is used up ({seen.cpu_cores:.2f} of {seen.cpu_limit_cores:.2f} cores,"
    )
    text += f" handlers busy {seen.busy:.1f} at a time"
    cure = _more_pods(cycle, seen)
    if cycle.circumstances.mode is not Mode.PROCESS:
        cure = f"one interpreter can use one core: set execution.mode: process with more CPU, or {cure}"
    return Note(Quiet.CPU_BOUND, f"{text}): {cure}", saturated=True)


def fetch_starved(cycle: Cycle, seen: Measurement) -> Finding:
    """Behind, workers idle, polls come back full, and nothing waits in memory: take more per poll.

    With messages waiting and no limit reached it is their keys that wait for each other; a poll of more brings more of
    the same keys.
    """
    idle = not limit_reached(cycle, seen) and not workers_busy(cycle, seen)
    starved = idle and seen.poll_fill >= POLLS_FULL and seen.queued <= _places(cycle, seen)
    if not behind(cycle, seen) or not starved or not cpu_headroom(cycle, seen):
        return None
    text = f"{_lag_text(cycle, seen)}, polls are {seen.poll_fill:.0%} full and workers idle"
    return _raise(cycle, seen, Rule.FETCH_STARVED, Knob.POLL_BATCH_SIZE, text)


def limit_binding(cycle: Cycle, seen: Measurement) -> Finding:
    """Behind, the limit full, service time flat and CPU to spare: the limit holds us back; raise it by Little's law."""
    if not behind(cycle, seen) or not limit_reached(cycle, seen):
        return None
    if workers_busy(cycle, seen) and not limit_in_the_way(cycle):
        return None
    if _service_growth(seen) > FLAT or not cpu_headroom(cycle, seen):
        return None
    if over_latency(cycle, seen) and not latency_is_the_handlers_own(cycle):
        return None
    value = cycle.value(Knob.MAX_IN_FLIGHT)
    text = f"{_lag_text(cycle, seen)}, the limit of {value} in flight is reached at {seen.rate:.0f}/s"
    return _raise(cycle, seen, Rule.LIMIT_BINDING, Knob.MAX_IN_FLIGHT, text)


def workers_all_busy(cycle: Cycle, seen: Measurement) -> Finding:
    """Workers are busy for more than 85 % of the time, messages queue: add workers, as far as limit and CPU go."""
    if not workers_busy(cycle, seen) or not behind(cycle, seen) or not cpu_headroom(cycle, seen):
        return None
    if limit_in_the_way(cycle):
        return None
    share = busy_share(cycle, seen.busy, seen)
    text = (
        f"{_lag_text(cycle, seen)}, workers are busy for {share:.0%} of the time and {seen.queued:.0f} messages queue"
    )
    found = _raise(cycle, seen, Rule.WORKERS_BUSY, Knob.WORKER_POOL_SIZE, text)
    if not isinstance(found, Proposal):
        return found
    most = _workers_that_the_cpu_carries(cycle, seen)
    if most <= cycle.value(Knob.WORKER_POOL_SIZE):
        return Note(Quiet.CPU_BOUND, f"{text}, but the CPU carries no more: {_more_pods(cycle, seen)}", saturated=True)
    wanted = min(found.wanted, most, cycle.value(Knob.MAX_IN_FLIGHT))
    return Proposal(found.rule, found.knob, wanted, found.ideal, found.message)


def thrash(cycle: Cycle, seen: Measurement) -> Finding:
    """Partitions are paused and resumed all the time, or gaps grow after a rebalance: take less per poll."""
    # With a backlog, pausing is how a limit works; without one it is a poll that takes too much at a time.
    toggling = seen.pauses_per_second > THRASH_PAUSES and _lag_long(seen) < cycle.target_lag / 10
    growing = (
        seen.rebalances_long > 0 and seen.gaps_slope * cycle.policy.spec.behavior.window_seconds > seen.gaps / 2 > 0
    )
    if not (toggling or growing):
        return None
    wanted = math.floor(cycle.value(Knob.POLL_BATCH_SIZE) * THRASH_FACTOR)
    text = f"{seen.pauses_per_second:.1f} pauses per second" if toggling else "gaps grow after a rebalance"
    return Proposal(Rule.THRASH, Knob.POLL_BATCH_SIZE, wanted, wanted, text)


def overprovisioned(cycle: Cycle, seen: Measurement) -> Finding:
    """Idle for the whole long window: one step down, to what the window needed at most."""
    if not _idle_for_long(cycle, seen):
        return None
    if cycle.has_pool:
        pool = cycle.value(Knob.WORKER_POOL_SIZE)
        needed = max(1, math.ceil(pool * busy_share(cycle, seen.busy_long, seen) / WORKERS_BUSY * SPARE))
        if needed <= WORTH_LOWERING * pool:
            text = f"{seen.busy_long:.1f} of {pool * pods_at_work(seen)} workers were busy over the long window"
            return Proposal(Rule.OVERPROVISIONED, Knob.WORKER_POOL_SIZE, needed, needed, text)
    value, needed = cycle.value(Knob.MAX_IN_FLIGHT), max(1, math.ceil(seen.in_flight_peak_long * SPARE))
    text = f"at most {seen.in_flight_peak_long:.0f} of {value} were in flight in any pod over the long window"
    return (
        Proposal(Rule.OVERPROVISIONED, Knob.MAX_IN_FLIGHT, needed, needed, text)
        if needed <= WORTH_LOWERING * value
        else None
    )


def on_its_way(cycle: Cycle, seen: Measurement) -> Finding:
    """Behind, but fast enough to be done within `catchUpSeconds`, or held back by what no knob of ours moves."""
    if not behind(cycle, seen):
        return None
    if seen.rate >= required_rate(cycle, seen):
        return _catching_up(cycle, seen)
    text = f"{_lag_text(cycle, seen)}, and no limit of ours is reached"
    keys_wait, is_hot = seen.queued > _places(cycle, seen), seen.hottest_share > HOT
    if keys_wait:
        text += f"; {seen.queued:.0f} messages in memory wait for others of their keys: more keys would help"
    if is_hot:
        text += f"; {seen.hottest_share:.0%} of the backlog is in {seen.hottest_partition}: a hot key or partition"
    binds = limit_reached(cycle, seen) or workers_busy(cycle, seen)
    return Note(Quiet.NO_RULE, text, saturated=(keys_wait or is_hot) and not binds)


RULES: tuple[Callable[[Cycle, Measurement], Finding], ...] = (
    no_progress, downstream_saturated, latency_over_objective, cpu_bound, fetch_starved, limit_binding,
    workers_all_busy, thrash, overprovisioned, on_its_way,
)  # fmt: skip
"""In the runbook's order."""


def _raise(cycle: Cycle, seen: Measurement, rule: Rule, knob: Knob, text: str) -> Finding:
    """Ask for min(what the required rate takes by Little's law, value x factor).

    Little: in flight = rate x time in the system. Where the limit is reached, in flight is the limit and so the limit
    that carries another rate is in proportion to it; the same holds for workers that are busy and polls that are full.
    """
    needed = required_rate(cycle, seen)
    if seen.rate >= needed:
        return _catching_up(cycle, seen)
    value = cycle.value(knob)
    ideal = max(value + 1, math.ceil(_scaled(value * HEADROOM, needed, seen.rate)))
    wanted = min(ideal, math.ceil(value * FACTORS[cycle.memory.paces.of(knob)]))
    return Proposal(rule, knob, wanted, ideal, f"{text}; {needed:.0f}/s are needed")


def _scaled(amount: float, needed: float, rate: float) -> float:
    """Return what carries the needed rate when an amount carries this one; 0 where there is none to go by."""
    return min(MOST, amount * needed / rate) if rate > 0 else 0.0


def _catching_up(cycle: Cycle, seen: Measurement) -> Note:
    gain = max(seen.rate - seen.arrivals, 1e-9)
    text = f"{_lag_text(cycle, seen)}, and shrinking by {gain:.0f}/s: gone in {seen.backlog / gain:.0f} s"
    return Note(Quiet.CATCHING_UP, text)


def _places(cycle: Cycle, seen: Measurement) -> float:
    """Return how many messages may be in flight in all pods that have partitions."""
    return cycle.value(Knob.MAX_IN_FLIGHT) * pods_at_work(seen)


def _service_growth(seen: Measurement) -> float:
    """Return the service time over its usual value; 1 where nothing was attempted."""
    if not seen.service_seconds or not seen.service_seconds_long:
        return 1.0
    return seen.service_seconds / seen.service_seconds_long


def _workers_that_the_cpu_carries(cycle: Cycle, seen: Measurement) -> int:
    share = cpu_share(cycle, seen)
    return math.ceil(_scaled(cycle.value(Knob.WORKER_POOL_SIZE), 1.0, share)) if share > 0 else 2**31


def _idle_for_long(cycle: Cycle, seen: Measurement) -> bool:
    quiet = cycle.since(max(filter(None, (cycle.memory.stable_since, cycle.memory.last_change)), default=None))
    if quiet is None or quiet < cycle.policy.long_window:
        return False
    return _lag_long(seen) <= cycle.target_lag / 2 and seen.limit_full_long < NEVER


def _lag_long(seen: Measurement) -> float:
    """Return the longest lag of the long window in seconds."""
    if seen.backlog_peak_long < 1:
        return 0.0
    return seen.backlog_peak_long / seen.rate_long if seen.rate_long > 0 else math.inf


def _more_pods(cycle: Cycle, seen: Measurement) -> str:
    pods = pods_at_work(seen)
    needed = max(pods + (seen.rate <= 0), math.ceil(_scaled(pods, required_rate(cycle, seen), seen.rate)))
    text = f"about {needed} replicas are needed"
    return f"{text}, and as many partitions (there are {seen.partitions})" if needed > seen.partitions else text


def _lag_text(cycle: Cycle, seen: Measurement) -> str:
    return f"lag is {lag(seen):.0f} s (target {cycle.target_lag} s)"


def advice(cycle: Cycle, seen: Measurement, proposal: Proposal) -> str:
    """Return what helps when a proposal is more than its bound allows: the bound, or replicas."""
    bound = cycle.policy.bounds[proposal.knob]
    if proposal.ideal < bound.min:
        return f"{proposal.knob} is at its minimum of {bound.min}, {proposal.ideal} would do"
    text = f"{proposal.knob} is at its maximum of {bound.max}, about {proposal.ideal} are needed"
    return f"{text}: raise spec.tuning.knobs.{proposal.knob}.max, or {_more_pods(cycle, seen)}"
