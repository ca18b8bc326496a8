"""What holds for every input, by hypothesis: gaps, garbage, resets, clocks that go back, restarts at any point."""

from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from made_windows import FENCES, NOW, START, circumstances, policy, remembering, seen
from pydantic import ValidationError

from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator.resource.tuning import Knob
from parallel_consumer_operator.resource.tuning_status import KnobValues, TuningStatus
from parallel_consumer_operator.tuning.decision import Hold, Recommend, Rollback, Step
from parallel_consumer_operator.tuning.observation import Measurement, Window
from parallel_consumer_operator.tuning.tuner import decide

amounts = st.one_of(st.just(0.0), st.floats(0, 1e9), st.floats(0, 1e-6), st.just(5e-324))
shares = st.floats(0, 1)
FIGURES: dict[str, st.SearchStrategy[Any]] = {
    "pods": st.integers(0, 3),
    "rate": amounts,
    "rate_long": amounts,
    "arrivals": amounts,
    "backlog": amounts,
    "backlog_peak_long": amounts,
    "service_seconds": st.none() | amounts,
    "service_seconds_long": st.none() | amounts,
    "service_seconds_p99": st.none() | amounts,
    "error_ratio": st.one_of(st.just(0.0), shares),
    "limit_full": shares,
    "limit_full_most": shares,
    "limit_full_long": shares,
    "in_flight": amounts,
    "in_flight_peak_long": amounts,
    "queued": amounts,
    "busy": amounts,
    "busy_long": amounts,
    "cpu_cores": st.one_of(st.just(0.1), amounts),
    "cpu_limit_cores": amounts,
    "poll_fill": shares,
    "pauses_per_second": amounts,
    "gaps": amounts,
    "gaps_slope": st.floats(-1e9, 1e9),
    "oldest_task_seconds": st.one_of(st.just(0.0), amounts),
    "memory_ratio": st.one_of(st.just(0.0), st.floats(0, 3)),
    "rebalances": st.one_of(st.just(0.0), amounts),
}
measurements = st.none() | st.fixed_dictionaries({}, optional=FIGURES).map(lambda changes: seen(**changes))
commands = st.sampled_from(["", "", "", "freeze", "resume", "reset@1", "rollback@x", "nonsense"])
known = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.sampled_from([Mode.ASYNC, Mode.THREAD, Mode.PROCESS, Mode.SINGLE]),
        "ready_replicas": st.sampled_from([1, 1, 1, 0, 2]),
        "applied": st.sampled_from([True, True, True, False]),
        "paused": st.sampled_from([False, False, False, True]),
        "command": commands,
        "approve": st.sampled_from(["", "", "abc"]),
        "out_of_memory_at": st.sampled_from([None, None, NOW, NOW + timedelta(minutes=7)]),
    },
)
looks = st.lists(st.tuples(measurements, known, st.integers(-4_000, 4_000)), min_size=1, max_size=25)
policies = st.sampled_from(
    [
        policy(),
        policy(mode="Recommend"),
        policy(mode="Approve"),
        policy(objective={"maxLatencyMsP99": 40}, behavior={"scaleUp": {"cooldownSeconds": 0}, "windowSeconds": 5}),
        policy(knobs={"maxInFlight": {"mode": "Off"}}),
        policy(verify={"rollback": False, "blockSeconds": 0}),
    ]
)


def history(given_policy, given_looks, *, restart):
    """Decide one look after the other; with `restart` the memory is written and read back before each."""
    memory, now, decisions = remembering(), NOW, []
    for measured, changes, seconds in given_looks:
        now += timedelta(seconds=seconds)
        values = {knob.runtime_name: memory.knobs.of(knob) or START.of(knob) for knob in Knob}
        one = circumstances(**{**changes, "current": KnobValues(**values)})
        if restart:
            memory = TuningStatus.model_validate_json(memory.model_dump_json(by_alias=True))
        before = memory
        decision = decide(given_policy, Window(circumstances=one, measured=measured), memory, now)
        memory = decision.memory
        decisions.append((before, decision))
    return decisions


@settings(max_examples=300, deadline=None)
@given(policies, looks)
def test_at_most_one_knob_inside_its_bounds_and_always_a_reason(given_policy, given_looks):
    """Whatever is seen: one action, with a reason and a sentence, one knob at most, never beyond its fence."""
    for before, decision in history(given_policy, given_looks, restart=False):
        assert isinstance(decision.action, Step | Rollback | Recommend | Hold)
        assert decision.reason
        assert decision.message
        wanted = {knob: decision.memory.knobs.of(knob) for knob in Knob if decision.memory.knobs.of(knob) is not None}
        for knob, value in wanted.items():
            assert FENCES[knob].min <= value <= FENCES[knob].max
        changed = [knob for knob, value in wanted.items() if before.knobs.of(knob) != value]
        assert len(changed) <= 1
        assert not changed or isinstance(decision.action, Step | Rollback)
        assert len(decision.memory.history) <= 10


@settings(max_examples=150, deadline=None)
@given(policies, looks)
def test_a_restart_at_any_point_changes_nothing(given_policy, given_looks):
    """With the memory written to the status and read back before every look, each decision is the same."""
    through = history(given_policy, given_looks, restart=False)
    restarted = history(given_policy, given_looks, restart=True)
    assert [each.action for _, each in through] == [each.action for _, each in restarted]
    assert [each.memory for _, each in through] == [each.memory for _, each in restarted]


@settings(max_examples=150, deadline=None)
@given(policies, looks)
def test_nothing_is_raised_while_raises_are_forbidden(given_policy, given_looks):
    """Errors over the limit, or a stuck offset: no step upwards."""
    for _, decision in history(given_policy, given_looks, restart=False):
        shut = {hit.gate for hit in decision.hits}
        if shut & {"Frozen", "StuckOffset"} and isinstance(decision.action, Step):
            assert decision.action.to_value < decision.action.from_value


@given(st.sampled_from(sorted(FIGURES)), st.sampled_from([float("nan"), float("inf"), -1.0, -0.5]))
def test_what_is_no_figure_cannot_be_measured(name, value):
    """NaN, infinity and negative amounts do not get as far as a decision."""
    if name == "gaps_slope" and value < 0:
        return
    try:
        seen(**{name: value})
    except ValidationError:
        return
    raise AssertionError(f"{name}={value} was taken")


def test_round_trip_of_a_measurement():
    """What is logged is what was seen, to the last digit."""
    one = seen(rate=1 / 3, arrivals=0.1 + 0.2)
    assert Measurement.model_validate_json(one.model_dump_json()) == one
