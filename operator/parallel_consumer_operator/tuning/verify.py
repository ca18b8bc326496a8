"""Verification: did the last step pay? Keep it, take it back, or say that nothing can be said. Pure.

A verdict compares one whole window after the step with the window before it; each verification has a deadline.
"""

import math
from dataclasses import dataclass, replace
from datetime import timedelta

from parallel_consumer_operator.resource.tuning import Knob
from parallel_consumer_operator.resource.tuning_status import Baseline, Direction, OpenVerify, Pace, Verdict
from parallel_consumer_operator.tuning.cycle import (
    IN_FLIGHT_NEAR_LIMIT,
    Cycle,
    behind,
    lag,
    limit_reached,
    one_pod_is_full,
    over_latency,
    pods_at_work,
    workers_busy,
)
from parallel_consumer_operator.tuning.decision import Judgement, Rule
from parallel_consumer_operator.tuning.observation import Measurement

PROPORTIONAL = 0.8
"""A raise that returns this share of its proportional gain proves that the next may be larger (design)."""
INPUT_MOVED = 0.3
"""Arrivals that changed by more than this share make a comparison of rates meaningless."""
LOST = 0.05
"""A raise after which this share less is finished has done harm; the best value lies below it."""
SLOWER = 1.25
"""Service time over that before the step from which on the downstream is strained by it."""
RELIEF = 0.1
"""Lowering for service time or latency has to improve it by this share, or the rate lost was lost for nothing."""
ALL_FULL = 0.9
"""Of the places in flight taken before a raise, from which on no pod had one free."""
CALMED = 0.2
"""Lowering against toggling has to take this share of the pauses away."""
DEADLINE_WINDOWS = 4
"""Windows after which a verification that could not be judged is Inconclusive."""
DEADLINE_SLACK = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict, and what follows from it."""

    judgement: Judgement
    pace: Pace | None = None
    """The knob's pace from now on; None leaves it."""
    ceiling: int | None = None
    """For a step that did not pay: where its direction ends for now."""
    for_this_load: bool = False
    """It did no harm and brought nothing: with another load it may."""
    trim_to: int | None = None
    """For a raise that paid in part: the value that carries what it gained."""


def baseline(cycle: Cycle, seen: Measurement) -> Baseline:
    """Return the figures that a step will be compared with."""
    return Baseline(
        rate_milli=round(seen.rate * 1_000),
        arrivals_milli=round(seen.arrivals * 1_000),
        lag_seconds=round(min(lag(seen), 2.0**31)),
        service_micros=round((seen.service_seconds or 0) * 1_000_000),
        latency_ms_p99=round((seen.service_seconds_p99 or 0) * 1_000),
        pauses_milli=round(seen.pauses_per_second * 1_000),
        replicas=cycle.circumstances.ready_replicas,
    )


def deadline(cycle: Cycle) -> timedelta:
    """Return how long a verification may take, from the step on."""
    return DEADLINE_WINDOWS * cycle.policy.window + DEADLINE_SLACK


def expired(cycle: Cycle, step: OpenVerify) -> Outcome | None:
    """Return Inconclusive when the deadline has passed."""
    if cycle.now < step.deadline:
        return None
    return _inconclusive("it could not be judged before its deadline")


def judge(cycle: Cycle, step: OpenVerify, seen: Measurement) -> Outcome:
    """Return the verdict on a step after a whole undisturbed window."""
    unclear = _unclear(cycle, step, seen)
    if unclear:
        return _inconclusive(unclear)
    return _judge_raise(cycle, step, seen) if step.direction is Direction.UP else _judge_lowering(cycle, step, seen)


def _unclear(cycle: Cycle, step: OpenVerify, seen: Measurement) -> str:
    before = step.baseline
    if before.replicas != cycle.circumstances.ready_replicas:
        return f"replicas changed from {before.replicas} to {cycle.circumstances.ready_replicas}"
    if _made_room_for_workers(cycle, step, seen):
        return "the limit made room, and the workers are what binds now"
    if _others_caught_up(step, seen):
        return "some pods have caught up, and others are still at their limit"
    # With a backlog before and after, the rate is what the consumer can do, whatever comes in.
    if before.lag_seconds > cycle.target_lag and behind(cycle, seen):
        return ""
    arrived = before.arrivals_milli / 1_000
    if abs(seen.arrivals - arrived) > INPUT_MOVED * max(arrived, 1e-9) and not _reached_target(cycle, step, seen):
        return f"the input moved from {arrived:.0f}/s to {seen.arrivals:.0f}/s"
    return ""


def _made_room_for_workers(cycle: Cycle, step: OpenVerify, seen: Measurement) -> bool:
    """Whether a limit that stood in the way of more workers was raised: its gain comes with them, a step later."""
    if step.knob is not Knob.MAX_IN_FLIGHT or step.direction is not Direction.UP or not workers_busy(cycle, seen):
        return False
    return step.from_value <= cycle.value(Knob.WORKER_POOL_SIZE)


def _others_caught_up(step: OpenVerify, seen: Measurement) -> bool:
    """Whether all pods were at their limit before the raise, and only some are now: those that are not do less.

    All were, when the rate was what Little's law gives for every place taken.
    """
    before = step.baseline
    if step.knob is not Knob.MAX_IN_FLIGHT or step.direction is not Direction.UP or not one_pod_is_full(seen):
        return False
    places = step.from_value * pods_at_work(seen)
    all_were_full = before.rate_milli / 1_000 * before.service_micros / 1_000_000 >= ALL_FULL * places
    return all_were_full and seen.in_flight < IN_FLIGHT_NEAR_LIMIT * step.to_value * pods_at_work(seen)


