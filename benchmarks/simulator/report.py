"""The columns of one tuned run beside its oracle: rates, knobs, steps, and what must not have happened."""

from collections.abc import Callable
from typing import Any

from benchmarks.simulator.loop import Look, Ours, Run, Static, run, steps
from benchmarks.simulator.oracle import MEASURED_SHARE, Oracle
from benchmarks.simulator.steadiness import changes_after_convergence, longest_below, windows_to_converge
from benchmarks.simulator.targets import missed, steps_allowed
from benchmarks.simulator.workload import Knobs, Workload
from parallel_consumer_operator.tuning.decision import Gate, Rollback, Step

COUNTS_FROM = 2.0
"""A workload counts when the oracle carries at least so many times what the start does."""


def report(workload: Workload, told: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Return the columns of a workload's simulated run; `told` hears what is being done."""
    told("start")
    start = run(workload, Static())
    told("tuner")
    tuned = run(workload, Ours(workload))
    told("grid search")
    oracle = Oracle(workload)
    best = oracle.best()
    row = _compared(workload, tuned, start, run(workload, Static(), knobs=best.knobs), best.knobs)
    row |= columns(tuned)
    row["details"] = {
        "rules": folded([str(look.decision.reason) for look in tuned.looks if look.decision and _changes(look)]),
        "seconds_below_start": longest_below(tuned, start),
        "finished_of_start": round(tuned.completed[-1][1] / max(1, start.completed[-1][1]), 3),
        "steps_allowed": steps_allowed(workload, best.knobs),
        "tries": oracle.tries,
    }
    row["missed"] = missed(workload, row, best.knobs)
    return row


def _compared(workload: Workload, tuned: Run, start: Run, best: Run, knobs: Knobs) -> dict[str, Any]:
    """Return what is compared: each run from the workload's begin, over its last part."""
    part = (workload.seconds * (1 - MEASURED_SHARE), workload.seconds)
    start_rate, rate = start.rate(*part), tuned.rate(*part)
    # A run that was faster before has less left to finish than one that works off its backlog now.
    best_rate = min(best.rate(*part), tuned.rate_at_most(*part))
    latency, least = tuned.latency_p99(*part) or 0.0, best.latency_p99(*part) or 0.0
    counts = start_rate * COUNTS_FROM <= best_rate and best_rate > 0
    return {
        "workload": workload.name,
        "start_rate": round(start_rate, 1),
        "oracle_rate": round(best_rate, 1),
        "oracle_knobs": named(knobs),
        "tuned_rate": round(rate, 1),
        "tuned_knobs": named(tuned.knobs),
        "ratio": round(rate / best_rate, 3) if counts else None,
        "latency_p99_ratio": round(latency / least, 2) if least > 0 else None,
    }


def named(knobs: Knobs) -> dict[str, int]:
    """Return knobs by their names."""
    return {knob.value: value for knob, value in knobs.items()}


def columns(tuned: Run) -> dict[str, Any]:
    """Return the columns that need no oracle."""
    changes = steps(tuned)
    return {
        "steps_applied": sum(isinstance(action, Step) for _, action in changes),
        "rollbacks": sum(isinstance(action, Rollback) for _, action in changes),
        "windows_to_converge": windows_to_converge(tuned),
        "changes_after_convergence": changes_after_convergence(tuned),
        "bound_violations": bound_violations(tuned),
        "raised_while_frozen": raised_while_frozen(tuned),
        "seconds_over_objective": seconds_over_objective(tuned),
    }


def _changes(look: Look) -> bool:
    return look.decision is not None and isinstance(look.decision.action, Step | Rollback)


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
