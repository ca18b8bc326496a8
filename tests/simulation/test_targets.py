"""The tuner meets every target in the simulator: some workloads here, all of them by `make bench-tuner`."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.autotune import WORKLOADS
from benchmarks.simulator.report import report
from benchmarks.simulator.targets import missed, steps_allowed
from benchmarks.simulator.workload import load
from parallel_consumer_operator.resource.tuning import Knob

FAST = ("slow-io", "thread-io", "gil-async", "collapse-trap")
"""Workloads of few messages; together they bind a limit, a pool, the CPU, and nothing."""
FIELDS = {
    "workload", "start_rate", "oracle_rate", "oracle_knobs", "tuned_rate", "tuned_knobs", "ratio", "steps_applied",
    "rollbacks", "windows_to_converge", "changes_after_convergence", "bound_violations", "raised_while_frozen",
    "latency_p99_ratio", "seconds_over_objective", "details", "missed",
}  # fmt: skip


@pytest.mark.parametrize("name", FAST)
def test_every_target_is_met(name: str) -> None:
    """Ratio, knobs, steps, rest, bounds, freezes, and never worse than the start."""
    row = report(load(WORKLOADS / f"{name}.yaml"))
    assert set(row) == FIELDS
    assert row["missed"] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ratio": 0.94}, "ratio 0.94 is below 0.95"),
        (
            {"tuned_rate": 90.0, "details": {"seconds_below_start": 5.0, "finished_of_start": 0.99}},
            "tuned_rate 90.0 is below 0.95 x start_rate 100.0",
        ),
        ({"steps_applied": 7}, "steps_applied 7, at most 6"),
        ({"bound_violations": 1}, "bound_violations 1, not 0"),
        ({"raised_while_frozen": 1}, "raised_while_frozen 1, not 0"),
        ({"changes_after_convergence": 1}, "changes_after_convergence 1, not 0"),
        ({"tuned_knobs": {"maxInFlight": 129, "pollBatchSize": 100, "workerPoolSize": 2}}, "maxInFlight 129 is over"),
        ({"details": {"seconds_below_start": 30.0, "finished_of_start": 3.0}}, "below the start's rate for 30 s"),
    ],
)
def test_a_missed_target_is_named(change: dict[str, Any], words: str) -> None:
    """Each target has its sentence; a row that meets all has none."""
    workload = load(WORKLOADS / "steady-io.yaml")
    optimum = {**workload.start, Knob.MAX_IN_FLIGHT: 64}
    right: dict[str, Any] = {
        "ratio": 0.97, "start_rate": 100.0, "tuned_rate": 400.0, "steps_applied": 6, "bound_violations": 0,
        "raised_while_frozen": 0, "changes_after_convergence": 0,
        "details": {"seconds_below_start": 5.0, "finished_of_start": 3.0},
        "tuned_knobs": {"maxInFlight": 70, "pollBatchSize": 100, "workerPoolSize": 2},
    }  # fmt: skip
    assert steps_allowed(workload, optimum) == 6
    assert missed(workload, right, optimum) == []
    assert missed(workload, {**right, "tuned_rate": 90.0}, optimum) == []  # no backlog was left to it
    found = missed(workload, {**right, **change}, optimum)
    assert len(found) == 1
    assert words in found[0]


def test_the_repositorys_workloads_are_all_there() -> None:
    """Those that the proof names, each in a file of its name."""
    names = {load(path).name for path in WORKLOADS.glob("*.yaml")}
    assert names == {path.stem for path in Path(WORKLOADS).glob("*.yaml")}
    assert {"steady-io", "slow-io", "step-up", "step-down", "burst", "diurnal", "downstream-knee", "cpu-process",
            "downstream-collapse", "gil-async", "hot-key", "stuck-partition", "memory-hungry", "flapping-metrics",
            "rebalance-storm", "collapse-trap"} <= names  # fmt: skip