def _reached_target(cycle: Cycle, step: OpenVerify, seen: Measurement) -> bool:
    return step.direction is Direction.UP and step.baseline.lag_seconds > cycle.target_lag and not behind(cycle, seen)


def _judge_raise(cycle: Cycle, step: OpenVerify, seen: Measurement) -> Outcome:
    before, gain = step.baseline.rate_milli / 1_000, _gain(step, seen)
    proportional = step.to_value / step.from_value - 1
    rates = f"{before:.0f}/s -> {seen.rate:.0f}/s ({gain:+.0%})"
    if over_latency(cycle, seen) and not _was_over_latency(cycle, step):
        text = f"{rates}, but p99 rose to {(seen.service_seconds_p99 or 0) * 1_000:.0f} ms, over its objective"
        return _not_paid(text, step.to_value)
    if _reached_target(cycle, step, seen):
        return _paid(f"lag fell from {step.baseline.lag_seconds} s to {lag(seen):.0f} s", _pace(gain, proportional))
    if _was_over_latency(cycle, step) and not over_latency(cycle, seen):
        return _paid(f"{rates}, and p99 is within its objective", _pace(gain, proportional))
    if gain < min(cycle.policy.spec.verify.min_gain_percent / 100, proportional / 2, _wanted(cycle, step) / 2):
        slower = _slower(step, seen)
        too_much = gain < -LOST or (slower and cycle.memory.paces.of(step.knob) is not Pace.CAREFUL)
        outcome = _not_paid(rates, step.to_value if too_much else step.from_value)
        return replace(outcome, for_this_load=not (too_much or slower))
    trimmed = _worth_trimming_to(cycle, step, seen, gain)
    return Outcome(Judgement(Verdict.PAID, rates), _pace(gain, proportional), trim_to=trimmed)


def _slower(step: OpenVerify, seen: Measurement) -> bool:
    """Whether calls became clearly slower: the downstream is strained, or was before.

    After a large step that brought nothing the best value may lie inside it: a downstream that collapses beyond its
    knee looks like that, and so does one that was full before; a second, smaller step tells them apart.
    """
    return (seen.service_seconds or 0) * 1_000_000 > SLOWER * step.baseline.service_micros


def _worth_trimming_to(cycle: Cycle, step: OpenVerify, seen: Measurement, gain: float) -> int | None:
    """Return the smaller value that would carry the rate gained, by Little's law with the service time of before.

    Only where the raise was too much for the downstream: still behind, the limit still full, service time risen.
    """
    if step.knob is not Knob.MAX_IN_FLIGHT or not behind(cycle, seen) or not limit_reached(cycle, seen):
        return None
    if not _slower(step, seen):
        return None
    enough = math.ceil(step.from_value * (1 + gain) * 1.05)
    return enough if enough < step.to_value * (1 - cycle.policy.tolerance) else None


def _judge_lowering(cycle: Cycle, step: OpenVerify, seen: Measurement) -> Outcome:
    before, gain = step.baseline.rate_milli / 1_000, _gain(step, seen)
    rates = f"{before:.0f}/s -> {seen.rate:.0f}/s ({gain:+.0%})"
    lost = gain < -cycle.policy.spec.verify.min_gain_percent / 100
    if step.rule == Rule.OVERPROVISIONED:
        fell_behind = behind(cycle, seen) and step.baseline.lag_seconds <= cycle.target_lag
        return _not_paid(f"lag rose to {lag(seen):.0f} s", step.to_value) if fell_behind else _paid(rates)
    if step.rule == Rule.THRASH:
        calmed = seen.pauses_per_second <= (1 - CALMED) * step.baseline.pauses_milli / 1_000
        return _paid(rates) if calmed and gain >= -LOST else _not_paid(rates, step.from_value)
    if step.rule == Rule.LATENCY_OVER_OBJECTIVE:
        better = (seen.service_seconds_p99 or 0) * 1_000 <= (1 - LOST) * step.baseline.latency_ms_p99
        return _paid(rates) if better else _not_paid(f"{rates}, p99 no better", step.from_value)
    better = (seen.service_seconds or 0) * 1_000_000 <= (1 - RELIEF) * step.baseline.service_micros
    return _not_paid(f"{rates}, service time no better", step.from_value) if lost and not better else _paid(rates)


def _gain(step: OpenVerify, seen: Measurement) -> float:
    before = step.baseline.rate_milli / 1_000
    return seen.rate / before - 1 if before > 0 else (math.inf if seen.rate > 0 else 0.0)


def _wanted(cycle: Cycle, step: OpenVerify) -> float:
    """Return the gain that was needed when the step was made: a raise for 10 % more is not expected to bring 20 %."""
    before = step.baseline
    if before.rate_milli <= 0:
        return math.inf
    backlog = before.lag_seconds / cycle.policy.spec.objective.catch_up_seconds
    return max(0.0, before.arrivals_milli / before.rate_milli + backlog - 1)


def _was_over_latency(cycle: Cycle, step: OpenVerify) -> bool:
    limit = cycle.policy.spec.objective.max_latency_ms_p99
    return limit is not None and step.baseline.latency_ms_p99 > limit


def _pace(gain: float, proportional: float) -> Pace:
    return Pace.PROVEN if gain >= PROPORTIONAL * proportional else Pace.CAREFUL


def _paid(text: str, pace: Pace | None = None) -> Outcome:
    return Outcome(Judgement(Verdict.PAID, text), pace)


def _not_paid(text: str, ceiling: int) -> Outcome:
    return Outcome(Judgement(Verdict.NOT_PAID, text), Pace.CAREFUL, ceiling)


def _inconclusive(text: str) -> Outcome:
    return Outcome(Judgement(Verdict.INCONCLUSIVE, text))
