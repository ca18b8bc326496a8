import pytest
from made_windows import circumstances, cycle, decided, idle, policy, remembering, seen

from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator.tuning import rules
from parallel_consumer_operator.tuning.decision import Hold, Step
from parallel_consumer_operator.tuning.rules import Note, Proposal

THREAD = circumstances(mode=Mode.THREAD)
PROCESS = circumstances(mode=Mode.PROCESS)
BUSY_POOL = seen(busy=3.9, in_flight=15.5, queued=30, rate=200.0, arrivals=300.0, backlog=20_000)
FULL = {"busy": 15.9, "rate": 100.0}
"""As many in flight as there are workers: both bind."""
THREE = {"ready_replicas": 3, "desired_replicas": 3}
SPARE = {"pods": 3, "limit_full": 0.3, "backpressure": 0.33, "cpu_limit_cores": 3.0}
"""One partition for three pods: two have nothing to do, and means over all are a third."""
SPARE_BUSY = BUSY_POOL.model_copy(update={**SPARE, "partitions": 1})
ONE_FULL = {"pods": 3, "limit_full": 0.33, "limit_full_most": 1.0, "backpressure": 0.33, "in_flight": 24}
"""A pod with two partitions is at its limit, the other two with one each are not."""

STEPS = [
    (
        "DownstreamSaturated",
        "maxInFlight",
        100,
        81,
        {"max_in_flight": 100},
        seen(service_seconds=0.03 + 1e-9, in_flight=95),
        None,
    ),
    (
        "DownstreamSaturated",
        "maxInFlight",
        100,
        70,
        {"max_in_flight": 100},
        seen(service_seconds=0.2, in_flight=95),
        None,
    ),
    ("FetchStarved", "pollBatchSize", 100, 200, {}, seen(limit_full=0, backpressure=0, in_flight=4, queued=9), None),
    ("LimitBinding", "maxInFlight", 16, 32, {}, seen(), None),
    ("LimitBinding", "maxInFlight", 16, 24, {}, seen(arrivals=800.0, rate=800.0, backlog=100_000), None),
    ("WorkersBusy", "workerPoolSize", 4, 8, {}, BUSY_POOL, THREAD),
    ("LimitBinding", "maxInFlight", 16, 32, {"worker_pool_size": 16}, BUSY_POOL.model_copy(update=FULL), THREAD),
    ("WorkersBusy", "workerPoolSize", 9, 16, {"worker_pool_size": 9}, BUSY_POOL.model_copy(update={"busy": 9}), THREAD),
    ("LimitBinding", "maxInFlight", 16, 32, {}, seen(partitions=1, **SPARE), circumstances(**THREE)),
    ("WorkersBusy", "workerPoolSize", 4, 8, {}, SPARE_BUSY, circumstances(mode=Mode.THREAD, **THREE)),
    ("LimitBinding", "maxInFlight", 16, 32, {}, seen(**ONE_FULL), circumstances(**THREE)),
    (
        "WorkersBusy",
        "workerPoolSize",
        4,
        5,
        {},
        BUSY_POOL.model_copy(update={"cpu_cores": 3.4, "cpu_limit_cores": 4.0}),
        PROCESS,
    ),
    ("Thrash", "pollBatchSize", 100, 70, {}, idle(pauses_per_second=2), None),
    ("Thrash", "pollBatchSize", 100, 70, {}, idle(rebalances_long=1, gaps=10, gaps_slope=0.1), None),
    ("Overprovisioned", "maxInFlight", 100, 25, {"max_in_flight": 100}, idle(in_flight_peak_long=20), None),
    ("Overprovisioned", "workerPoolSize", 4, 1, {}, idle(busy_long=0.5), THREAD),
]


@pytest.mark.parametrize(("rule", "knob", "before", "after", "knobs", "measured", "known"), STEPS)
def test_a_rule_sets_its_knob(rule, knob, before, after, knobs, measured, known):
    """Each rule of the design's table: when its sentence holds, its knob, and how far."""
    decision = decided(cycle(measured, known=known, memory=remembering(knobs=knobs)))
    assert isinstance(decision.action, Step), decision.action
    step = decision.action
    assert (step.rule, step.knob, step.from_value, step.to_value) == (rule, knob, before, after)


SILENT = [
    ("lag within its target", rules.limit_binding, seen(backlog=10_000), None),
    ("limit not reached", rules.limit_binding, seen(limit_full=0.1, backpressure=0, in_flight=5), None),
    (
        "a hot key fills the intake, few in flight",
        rules.limit_binding,
        seen(limit_full=0, backpressure=1, in_flight=5),
        None,
    ),
    ("service time rising", rules.limit_binding, seen(service_seconds=0.026), None),
    ("no CPU left", rules.limit_binding, seen(cpu_cores=0.96), None),
    ("one interpreter uses one core of four", rules.limit_binding, seen(cpu_cores=1.0, cpu_limit_cores=4), None),
    ("workers are the limit", rules.limit_binding, BUSY_POOL, THREAD),
    ("polls not full", rules.fetch_starved, seen(limit_full=0, backpressure=0, in_flight=4, poll_fill=0.5), None),
    (
        "messages wait in memory for others of their keys",
        rules.fetch_starved,
        seen(limit_full=0, backpressure=0, in_flight=4, queued=17),
        None,
    ),
    ("service time usual", rules.downstream_saturated, seen(), None),
    ("service time 1.5 x", rules.downstream_saturated, seen(service_seconds=0.03), None),
    ("rate higher", rules.downstream_saturated, seen(service_seconds=0.05, rate=900.0), None),
    (
        "limit not full",
        rules.downstream_saturated,
        seen(service_seconds=0.05, limit_full=0, backpressure=0, in_flight=4),
        None,
    ),
    ("workers idle", rules.workers_all_busy, seen(busy=3.0), THREAD),
    ("nothing queued", rules.workers_all_busy, BUSY_POOL.model_copy(update={"queued": 0.0}), THREAD),
    ("no pool", rules.workers_all_busy, seen(), None),
    ("pausing under backlog is how a limit works", rules.thrash, seen(pauses_per_second=9), None),
    ("gaps without a rebalance", rules.thrash, idle(gaps=10, gaps_slope=1), None),
    ("catching up", rules.overprovisioned, idle(backlog_peak_long=10_000), None),
    ("little room is not idleness", rules.overprovisioned, idle(in_flight_peak_long=8), None),
    ("limit was reached lately", rules.overprovisioned, idle(limit_full_long=0.02), None),
]


