"""Conclusions follow from the figures, and only from comparable ones."""

import pytest

from benchmarks.scenarios import summary


def line(strategy: str = "async", workload: str = "io", rate: float = 1.0, **fields: object) -> dict[str, object]:
    """A result that succeeded."""
    return {
        "name": f"{strategy}-{workload}", "strategy": strategy, "workload_type": workload, "num_instances": 50,
        "work_duration": 1.0, "max_concurrent_jobs": 10, "jobs_per_second_avg": rate, "status": "success",
        "phase": "custom", "memory_peak_mb": 50.0, "mode": strategy, "warnings": [],
    } | fields  # fmt: skip


@pytest.mark.parametrize(
    ("points", "knee"),
    [
        ([(1, 10.0), (5, 50.0), (10, 100.0), (20, 120.0), (50, 125.0)], 10),
        ([(1, 10.0), (5, 10.0), (10, 10.0)], 1),
        ([(1, 1.0), (5, 5.0), (50, 50.0)], 50),
        ([(1, 10.0), (5, 30.0), (10, 25.0), (20, 90.0)], 5),
    ],
)
def test_knee_is_the_last_step_that_paid(points: list[tuple[int, float]], knee: int) -> None:
    """A step pays from half of its proportional gain on; what comes after a dip does not count."""
    assert summary.knee(points) == knee


def test_curves_need_three_points_with_all_else_equal() -> None:
    """Other work or other sizes are other curves."""
    rates = {1: 1.0, 5: 5.0, 10: 9.0}
    results = [line(rate=rate, max_concurrent_jobs=jobs) for jobs, rate in rates.items()]
    odd = line(rate=99.0, max_concurrent_jobs=20, num_instances=7)
    [found] = summary.curves([*results, odd])
    assert dict(found.points) == rates
    assert found.title == "async, io (50 x 1 s)"


def test_strategies_are_compared_only_where_all_else_is_equal() -> None:
    """A strategy that also ran something much faster is not best for it."""
    results = [line("async", rate=8.0), line("thread", rate=10.0), line("async", rate=500.0, max_concurrent_jobs=500)]
    assert summary.best_strategies(results) == {"io": "thread"}
    assert summary.shares(results)["io"] == {"async": 0.8, "thread": 1.0}


def test_level_strategies_share_the_first_place() -> None:
    """Within 5 % nobody is faster."""
    assert summary.best_strategies([line("async", rate=10.0), line("thread", rate=9.8)]) == {"io": "async = thread"}


def test_six_questions_are_answered_from_the_data() -> None:
    """Each answer has the figures it rests on."""
    results = [line("async", rate=rate, max_concurrent_jobs=jobs) for jobs, rate in {1: 1.0, 5: 5.0, 50: 6.0}.items()]
    results += [line("thread", rate=0.5, max_concurrent_jobs=1), line("auto", "cpu", 1.9, mode="process")]
    results += [
        line("thread", "cpu", 1.0),
        line("async", "cpu", 0.9),
        line(phase="7_edge_cases", name="7_massive_load"),
    ]
    results += [line("async", "subprocess_threaded", status="timeout", name="8_a")]
    found = dict(summary.answers(results))
    told = list(found.values())
    assert len(told) == 6
    assert told[0].startswith("auto")
    assert "auto chose process" in told[0]
    assert "x6.0 in rate for x50" in told[1]
    assert "async, io (50 x 1 s): 5." in told[2]
    assert told[3].startswith("async has 2.00") or "async: async has 2.00" in told[3]
    assert "massive_load" in told[4]
    assert "8_a" in told[5]


def test_what_was_not_measured_is_said() -> None:
    """No answer is made up."""
    assert all(answer.startswith("Not measured") for _, answer in summary.answers([]))
