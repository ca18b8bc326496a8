"""What only a person can do is told in `status.tuning.saturated`: replicas, partitions, another mode, a hot key."""

import pytest
from made_windows import circumstances, cycle, decided, policy, remembering, seen

from consumer_runtime.contract.settings import Mode

POOL = circumstances(mode=Mode.PROCESS)
LIMITED = remembering(knobs={"max_in_flight": 4_000})
UNLIMITED = {"limit_full": 0, "backpressure": 0, "in_flight": 4, "poll_fill": 0.1, "queued": 0}

CASES = [
    # 800/s done, 4,000/s come in and 100,000 wait for 600 s: 4,167/s are needed, which 5.2 pods of 800/s would do.
    ("replicas", seen(), None, LIMITED, "AtBound", ["maxInFlight is at its maximum of 4000", "about 6 replicas"]),
    (
        "more partitions",
        seen(partitions=4),
        None,
        LIMITED,
        "AtBound",
        ["about 6 replicas", "as many partitions (there are 4)"],
    ),
    (
        "another mode",
        seen(cpu_cores=0.97),
        None,
        None,
        "CpuBound",
        ["0.97 of 1.00 cores", "handlers busy 15.5 at a time", "execution.mode: process", "about 6 replicas"],
    ),
    ("more CPU", seen(cpu_cores=3.9, cpu_limit_cores=4), POOL, None, "CpuBound", ["3.90 of 4.00", "6 replicas"]),
    (
        "a hot key",
        seen(hottest_share=0.9, hottest_partition="orders/3", **UNLIMITED),
        None,
        None,
        "NoRuleApplies",
        ["90% of the backlog is in orders/3", "hot key"],
    ),
    (
        "few keys",
        seen(**{**UNLIMITED, "queued": 5_000}),
        None,
        None,
        "NoRuleApplies",
        ["wait for others of their keys"],
    ),
    ("a stuck handler", seen(rate=0), None, None, "NoProgress", ["look at the handler"]),
]


@pytest.mark.parametrize(("what", "measured", "known", "memory", "reason", "words"), CASES, ids=[c[0] for c in CASES])
@pytest.mark.parametrize("mode", ["Recommend", "Auto"])
def test_what_is_outside_its_power_is_named(mode, what, measured, known, memory, reason, words):
    """Whether or not the mode changes anything: the reason for programs, the figures and the cure for people."""
    decision = decided(cycle(measured, known=known, memory=memory, rules=policy(mode=mode)))
    saturated = decision.memory.saturated
    assert saturated is not None, decision.message
    assert saturated.reason == reason
    assert [word for word in words if word not in saturated.message] == []


def test_nothing_is_named_while_something_within_its_power_helps():
    """A raise comes first; a saturation that was told ends with it."""
    before = remembering(saturated={"reason": "CpuBound", "message": "the CPU was used up"})
    assert decided(cycle(seen(), memory=before)).memory.saturated is None
