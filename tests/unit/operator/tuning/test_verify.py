from datetime import timedelta

import pytest
from made_windows import NOW, applied, cycle, decided, idle, policy, remembering, seen

from parallel_consumer_operator.resource.tuning_status import Direction, Pace, Verdict
from parallel_consumer_operator.tuning.decision import Hold, Rollback, Step

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
