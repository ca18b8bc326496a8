from datetime import timedelta

import pytest
from made_windows import FENCES, NOW, applied, circumstances, cycle, decided, idle, policy, remembering, seen

from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator.resource.tuning import Knob
from parallel_consumer_operator.resource.tuning_status import Direction, Pace, Verdict
from parallel_consumer_operator.tuning.decision import Hold, Rollback, Step
from parallel_consumer_operator.tuning.policy import Bounds

ROOMY = policy().model_copy(update={"bounds": {**FENCES, Knob.WORKER_POOL_SIZE: Bounds(min=1, max=400)}})
CAREFUL = {"max_in_flight": Pace.CAREFUL}
RAISE = cycle(seen(), memory=remembering(knobs={"max_in_flight": 100}))


def judged(measured, *, later=125.0, before=RAISE):
    """Make the raise 100 -> 200, and return the decision a window after it is in force."""
    step = decided(before)
    assert isinstance(step.action, Step)
    waiting = decided(applied(before, step, measured, later=3))
    assert isinstance(waiting.action, Hold)
    return decided(applied(before, waiting, measured, later=3 + later))


VERDICTS = [
    ("proportional", seen(rate=1_550.0), Verdict.PAID, 646, Pace.PROVEN),
    ("80 % of proportional", seen(rate=1_440.0), Verdict.PAID, 695, Pace.PROVEN),
    ("less", seen(rate=1_400.0), Verdict.PAID, 300, Pace.CAREFUL),
    ("just enough", seen(rate=880.0), Verdict.PAID, 300, Pace.CAREFUL),
    ("too little", seen(rate=870.0), Verdict.NOT_PAID, 100, Pace.CAREFUL),
    ("nothing", seen(rate=800.0), Verdict.NOT_PAID, 100, Pace.CAREFUL),
    ("harm", seen(rate=500.0), Verdict.NOT_PAID, 100, Pace.CAREFUL),
    ("target reached", seen(rate=4_100.0, backlog=1_000), Verdict.PAID, 200, Pace.PROVEN),
]


@pytest.mark.parametrize(("what", "after", "verdict", "value", "pace"), VERDICTS, ids=[each[0] for each in VERDICTS])
def test_a_raise_is_judged_by_what_it_returned(what, after, verdict, value, pace):
    """Kept and gone on from, at the pace it earned, or taken back: by the rate before and after."""
    decision = judged(after)
    assert decision.judgement is not None, what
    assert (decision.judgement.verdict, decision.memory.knobs.max_in_flight) == (verdict, value)
    assert decision.memory.paces.max_in_flight is pace


def test_what_did_not_pay_is_taken_back_and_blocked():
    """One Rollback; then no raise of that knob for blockSeconds, and one after it."""
    decision = judged(seen(rate=800.0))
    assert isinstance(decision.action, Rollback)
    assert [(block.limit, block.direction) for block in decision.memory.blocked] == [(100, Direction.UP)]
    soon = decided(applied(RAISE, decision, seen(), later=600))
    held = decided(applied(RAISE, soon, seen(), later=900))
    assert (held.reason, held.memory.knobs.max_in_flight) == ("Blocked", 100)
    assert held.memory.saturated is not None
    late = decided(applied(RAISE, held, seen(), later=4_000))
    assert isinstance(late.action, Step)


def test_after_harm_values_below_it_may_be_tried():
    """More in flight did harm at 200: half way there, by factors, is tried next, not 200 again."""
    back = judged(seen(rate=500.0))
    soon = decided(applied(RAISE, back, seen(), later=600))
    again = decided(applied(RAISE, soon, seen(), later=900))
    assert isinstance(again.action, Step)
    assert again.action.to_value == 141


