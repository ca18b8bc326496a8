"""The columns of a real tuned run, beside static real runs around the simulator's best settings, and the simulator's.

A whole grid search on real parts would take hours: the best of the start, of the simulator's oracle and of settings a
third below and above it stands for the oracle, each run for a while on the same parts.
"""

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.real.stage import Plan, RealRun, Stage
from benchmarks.simulator.loop import Ours, run, steps
from benchmarks.simulator.oracle import MEASURED_SHARE, Oracle
from benchmarks.simulator.report import COUNTS_FROM, folded, named
from benchmarks.simulator.workload import Knobs, Workload
from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator.resource.tuning import Knob, TuningMode
from parallel_consumer_operator.resource.tuning_status import HistoryKind

TRY_SECONDS, SETTLE_SECONDS = 30.0, 10.0
"""One static try, and how much of it is not measured."""
RATIO = 0.9
KNOBS = 0.25
"""The real tuner's knobs are so near those of the simulated one (issue's targets)."""
AROUND = (2 / 3, 1.0, 4 / 3)


def report(workload: Workload, stage: Stage, told: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Return the columns of a workload's run on a stage."""
    told("simulated: tuner and grid search")
    simulated, oracle = run(workload, Ours(workload)), Oracle(workload).best()
    told("real: start")
    start_rate = _static(workload, stage, workload.start)
    told(f"real: tuner, {workload.seconds:.0f} s")
    tuned = stage.perform(
        Plan(workload=workload, knobs=workload.start, mode=TuningMode.AUTO, begin=0.0, end=workload.seconds)
    )
    tried = {}
    for knobs in _around(workload, oracle.knobs):
        told(f"real: {named(knobs)}")
        tried[tuple(knobs.values())] = (knobs, _static(workload, stage, knobs))
    best_knobs, best_rate = max(tried.values(), key=lambda each: each[1])
    row = _row(workload, tuned, start_rate, best_rate, best_knobs)
    row["details"] |= {
        "simulated_knobs": named(simulated.knobs),
        "simulated_rules": folded([action.rule.value if hasattr(action, "rule") else action.cause.value
                                   for _, action in steps(simulated)]),
        "static_rates": [{**named(knobs), "rate": round(rate, 1)} for knobs, rate in tried.values()],
    }  # fmt: skip
    row["missed"] = list(_missed(row))
    return row


def _static(workload: Workload, stage: Stage, knobs: Knobs) -> float:
    """Return the real rate of static knobs at the end of the schedule."""
    begin = max(0.0, workload.seconds - TRY_SECONDS)
    plan = Plan(workload=workload, knobs=knobs, mode=TuningMode.OFF, begin=begin, end=workload.seconds)
    return stage.perform(plan).rate(SETTLE_SECONDS, TRY_SECONDS)


def _around(workload: Workload, best: Knobs) -> Iterator[Knobs]:
    moved = Knob.WORKER_POOL_SIZE if workload.mode in {Mode.THREAD, Mode.PROCESS} else Knob.MAX_IN_FLIGHT
    for factor in AROUND:
        low, high = workload.bounds[moved]
        # A usual poll batch: the smallest that carries the rate in the simulator is the dearest in CPU.
        batch = max(best[Knob.POLL_BATCH_SIZE], workload.start[Knob.POLL_BATCH_SIZE])
        limit = max(best[Knob.MAX_IN_FLIGHT], workload.start[Knob.MAX_IN_FLIGHT])
        usual = {Knob.MAX_IN_FLIGHT: limit, Knob.POLL_BATCH_SIZE: batch}
        yield {**best, **usual, moved: max(low, min(high, round(best[moved] * factor)))}


def _row(workload: Workload, tuned: RealRun, start: float, best: float, best_knobs: Knobs) -> dict[str, Any]:
    begin, end = workload.seconds * (1 - MEASURED_SHARE), workload.seconds
    rate, changes = tuned.rate(begin, end), tuned.changes
    raises = [each.time for each in changes if (each.to_value or 0) > (each.from_value or 0)]
    first = min((each.time for each in tuned.history.values()), default=None)
    window = workload.bench.behavior.window_seconds
    backlog_over = sum(
        (sample.backlog or 0) > workload.objective.target_lag_seconds * max(1.0, rate) for sample in tuned.samples
    )
    return {
        "workload": workload.name,
        "start_rate": round(start, 1),
        "oracle_rate": round(best, 1),
        "oracle_knobs": named(best_knobs),
        "tuned_rate": round(rate, 1),
        "tuned_knobs": named(tuned.knobs),
        "ratio": round(rate / best, 3) if start * COUNTS_FROM <= best else None,
        "steps_applied": sum(each.kind is HistoryKind.STEP for each in changes),
        "rollbacks": sum(each.kind is HistoryKind.ROLLBACK for each in changes),
        "windows_to_converge": round((raises[-1] - first).total_seconds() / window, 1) if raises and first else 0.0,
        "changes_after_convergence": None,
        "bound_violations": sum(
            not workload.bounds[each.knob][0] <= each.to_value <= workload.bounds[each.knob][1]
            for each in changes
            if each.knob is not None and each.to_value is not None
        ),
        "raised_while_frozen": None,
        "latency_p99_ratio": None,
        "seconds_over_objective": backlog_over,
        "details": {"rules": folded([each.reason for each in changes]), "changes": [each.message for each in changes]},
    }


def _missed(row: dict[str, Any]) -> Iterator[str]:
    details = row["details"]
    if row["ratio"] is not None and row["ratio"] < RATIO:
        yield f"ratio {row['ratio']} is below {RATIO}"
    if details["rules"] != details["simulated_rules"]:
        yield f"rules {details['rules']}, in the simulator {details['simulated_rules']}"
    for name, simulated in details["simulated_knobs"].items():
        if abs(row["tuned_knobs"][name] - simulated) > KNOBS * simulated:
            yield f"{name} {row['tuned_knobs'][name]} is not within 25 % of the simulator's {simulated}"