@pytest.mark.parametrize(("why", "rule", "measured", "known"), SILENT, ids=[each[0] for each in SILENT])
def test_a_rule_is_silent(why, rule, measured, known):
    """Each part of a rule's sentence counts: without it the rule asks for nothing."""
    found = rule(cycle(measured, known=known), measured)
    assert not isinstance(found, Proposal), why


SAID = [
    ("NoProgress", seen(rate=0.0), None, "look at the handler"),
    ("CpuBound", seen(cpu_cores=0.97), None, "execution.mode: process"),
    ("CpuBound", seen(cpu_cores=3.8, cpu_limit_cores=4), PROCESS, "replicas"),
    ("CatchingUp", seen(rate=1_000.0, arrivals=800.0), None, "gone in 500 s"),
    (
        "NoRuleApplies",
        seen(limit_full=0, backpressure=0, in_flight=4, poll_fill=0.1, hottest_share=0.9),
        None,
        "orders/0",
    ),
    ("OnTarget", idle(), None, "lag is 0 s"),
]


@pytest.mark.parametrize(("reason", "measured", "known", "text"), SAID)
def test_a_hold_says_what_helps(reason, measured, known, text):
    """What lies outside the tuner's power is named: mode, replicas, a hot partition."""
    memory = remembering(knobs={"max_in_flight": 8}) if reason == "OnTarget" else remembering()
    decision = decided(cycle(measured, known=known, memory=memory))
    assert isinstance(decision.action, Hold)
    assert decision.reason == reason
    assert text in decision.message


def test_at_its_bound_a_rule_names_what_it_wanted():
    """Saturated, with the value beyond the bound, the bound's name, and the replicas instead."""
    decision = decided(cycle(seen(), memory=remembering(knobs={"max_in_flight": 4_000})))
    assert decision.reason == "AtBound"
    saturated = decision.memory.saturated
    assert saturated is not None
    assert saturated.uncapped.max_in_flight is not None
    assert saturated.uncapped.max_in_flight > 4_000
    assert "spec.tuning.knobs.maxInFlight.max" in decision.message
    assert "replicas" in decision.message


@pytest.mark.parametrize(
    ("mode", "knobs"), [(Mode.SINGLE, {"pollBatchSize"}), (Mode.ASYNC, {"maxInFlight", "pollBatchSize"})]
)
def test_a_knob_that_means_nothing_in_a_mode_is_left_alone(mode, knobs):
    """In single only the poll batch, in async no pool, whatever is measured."""
    for measured in (seen(), BUSY_POOL, idle(busy_long=0), seen(limit_full=0, backpressure=0, in_flight=4)):
        action = decided(cycle(measured, known=circumstances(mode=mode))).action
        assert not isinstance(action, Step) or action.knob in knobs


@pytest.mark.parametrize(("pace", "value"), [("Unproven", 32), ("Proven", 64), ("Careful", 24)])
def test_how_far_a_raise_goes(pace, value):
    """2, then 4 while raises pay in proportion, then 1.5."""
    decision = decided(cycle(seen(), memory=remembering(paces={"max_in_flight": pace})))
    assert decision.memory.knobs.max_in_flight == value


def test_the_latency_objective_lowers_and_forbids_raising():
    """The handler's p99 over its objective: lower; where that was no help before, it forbids nothing either."""
    rules_ = policy(objective={"maxLatencyMsP99": 40})
    lowered = decided(cycle(seen(), rules=rules_))
    assert lowered.reason == "LatencyOverObjective"
    assert lowered.memory.knobs.max_in_flight == 12
    block = {
        "knob": "maxInFlight",
        "direction": "Down",
        "limit": 16,
        "until": "2027-01-01T00:00:00Z",
        "reason": "no better",
    }
    raised = decided(cycle(seen(), rules=rules_, memory=remembering(blocked=[block])))
    assert raised.reason == "LimitBinding"


def test_the_rules_are_asked_in_the_runbooks_order():
    """The order is the design's table, with what says that no rule can help where it belongs."""
    assert [rule.__name__ for rule in rules.RULES] == [
        "no_progress", "downstream_saturated", "latency_over_objective", "cpu_bound", "fetch_starved", "limit_binding",
        "workers_all_busy", "thrash", "overprovisioned", "on_its_way",
    ]  # fmt: skip


def test_a_note_is_no_proposal():
    """What a rule says beside its proposals never changes a knob."""
    assert isinstance(rules.no_progress(cycle(seen(rate=0.0)), seen(rate=0.0)), Note)


def test_next_to_no_cpu_is_a_figure_like_others():
    """The smallest number that there is, for CPU used, is no overflow: the CPU would carry any number of workers."""
    measured = BUSY_POOL.model_copy(update={"cpu_cores": 5e-324})
    found = rules.workers_all_busy(cycle(measured, known=THREAD), measured)
    assert isinstance(found, Proposal)
    assert found.wanted == 8