@pytest.mark.parametrize(
    ("what", "after", "arrivals", "tried"),
    [
        ("as much comes as then", seen(rate=800.0), 5_000.0, False),
        ("clearly more comes", seen(rate=800.0), 5_300.0, True),
        ("it did harm", seen(rate=500.0), 5_300.0, False),
        ("calls became slower", seen(rate=800.0, service_seconds=0.04), 5_300.0, False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_brought_nothing_is_tried_again_when_more_comes(what, after, arrivals, tried):
    """Less was to be gained then; but where the downstream showed strain, more arrivals are no reason (decision 15)."""
    back = judged(after, before=cycle(seen(), memory=remembering(knobs={"max_in_flight": 100}, paces=CAREFUL)))
    soon = decided(applied(RAISE, back, seen(arrivals=arrivals), later=600))
    again = decided(applied(RAISE, soon, seen(arrivals=arrivals), later=900))
    beyond = isinstance(again.action, Step) and again.action.to_value >= 150
    assert beyond is tried, what


def test_a_raise_for_little_is_judged_by_little():
    """8 % more were needed: 5 % more are a gain, though less than minGainPercent asks of a raise for more."""
    little = seen(arrivals=810.0, backlog=50_000.0, backlog_slope=10.0, rate=800.0)
    before = cycle(little, memory=remembering(knobs={"max_in_flight": 100}))
    decision = judged(seen(arrivals=810.0, backlog=50_000.0, rate=840.0), before=before)
    assert decision.judgement is not None
    assert decision.judgement.verdict is Verdict.PAID


def test_a_failed_direction_is_blocked_longer_each_time():
    """Twice in vain, twice as long; at most eight times."""
    memory = remembering(knobs={"max_in_flight": 100})
    lengths = []
    now = NOW
    for _ in range(6):
        one = cycle(seen(), memory=memory.model_copy(update={"stable_since": now - timedelta(hours=1)}), now=now)
        step = decided(one)
        waiting = decided(applied(one, step, seen(), later=1))
        back = decided(applied(one, waiting, seen(rate=800.0), later=130))
        block = back.memory.blocked[0]
        lengths.append(round((block.until - now).total_seconds() / 3_600))
        now, memory = block.until + timedelta(seconds=1), back.memory
    assert lengths == [1, 2, 4, 8, 8, 8]


@pytest.mark.parametrize(
    "measured", [seen(error_ratio=0.2, rate=1_600.0), seen(gaps=1, oldest_task_seconds=99, rate=1_600.0)]
)
def test_an_unverified_raise_is_taken_back_at_once(measured):
    """Errors or a stuck offset before the verdict: back, without waiting for the window."""
    step = decided(RAISE)
    decision = decided(applied(RAISE, step, measured, later=5))
    assert isinstance(decision.action, Rollback)
    assert decision.memory.knobs.max_in_flight == 100


def test_a_partly_paid_raise_is_trimmed_to_what_carries_it():
    """Four times as much in flight brought 56 % more and slower calls: what Little's law asks for is kept."""
    before = cycle(seen(), memory=remembering(knobs={"max_in_flight": 100}, paces={"max_in_flight": "Proven"}))
    decision = judged(seen(rate=1_248.0, service_seconds=0.05, service_seconds_long=0.04, in_flight=400), before=before)
    assert isinstance(decision.action, Step)
    assert (decision.action.rule, decision.action.from_value, decision.action.to_value) == ("Trim", 400, 164)


def test_replicas_that_changed_make_it_inconclusive():
    """With another number of pods the rates cannot be compared: kept, not blocked."""
    step = decided(RAISE)
    two = applied(RAISE, step, seen(pods=2, rate=900.0), later=3)
    known = two.circumstances.model_copy(update={"ready_replicas": 2, "desired_replicas": 2})
    two = cycle(seen(pods=2, rate=900.0), known=known, memory=two.memory, now=two.now)
    waiting = decided(two)
    later = cycle(seen(pods=2, rate=900.0), known=known, memory=waiting.memory, now=two.now + timedelta(seconds=125))
    decision = decided(later)
    assert decision.judgement is not None
    assert decision.judgement.verdict is Verdict.INCONCLUSIVE
    assert decision.memory.blocked == ()


def test_a_limit_that_made_room_for_workers_is_kept():
    """100 workers with 100 in flight: 200 alone bring nothing, but without them no worker more would either."""
    full = seen(busy=99.0, in_flight=100.0)
    memory = remembering(knobs={"max_in_flight": 100, "worker_pool_size": 100})
    before = cycle(full, known=circumstances(mode=Mode.THREAD), memory=memory, rules=ROOMY)
    decision = judged(full, before=before)
    assert decision.judgement is not None
    assert decision.judgement.verdict is Verdict.INCONCLUSIVE
    assert isinstance(decision.action, Step)
    assert (decision.action.rule, decision.action.to_value) == ("WorkersBusy", 200)


@pytest.mark.parametrize(
    ("after", "verdict"),
    [
        ({"limit_full": 0.33, "limit_full_most": 1.0, "in_flight": 350.0}, Verdict.INCONCLUSIVE),
        ({"limit_full": 0.33, "limit_full_most": 0.5, "in_flight": 350.0}, Verdict.NOT_PAID),
        ({"limit_full": 1.0, "limit_full_most": 1.0, "in_flight": 600.0}, Verdict.NOT_PAID),
    ],
)
def test_pods_that_caught_up_say_nothing_of_one_that_did_not(after, verdict):
    """All three were at their limit of 100; with 200 two have no backlog left to finish, and one has."""
    three = circumstances(ready_replicas=3, desired_replicas=3)
    full = seen(pods=3, rate=15_000.0, arrivals=20_000.0, backlog=3e6, in_flight=300.0)
    before = cycle(full, known=three, memory=remembering(knobs={"max_in_flight": 100}))
    decision = judged(full.model_copy(update=after), before=before)
    assert decision.judgement is not None
    assert decision.judgement.verdict is verdict


def test_input_that_moved_makes_lowering_inconclusive():
    """Nothing behind, and half as much comes in: less done says nothing about the step."""
    before = cycle(idle(), memory=remembering(knobs={"max_in_flight": 100}))
    step = decided(before)
    waiting = decided(applied(before, step, idle(arrivals=50.0, rate=50.0), later=3))
    decision = decided(applied(before, waiting, idle(arrivals=50.0, rate=50.0), later=130))
    assert decision.judgement is not None
    assert decision.judgement.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("disturbance", ["metrics", "rollout"])
def test_a_verification_that_cannot_be_judged_ends(disturbance):
    """Without figures, or in a rollout that does not end, the deadline closes it: kept, Inconclusive."""
    step = decided(RAISE)
    blind = applied(RAISE, step, None if disturbance == "metrics" else seen(), later=600)
    if disturbance == "rollout":
        rolling = blind.circumstances.model_copy(update={"rollout": True})
        blind = cycle(seen(), known=rolling, memory=blind.memory, now=blind.now)
    decision = decided(blind)
    assert decision.judgement is not None
    assert decision.judgement.verdict is Verdict.INCONCLUSIVE
    assert decision.memory.verifying is None
    assert decision.memory.knobs.max_in_flight == 200


def test_lowering_that_costs_is_taken_back():
    """Lowered for a slow downstream, a third less done and calls no faster: back up."""
    slow = seen(service_seconds=0.08, in_flight=95.0)
    before = cycle(slow, memory=remembering(knobs={"max_in_flight": 100}))
    worse = seen(service_seconds=0.08, service_seconds_long=0.08, in_flight=66.0, rate=540.0)
    decision = judged(worse, before=before)
    assert isinstance(decision.action, Rollback)
    assert decision.memory.knobs.max_in_flight == 100


def test_lowering_that_costs_is_taken_back_while_raises_are_forbidden():
    """The downstream fails by itself: less at once did not help, and the errors do not keep us below where we were."""
    slow = seen(service_seconds=0.08, in_flight=95.0, error_ratio=0.1)
    before = cycle(slow, memory=remembering(knobs={"max_in_flight": 100}))
    worse = seen(service_seconds=0.08, service_seconds_long=0.08, in_flight=66.0, rate=540.0, error_ratio=0.1)
    decision = judged(worse, before=before)
    assert isinstance(decision.action, Rollback)
    assert decision.memory.knobs.max_in_flight == 100


def test_overprovisioned_is_taken_back_when_it_leaves_us_behind():
    """Lag over its target after lowering what was idle: back up."""
    before = cycle(idle(), memory=remembering(knobs={"max_in_flight": 100}))
    decision = judged(seen(arrivals=100.0, rate=90.0, backlog=10_000), before=before)
    assert isinstance(decision.action, Rollback)
    assert decision.memory.knobs.max_in_flight == 100


def test_without_rollback_a_bad_raise_is_kept_and_blocked():
    """verify.rollback false: told and blocked, but nothing is changed."""
    before = cycle(seen(), memory=RAISE.memory, rules=policy(verify={"rollback": False}))
    decision = judged(seen(rate=500.0), before=before)
    assert not isinstance(decision.action, Rollback)
    assert decision.memory.knobs.max_in_flight == 200
    assert decision.memory.blocked != ()
