import pytest
from made_windows import NOW, applied, circumstances, cycle, decided, policy, remembering, seen

from parallel_consumer_operator.resource.tuning_status import TuningPhase
from parallel_consumer_operator.tuning.decision import Hold, Recommend, Rollback, Step

RECOMMEND = policy(mode="Recommend")
APPROVE = policy(mode="Approve")


def test_recommend_says_and_changes_nothing():
    """A recommendation with an id, what it would be without bounds, and no knob of the tuner's."""
    decision = decided(cycle(seen(), rules=RECOMMEND))
    assert isinstance(decision.action, Recommend)
    recommendation = decision.memory.recommendation
    assert recommendation is not None
    assert (recommendation.knobs.max_in_flight, recommendation.uncapped.max_in_flight) == (32, 100)
    assert decision.memory.knobs.as_runtime() == {}
    assert (decision.memory.phase, decision.memory.verifying) == (TuningPhase.RECOMMENDING, None)


def test_a_recommendation_keeps_its_id_while_it_stays_about_the_same():
    """A person who reads an id can approve it a minute later, though figures moved a little."""
    first = decided(cycle(seen(), rules=RECOMMEND))
    second = decided(applied(cycle(seen(), rules=RECOMMEND), first, seen(rate=790.0), later=60))
    assert first.memory.recommendation == second.memory.recommendation


def test_an_approved_recommendation_is_carried_out_once():
    """The annotation with its id: applied; the annotation that stays there does nothing more."""
    advised = decided(cycle(seen(), rules=APPROVE))
    assert advised.memory.recommendation is not None
    known = circumstances(approve=advised.memory.recommendation.id)
    done = decided(cycle(seen(), rules=APPROVE, memory=advised.memory, known=known))
    assert isinstance(done.action, Step)
    assert done.memory.knobs.max_in_flight == 32
    again = decided(cycle(seen(), rules=APPROVE, memory=done.memory, known=known))
    assert isinstance(again.action, Hold)
    assert again.reason != "CommandRefused"


@pytest.mark.parametrize("wanted", ["beefbeef", "no such id at all", "x" * 900])
def test_a_stale_approval_is_refused_once(wanted):
    """An id that is not the present recommendation's changes nothing, and is told once."""
    advised = decided(cycle(seen(), rules=APPROVE))
    known = circumstances(approve=wanted)
    refused = decided(cycle(seen(), rules=APPROVE, memory=advised.memory, known=known))
    assert refused.reason == "CommandRefused"
    after = decided(cycle(seen(), rules=APPROVE, memory=refused.memory, known=known))
    assert isinstance(after.action, Recommend)


def test_an_approved_raise_waits_while_raises_are_forbidden():
    """Approval does not open the gate: with errors over the limit it waits."""
    advised = decided(cycle(seen(), rules=APPROVE))
    assert advised.memory.recommendation is not None
    known = circumstances(approve=advised.memory.recommendation.id)
    waiting = decided(cycle(seen(error_ratio=0.2), rules=APPROVE, memory=advised.memory, known=known))
    assert isinstance(waiting.action, Hold)
    assert waiting.memory.knobs.max_in_flight is None


PER_KNOB = [
    ("Recommend", "Auto", Step),
    ("Auto", "Recommend", Recommend),
    ("Auto", "Off", Hold),
    ("Off", "Auto", Hold),
]


@pytest.mark.parametrize(("mode", "own", "action"), PER_KNOB)
def test_a_knobs_own_mode_counts(mode, own, action):
    """It overrides the resource's in both directions; Off for all is Off."""
    decision = decided(cycle(seen(), rules=policy(mode=mode, knobs={"maxInFlight": {"mode": own}})))
    assert isinstance(decision.action, action)


