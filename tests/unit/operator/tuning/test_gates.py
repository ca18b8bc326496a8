from datetime import timedelta

import pytest
from made_windows import NOW, circumstances, cycle, decided, policy, remembering, seen

from parallel_consumer_operator.resource.tuning_status import Direction
from parallel_consumer_operator.tuning import gates
from parallel_consumer_operator.tuning.decision import Gate, Hold, Step

EARLIER = NOW - timedelta(seconds=30)

SHUT = [
    ("Off", {"rules": policy(mode="Off")}),
    ("Paused", {"known": circumstances(paused=True)}),
    ("Suspended", {"known": circumstances(suspended=True)}),
    ("EmergencyBrake", {"rules": policy().model_copy(update={"brake": True})}),
    ("FrozenByCommand", {"memory": remembering(frozen=True)}),
    (
        "ExcludedPeriod",
        {"rules": policy(freeze={"excludedPeriods": [{"schedule": "30 11 * * *", "durationSeconds": 3600}]})},
    ),
    ("NotStable", {"known": circumstances(applied=False)}),
    ("NotStable", {"known": circumstances(rollout=True)}),
    ("NotStable", {"known": circumstances(ready_replicas=0)}),
    ("NotStable", {"known": circumstances(desired_replicas=2)}),
    ("NotStable", {"measured": seen(rebalances=1)}),
    ("MetricsUnavailable", {"measured": None}),
    ("MetricsUnavailable", {"measured": seen(pods=2)}),
    ("Frozen", {"measured": seen(error_ratio=0.02)}),
    ("Frozen", {"measured": seen(dead_letter_failed_ratio=0.02)}),
    ("Frozen", {"measured": seen(commit_failed_ratio=0.02)}),
    ("StuckOffset", {"measured": seen(gaps=1, oldest_task_seconds=31)}),
    ("WindowNotFull", {"memory": remembering(stable_since=EARLIER)}),
    ("WindowNotFull", {"memory": remembering(stable_since=None)}),
    ("Cooldown", {"memory": remembering(last_change=EARLIER)}),
    (
        "MaxChangesPerHour",
        {"rules": policy(behavior={"maxChangesPerHour": 1}), "memory": remembering(change_times=[EARLIER])},
    ),
]


@pytest.mark.parametrize(("reason", "parts"), SHUT, ids=lambda value: value if isinstance(value, str) else "")
def test_a_shut_gate_holds_and_says_so(reason, parts):
    """What would otherwise be raised is held, for the gate's own reason, with a sentence."""
    decision = decided(cycle(**{"measured": seen(), **parts}))
    assert isinstance(decision.action, Hold), decision
    assert decision.reason == reason
    assert decision.message
    assert decision.memory.knobs.as_runtime() == {}


def test_with_every_gate_open_the_limit_is_raised():
    """The same measurement without a gate in the way is a step: the table above cannot pass by holding always."""
    decision = decided(cycle(seen()))
    assert isinstance(decision.action, Step)
    assert decision.hits == ()


OPEN = [
    {"known": circumstances(task_timeout_ms=0), "measured": seen(gaps=9, oldest_task_seconds=900)},
    {"measured": seen(gaps=0, oldest_task_seconds=900)},
    {"measured": seen(error_ratio=0.01)},
    {"memory": remembering(stable_since=NOW - timedelta(seconds=120))},
    {"memory": remembering(last_change=NOW - timedelta(seconds=60))},
    {"rules": policy(freeze={"excludedPeriods": [{"schedule": "0 11 * * *", "durationSeconds": 3600}]})},
]


@pytest.mark.parametrize("parts", OPEN)
def test_at_its_edge_a_gate_is_open(parts):
    """Limits count as kept at the limit itself; without a task timeout nothing is stuck."""
    assert isinstance(decided(cycle(**{"measured": seen(), **parts})).action, Step)


def test_every_hit_is_recorded_in_the_order_of_the_design():
    """A decision names each gate that was shut, not the first alone."""
    decision = decided(
        cycle(
            seen(error_ratio=0.5, memory_ratio=0.95), known=circumstances(paused=True, rollout=True, desired_replicas=3)
        )
    )
    assert [hit.gate for hit in decision.hits] == [
        Gate.PAUSED, Gate.MEMORY_PRESSURE, Gate.NOT_STABLE, Gate.FROZEN, Gate.WINDOW_NOT_FULL,
    ]  # fmt: skip


@pytest.mark.parametrize("pressure", ["ratio", "kill"])
def test_memory_pressure_lowers_at_once(pressure):
    """No cooldown, no window, no figures needed: x 0.7, and upwards is blocked from where it hurt."""
    known = circumstances(out_of_memory_at=NOW if pressure == "kill" else None)
    measured = seen(memory_ratio=0.9) if pressure == "ratio" else None
    memory = remembering(knobs={"max_in_flight": 100}, stable_since=None, last_change=EARLIER - timedelta(hours=1))
    decision = decided(cycle(measured, known=known, memory=memory))
    assert isinstance(decision.action, Step)
    assert decision.memory.knobs.max_in_flight == 70
    assert [(block.direction, block.limit) for block in decision.memory.blocked] == [(Direction.UP, 100)]


def test_one_kill_lowers_once():
    """A kill that was acted upon does not lower again at the next look."""
    known = circumstances(out_of_memory_at=EARLIER)
    first = decided(cycle(None, known=known, memory=remembering(knobs={"max_in_flight": 100})))
    second = decided(cycle(None, known=known, memory=first.memory))
    assert isinstance(first.action, Step)
    assert isinstance(second.action, Hold)


def test_memory_pressure_at_the_minimum_asks_for_memory():
    """Where nothing is left to lower, it says what to do."""
    decision = decided(cycle(seen(memory_ratio=0.99), memory=remembering(knobs={"max_in_flight": 8})))
    assert (decision.reason, "give the pods more memory" in decision.message) == ("MemoryPressure", True)


def test_the_gates_are_asked_in_the_designs_order():
    """The order is the design's table."""
    assert [gate.__name__ for gate in gates.GATES] == [
        "off", "paused", "suspended", "brake", "frozen_by_command", "excluded_period", "memory_pressure", "not_stable",
        "metrics_unavailable", "frozen", "stuck_offset", "window_not_full",
    ]  # fmt: skip
