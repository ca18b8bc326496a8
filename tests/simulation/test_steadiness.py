"""What counts as rest, as a late change, and as worse than the start: judged on runs made by hand."""

import pytest

from benchmarks.autotune import WORKLOADS
from benchmarks.simulator.loop import Look, Run, Static, run
from benchmarks.simulator.steadiness import changes_after_convergence, longest_below, stretches, windows_to_converge
from benchmarks.simulator.workload import Workload, load
from parallel_consumer_operator.resource.tuning import Knob
from parallel_consumer_operator.resource.tuning_status import TuningStatus
from parallel_consumer_operator.tuning.decision import Decision, Rule, Step

STEADY = load(WORKLOADS / "cpu-process.yaml")
"""300 seconds of one rate; a rest is 60 + 2 x 10 seconds, the target a lag of 10."""


def changed(*seconds: float, behind_until: float = 0.0) -> Run:
    """Return a run with steps at these seconds, and a lag of 30 s until one."""
    looks = [Look(at, None, "", STEADY.start, Decision(step(), TuningStatus())) for at in seconds]
    lags = [(float(at), 30.0 if at < behind_until else 0.0) for at in range(300)]
    return Run(STEADY, looks=looks, lag_seconds=lags)


def waiting(*seconds: float) -> Run:
    """Return a run with steps at these seconds, whose lag falls from 30 s to 6 s at second 110, and stays there."""
    kept = changed(*seconds)
    kept.lag_seconds = [(at, 30.0 if at < 110 else 6.0) for at, _ in kept.lag_seconds]
    return kept


def step() -> Step:
    """Return some step."""
    return Step("made", Knob.MAX_IN_FLIGHT, 64, 32, Rule.OVERPROVISIONED, "made")


@pytest.mark.parametrize(
    ("what", "kept", "late", "windows"),
    [
        ("nothing changed", changed(), 0, 0.0),
        ("at rest after the second", changed(20, 40), 0, 4.0),
        ("and changed later", changed(20, 40, 200), 1, 4.0),
        ("soon after the backlog was gone", changed(20, 40, 200, behind_until=140), 0, 20.0),
        ("long after the backlog was gone", changed(20, 40, 200, behind_until=110), 1, 4.0),
        ("soon after it was down to what waits for its keys", waiting(20, 40, 180), 0, 18.0),
        ("with a backlog that stays", changed(20, 40, 200, behind_until=301), 1, 4.0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_change_after_a_rest_is_late(what: str, kept: Run, late: int, windows: float) -> None:
    """A rest counts from the last change, or from when the backlog was gone, whichever was later."""
    assert (changes_after_convergence(kept), windows_to_converge(kept)) == (late, windows), what


def test_each_load_has_its_own_rest() -> None:
    """A step of the arrivals begins a new stretch."""
    parts = [{"seconds": 150, "rate": 100}, {"seconds": 150, "rate": 200}]
    stepped = Workload.model_validate({**STEADY.model_dump(), "arrivals": parts})
    assert [(each.begin, each.end) for each in stretches(stepped)] == [(0.0, 150.0), (150.0, 300.0)]


@pytest.mark.parametrize(("queued", "expected"), [(0.0, 20), (10_000.0, 0)], ids=["idle", "keys wait"])
def test_what_waits_for_its_keys_is_not_worse_than_the_start(queued: float, expected: int) -> None:
    """A slower run that is behind is worse, unless no limit is reached and messages wait for others of their keys."""
    short = Workload.model_validate({**STEADY.model_dump(), "arrivals": [{"seconds": 20, "rate": 900}]})
    start = run(short, Static())
    seen = next(look.measured for look in start.looks if look.measured is not None)
    figures = seen.model_copy(update={"limit_full": 0.0, "queued": queued})
    slow = Run(short, looks=[Look(0.0, figures, "", short.start)], lag_seconds=[(float(at), 30.0) for at in range(21)])
    slow.completed = [(float(at), 10 * at) for at in range(21)]
    assert longest_below(slow, start) == pytest.approx(expected, abs=2)