def test_freeze_holds_until_resume():
    """Also when the annotation is gone; each command is acted upon once."""
    frozen = decided(cycle(seen(), known=circumstances(command="freeze")))
    assert (frozen.reason, frozen.memory.frozen) == ("CommandDone", True)
    held = decided(cycle(seen(), memory=frozen.memory, known=circumstances(command="freeze")))
    gone = decided(cycle(seen(), memory=held.memory))
    assert held.reason == gone.reason == "FrozenByCommand"
    resumed = decided(cycle(seen(), memory=gone.memory, known=circumstances(command="resume")))
    assert isinstance(decided(cycle(seen(), memory=resumed.memory)).action, Step)


def test_rollback_by_id_takes_that_step_back_and_blocks_it():
    """The knob returns to what it was before the named step, and does not come straight back."""
    step = decided(cycle(seen()))
    assert isinstance(step.action, Step)
    known = circumstances(command=f"rollback@{step.action.id}")
    back = decided(cycle(seen(), memory=step.memory, known=known))
    assert isinstance(back.action, Rollback)
    assert back.memory.knobs.max_in_flight == 16
    assert back.memory.blocked[0].limit == 16
    again = decided(cycle(seen(), memory=back.memory, known=known))
    assert isinstance(again.action, Hold)


def test_reset_forgets_everything_but_the_story():
    """Back to the resource's own values; the history stays, the command is in it."""
    step = decided(cycle(seen()))
    reset = decided(cycle(seen(), memory=step.memory, known=circumstances(command="reset@1")))
    assert reset.memory.knobs.as_runtime() == {}
    assert (reset.memory.verifying, reset.memory.blocked) == (None, ())
    assert [entry.kind for entry in reset.memory.history] == ["Step", "Command"]
    assert decided(cycle(seen(), memory=reset.memory, known=circumstances(command="reset@1"))).reason == "WindowNotFull"
    assert decided(cycle(seen(), memory=reset.memory, known=circumstances(command="reset@2"))).reason == "CommandDone"


@pytest.mark.parametrize("command", ["thaw", "rollback@", "rollback@nothere", "reset", "freeze@x", "@", "💥"])
def test_a_command_that_cannot_be_carried_out_is_refused_once(command):
    """It says what is known, changes nothing, and does not repeat itself."""
    refused = decided(cycle(seen(), known=circumstances(command=command)))
    assert refused.reason == "CommandRefused"
    assert refused.memory.knobs.as_runtime() == {}
    assert (
        decided(cycle(seen(), memory=refused.memory, known=circumstances(command=command))).reason != "CommandRefused"
    )


def test_an_edited_knob_starts_anew():
    """When the resource's own value changes, the tuned one, its verification and its blocks go."""
    block = {"knob": "maxInFlight", "direction": "Up", "limit": 64, "until": NOW.replace(year=2027), "reason": "x"}
    memory = remembering(knobs={"max_in_flight": 64, "poll_batch_size": 200}, blocked=[block])
    edited = circumstances().starts.model_copy(update={"max_in_flight": 30})
    decision = decided(cycle(None, memory=memory, known=circumstances(starts=edited)))
    assert decision.memory.knobs.as_runtime() == {"poll_batch_size": 200}
    assert decision.memory.blocked == ()


def test_a_narrowed_fence_brings_the_value_back():
    """A bound edited to below the tuned value is followed at once."""
    narrow = policy().model_copy(update={"bounds": {**policy().bounds}})
    narrow.bounds[next(iter(narrow.bounds))] = narrow.bounds[next(iter(narrow.bounds))].model_copy(update={"max": 40})
    decision = decided(cycle(None, memory=remembering(knobs={"max_in_flight": 64}), rules=narrow))
    assert decision.memory.knobs.max_in_flight == 40


def test_the_history_is_bounded_and_folds_holds():
    """Ten entries; a hold that repeats is one entry with a count; steps are not pushed out by holds."""
    one = cycle(seen())
    decision = decided(one)
    for minute in range(1, 200):
        measured = seen(error_ratio=0.5) if minute % 3 == 0 else None
        decision = decided(applied(one, decision, measured, later=60 * minute))
    history = decision.memory.history
    assert len(history) <= 10
    assert {"Step", "Rollback", "Hold"} == {entry.kind for entry in history}
    assert max(entry.count for entry in history) > 1
