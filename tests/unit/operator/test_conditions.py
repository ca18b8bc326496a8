"""Conditions from facts, one table per condition."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from parallel_consumer_operator.conditions import Facts, conditions, headline
from parallel_consumer_operator.diagnosis import Problem
from parallel_consumer_operator.report import timestamp
from parallel_consumer_operator.resource.status import ConditionType, ParallelConsumerStatus
from parallel_consumer_operator.resource.tuning import TuningMode
from parallel_consumer_operator.resource.tuning_status import KnobValues, Saturation, TuningPhase, TuningStatus

EARLY, LATE = (timestamp(datetime(2026, 1, day, tzinfo=UTC)) for day in (1, 2))
GOOD = Facts(generation=3, wanted=2, ready=2, current=2, applied=2, assigned=8, measured=True)
SATURATED = TuningStatus(saturated=Saturation(reason="AtBound", message="raise max", uncapped=KnobValues()))


def test_an_operator_that_takes_over_in_a_rollout_still_names_its_cause() -> None:
    """The new process never saw the change; the condition did. Once it is over, the next wait is a plain one."""
    rolling = replace(GOOD, current=1)
    before = ParallelConsumerStatus(
        conditions=conditions(replace(rolling, rollout_cause=("handler.image",)), ParallelConsumerStatus(), now=EARLY)
    )
    found = {each.type: each for each in conditions(rolling, before, now=LATE)}[ConditionType.PROGRESSING]
    assert (found.reason, "handler.image" in found.message) == ("RollingOut", True)
    done = ParallelConsumerStatus(conditions=conditions(GOOD, before, now=LATE))
    again = {each.type: each for each in conditions(rolling, done, now=LATE)}[ConditionType.PROGRESSING]
    assert again.reason == "WaitingForPods"


def told(facts: Facts, kind: ConditionType) -> tuple[str, str]:
    """Return status and reason of one condition."""
    found = {each.type: each for each in conditions(facts, ParallelConsumerStatus(), now=EARLY)}[kind]
    return found.status.value, found.reason


@pytest.mark.parametrize(
    ("kind", "facts", "expected"),
    [
        (ConditionType.READY, GOOD, ("True", "Running")),
        (ConditionType.READY, replace(GOOD, ready=1), ("False", "PodsNotReady")),
        (ConditionType.READY, replace(GOOD, applied=1), ("False", "SettingsNotApplied")),
        (ConditionType.READY, replace(GOOD, assigned=0), ("False", "NoPartitions")),
        (ConditionType.READY, replace(GOOD, assigned=1), ("True", "Running")),
        (ConditionType.READY, replace(GOOD, suspended=True, wanted=0, ready=0), ("True", "Suspended")),
        (ConditionType.PROGRESSING, GOOD, ("False", "Complete")),
        (ConditionType.PROGRESSING, replace(GOOD, current=1), ("True", "WaitingForPods")),
        (ConditionType.PROGRESSING, replace(GOOD, current=1, rollout_cause=("handler",)), ("True", "RollingOut")),
        (ConditionType.PROGRESSING, replace(GOOD, applied=0), ("True", "ApplyingSettings")),
        (ConditionType.DEGRADED, GOOD, ("False", "AsExpected")),
        (ConditionType.DEGRADED, replace(GOOD, problems=(Problem("CrashLoop", "x"),)), ("True", "CrashLoop")),
        (ConditionType.PAUSED, GOOD, ("False", "NotPaused")),
        (ConditionType.PAUSED, replace(GOOD, paused=True), ("True", "Paused")),
        (ConditionType.METRICS_AVAILABLE, GOOD, ("True", "Measured")),
        (ConditionType.METRICS_AVAILABLE, replace(GOOD, measured=False), ("False", "MetricsUnavailable")),
        (ConditionType.METRICS_AVAILABLE, replace(GOOD, measured=None), ("Unknown", "NotMeasured")),
        (ConditionType.TUNING_ACTIVE, GOOD, ("False", "Off")),
        (
            ConditionType.TUNING_ACTIVE,
            replace(GOOD, tuning_mode=TuningMode.AUTO, tuning=TuningStatus(phase=TuningPhase.STEADY)),
            ("True", "Steady"),
        ),
        (
            ConditionType.TUNING_ACTIVE,
            replace(GOOD, tuning_mode=TuningMode.AUTO, tuning=TuningStatus(phase=TuningPhase.FROZEN)),
            ("False", "Frozen"),
        ),
        (ConditionType.SATURATED, GOOD, ("False", "WithinBounds")),
        (ConditionType.SATURATED, replace(GOOD, tuning=SATURATED), ("True", "AtBound")),
    ],
)
def test_a_condition(kind: ConditionType, facts: Facts, expected: tuple[str, str]) -> None:
    """Each fact shows in the condition that is about it."""
    assert told(facts, kind) == expected


def test_the_time_of_a_condition_is_when_its_status_changed() -> None:
    """A new reason under the same status keeps the time; a new status takes the present."""
    before = ParallelConsumerStatus(conditions=conditions(GOOD, ParallelConsumerStatus(), now=EARLY))
    after = {each.type: each for each in conditions(replace(GOOD, ready=1, current=1), before, now=LATE)}
    assert after[ConditionType.READY].last_transition_time == LATE
    assert after[ConditionType.DEGRADED].last_transition_time == EARLY


def test_every_condition_says_for_which_spec() -> None:
    """The observed generation is the spec's."""
    assert {each.observed_generation for each in conditions(GOOD, ParallelConsumerStatus(), now=EARLY)} == {3}


def test_a_rollout_names_its_cause() -> None:
    """A person reads which part of the spec restarts the pods."""
    facts = replace(GOOD, current=1, rollout_cause=("execution.ordering", "secrets"))
    found = {each.type: each for each in conditions(facts, ParallelConsumerStatus(), now=EARLY)}
    assert "execution.ordering, secrets" in found[ConditionType.PROGRESSING].message


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        (GOOD, "Running"),
        (replace(GOOD, tuning=SATURATED), "AtBound"),
        (replace(GOOD, current=1, tuning=SATURATED), "WaitingForPods"),
        (replace(GOOD, current=1, paused=True), "Paused"),
        (replace(GOOD, current=1, paused=True, problems=(Problem("CrashLoop", "x"),)), "CrashLoop"),
        (replace(GOOD, suspended=True, wanted=0, ready=0, current=0), "Suspended"),
    ],
)
def test_the_one_word_for_kubectl_get(facts: Facts, word: str) -> None:
    """What is broken comes before what is paused, under way, or at its limit."""
    assert headline(conditions(facts, ParallelConsumerStatus(), now=EARLY)) == word
