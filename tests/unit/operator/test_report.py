"""What a pass tells: events once, figures seldom, the tuner's values with the start they were decided upon."""

from datetime import UTC, datetime

import pytest

from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator import report
from parallel_consumer_operator.carry_out import Written
from parallel_consumer_operator.conditions import Facts
from parallel_consumer_operator.desired.effective import Effective, Tuned, resolve
from parallel_consumer_operator.diagnosis import Problem
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec
from parallel_consumer_operator.resource.status import ConditionStatus, ConditionType, LagStatus, ParallelConsumerStatus
from parallel_consumer_operator.resource.tuning_status import KnobValues, TuningStatus
from parallel_consumer_operator.tune_seam import Lag

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SPEC = ParallelConsumerSpec.model_validate(
    {
        "source": {"kafka": {"bootstrapServers": ["k:1"], "topics": ["t"], "consumerGroup": "g"}},
        "handler": {"entrypoint": "a:b"},
        "execution": {"maxInFlight": 16},
    }
)


def effective(value: int | None = None) -> Effective:
    """Return what the spec comes to, with a tuned value of maxInFlight."""
    tuned = {} if value is None else {"maxInFlight": Tuned(value, start=16)}
    return resolve(SPEC, tuned=tuned, cpu_limit=None)


def status(
    before: ParallelConsumerStatus | None = None,
    *,
    value: int | None = None,
    generation: int = 1,
    seconds: float | None = None,
    lag: Lag | None = None,
    problems: tuple[Problem, ...] = (),
) -> ParallelConsumerStatus:
    """Return the status of one ready pod."""
    facts = Facts(generation=1, wanted=1, ready=1, current=1, applied=1, assigned=4, problems=problems)
    figures = report.Figures(
        pods=1,
        selector="a=b",
        config_generation=generation,
        apply_seconds=seconds,
        in_flight=3,
        mode_reason=None,
        lag=lag,
    )
    return report.status(facts, figures, effective(value), before or ParallelConsumerStatus(), now=NOW)


def test_a_pass_that_changed_nothing_tells_nothing() -> None:
    """No event, and a status that equals the one before."""
    first = status(seconds=0.2)
    second = status(first, seconds=0.2)
    assert second == first
    assert list(report.events(first, second, Written())) == []


def test_new_settings_are_told_with_what_changed_and_how_long_it_took() -> None:
    """A person reads knob, old and new value."""
    first = status(seconds=0.2)
    second = status(first, value=64, generation=2, seconds=0.31)
    (event,) = report.events(first, second, Written(generation=2))
    assert event.reason == "SettingsApplied"
    assert "generation 2 is in force in 1 pods after 0.31 s: maxInFlight 16 -> 64" in event.message


def test_a_problem_is_told_once_and_its_end_too() -> None:
    """The same trouble again is no news."""
    good, bad = status(), status(problems=(Problem("CrashLoop", "it crashes"),))
    assert [event.reason for event in report.events(good, bad, Written())] == ["CrashLoop"]
    assert list(report.events(bad, bad, Written())) == []
    assert [event.reason for event in report.events(bad, good, Written())] == ["Recovered"]


def test_figures_alone_are_no_reason_to_write() -> None:
    """Lag and messages in flight move all the time."""
    first = status(lag=Lag(5, 1, 5))
    second = status(first, lag=Lag(9, 2, 5)).model_copy(update={"in_flight": 99})
    assert first != second
    assert report.without_figures(first) == report.without_figures(second)
    assert report.without_figures(first) != report.without_figures(status(first, value=64))


def test_an_unknown_lag_is_not_the_last_known_one() -> None:
    """Absent is not the old figure; no look at all keeps it."""
    known = status(lag=Lag(5, 1, 5))
    assert status(known, lag=Lag()).lag == LagStatus()
    assert status(known, lag=None).lag == known.lag


def test_an_intent_comes_back_with_its_start() -> None:
    """What is written before a step is what the next process reads after a kill."""
    before = status()
    intent = report.with_intent(before, effective(), TuningStatus(knobs=KnobValues(max_in_flight=64)))
    read = ParallelConsumerStatus.parse({"status": intent.manifest()})
    assert report.intended(read) == {"maxInFlight": Tuned(64, start=16)}


@pytest.mark.parametrize(
    ("wanted", "in_force", "expected"),
    [
        (KnobValues(), None, False),
        (KnobValues(max_in_flight=16), None, False),
        (KnobValues(max_in_flight=64), None, True),
        (KnobValues(max_in_flight=64), 64, False),
        (KnobValues(), 64, True),
        (KnobValues(worker_pool_size=9), None, False),
    ],
)
def test_whether_the_tuner_wants_something_else(wanted: KnobValues, in_force: int | None, *, expected: bool) -> None:
    """What it leaves out follows the resource; a pool in mode async is nobody's."""
    assert report.differs(wanted, effective(in_force)) is expected


def test_a_refused_resource_keeps_what_it_had() -> None:
    """Ready stays as it was: the pods run on; Degraded says why nothing follows the edit."""
    before = status()
    refused = report.refused(before, Problem("InvalidSpec", "spec.retry: x"), generation=2, now=NOW)
    degraded, ready = refused.condition(ConditionType.DEGRADED), refused.condition(ConditionType.READY)
    assert degraded is not None
    assert (degraded.status, degraded.reason) == (ConditionStatus.TRUE, "InvalidSpec")
    assert ready == before.condition(ConditionType.READY)
    assert refused.effective.mode is Mode.ASYNC


def test_a_resource_that_was_never_right_is_not_ready() -> None:
    """There is nothing to keep."""
    refused = report.refused(ParallelConsumerStatus(), Problem("InvalidSpec", "x"), generation=1, now=NOW)
    ready = refused.condition(ConditionType.READY)
    assert ready is not None
    assert ready.status is ConditionStatus.FALSE


def test_one_that_leaves_its_group_to_an_elder_is_not_ready_and_says_since_when() -> None:
    """Ready and Progressing turn false with the conflict as their reason; figures are the pods that are still there."""
    running = status()
    later = NOW.replace(hour=5)
    conflict = Problem("GroupConflict", "shop/elder already consumes")
    before = report.standing_aside(running, conflict, pods=1, ready=0, now=later)
    after = report.refused(before, conflict, generation=1, now=later)
    found = {condition.type: condition for condition in after.conditions}
    for kind in (ConditionType.READY, ConditionType.PROGRESSING):
        assert (found[kind].status, found[kind].reason) == (ConditionStatus.FALSE, "GroupConflict")
    assert found[ConditionType.READY].last_transition_time == report.timestamp(later)
    assert found[ConditionType.DEGRADED].status is ConditionStatus.TRUE
    assert (after.replicas, after.ready_replicas, after.reason) == (1, 0, "GroupConflict")
