"""The columns of one tuned run beside its oracle: rates, knobs, steps, and what must not have happened."""

from typing import Any

from benchmarks.simulator.loop import Ours, Run, run, steps
from benchmarks.simulator.oracle import MEASURED_SHARE, Oracle
from benchmarks.simulator.workload import Knobs, Workload
from parallel_consumer_operator.tuning.decision import Gate, Rollback, Step

COUNTS_FROM = 2.0
"""A workload counts when the oracle carries at least so many times what the start does."""


def report(workload: Workload) -> dict[str, Any]:
    """Return the columns of a workload's simulated run."""
    oracle = Oracle(workload)
    start, best = oracle.attempt(workload.start), oracle.best()
    tuned = run(workload, Ours(workload))
    begin, end = workload.seconds * (1 - MEASURED_SHARE), workload.seconds
    rate = tuned.rate(begin, end)
    counts = start.rate * COUNTS_FROM <= best.rate
    latency = tuned.latency_p99(begin, end) or 0.0
    return {
        "workload": workload.name,
        "start_rate": round(start.rate, 1),
        "oracle_rate": round(best.rate, 1),
        "oracle_knobs": named(best.knobs),
        "tuned_rate": round(rate, 1),
        "tuned_knobs": named(tuned.knobs),
        "ratio": round(rate / best.rate, 3) if counts and best.rate > 0 else None,
        "latency_p99_ratio": round(latency / best.latency_p99, 2) if best.latency_p99 > 0 else None,
        **columns(tuned),
    }


def named(knobs: Knobs) -> dict[str, int]:
    """Return knobs by their names."""
    return {knob.value: value for knob, value in knobs.items()}


def columns(tuned: Run) -> dict[str, Any]:
    """Return the columns that need no oracle."""
    changes, window = steps(tuned), tuned.workload.bench.behavior.window_seconds
    raises = [moment for moment, action in changes if isinstance(action, Step) and action.to_value > action.from_value]
    converged = raises[-1] if raises else 0.0
    return {
        "steps_applied": sum(isinstance(action, Step) for _, action in changes),
        "rollbacks": sum(isinstance(action, Rollback) for _, action in changes),
        "windows_to_converge": round(converged / window, 1),
        "changes_after_convergence": sum(converged + 2 * window < moment for moment, _ in changes),
        "bound_violations": bound_violations(tuned),
        "raised_while_frozen": raised_while_frozen(tuned),
        "seconds_over_objective": seconds_over_objective(tuned),
        "rules": folded(
            [str(look.decision.reason) for look in tuned.looks if look.decision and _changes(look.decision.action)]
        ),
    }


def _changes(action: object) -> bool:
    return isinstance(action, Step | Rollback)


def bound_violations(tuned: Run) -> int:
    """Count looks at which a knob was outside its bounds."""
    bounds = tuned.workload.bounds
    return sum(
        not bounds[knob][0] <= value <= bounds[knob][1] for look in tuned.looks for knob, value in look.knobs.items()
    )


def raised_while_frozen(tuned: Run) -> int:
    """Count raises that were made while errors or a stuck offset forbade them."""
    shut = {Gate.FROZEN, Gate.STUCK_OFFSET, Gate.FROZEN_BY_COMMAND}
    return sum(
        isinstance(look.decision.action, Step)
        and look.decision.action.to_value > look.decision.action.from_value
        and any(hit.gate in shut for hit in look.decision.hits)
        for look in tuned.looks
        if look.decision is not None
    )


def seconds_over_objective(tuned: Run) -> int:
    """Count seconds in which the lag, in truth and not as measured, was over its target."""
    target, scrape = tuned.workload.objective.target_lag_seconds, tuned.workload.bench.scrape_seconds
    return round(sum(lag > target for _, lag in tuned.lag_seconds) * scrape)


def folded(rules: list[str]) -> list[str]:
    """Return a sequence with repeats folded."""
    return [rule for place, rule in enumerate(rules) if place == 0 or rules[place - 1] != rule]
