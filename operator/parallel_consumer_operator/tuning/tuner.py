"""`decide`: one cycle's answer from policy, window, memory and time. Pure: the same input gives the same decision.

Gates first, then the verification of the last step, then the rules, then one clamp. At most one knob per step; never
None. What each gate, rule and verdict is stands in its own file; this one is their order.
"""

from dataclasses import replace
from datetime import datetime

from parallel_consumer_operator.resource.tuning import TuningMode
from parallel_consumer_operator.resource.tuning_status import Direction, OpenVerify, Pace, TuningStatus, Verdict
from parallel_consumer_operator.tuning import commands, gates, verify
from parallel_consumer_operator.tuning import memory as remember
from parallel_consumer_operator.tuning.actions import hold, set_knob
from parallel_consumer_operator.tuning.cycle import Cycle
from parallel_consumer_operator.tuning.decision import Cause, Decision, Gate, Hit, Judgement, Rollback, Rule
from parallel_consumer_operator.tuning.observation import Measurement, Window
from parallel_consumer_operator.tuning.phase import titled
from parallel_consumer_operator.tuning.policy import Policy
from parallel_consumer_operator.tuning.proposals import ask_rules
from parallel_consumer_operator.tuning.relief import relieve

CHANGING = (TuningMode.AUTO, TuningMode.APPROVE)
"""The modes in which something may be changed."""


def decide(policy: Policy, window: Window, memory: TuningStatus, now: datetime) -> Decision:
    """Return what to do now, and what to remember of it."""
    found = Cycle(policy, window, memory, now)
    cycle = found.with_memory(remember.prepare(found))
    hits = gates.hits(cycle)
    decision = _first_answer(cycle, hits)
    return replace(decision, hits=hits, memory=titled(cycle, decision, hits))


def _first_answer(cycle: Cycle, hits: tuple[Hit, ...]) -> Decision:
    """Commands; gates that shut out everything; memory; gates that shut out new things; the rest."""
    if not cycle.circumstances.paused and not cycle.circumstances.suspended:
        command = commands.answer(cycle)
        if command is not None:
            return command
    shut = gates.first(hits, gates.SHUT_TO_ALL)
    if shut is not None:
        return hold(cycle, shut.gate, shut.message)
    pressure = gates.first(hits, frozenset({Gate.MEMORY_PRESSURE}))
    if pressure is not None:
        return relieve(cycle, pressure)
    disturbed = gates.first(hits, gates.SHUT_TO_NEW)
    if disturbed is not None or cycle.window.measured is None:
        return _wait(cycle, disturbed or Hit(Gate.METRICS_UNAVAILABLE, cycle.window.missing))
    return _measured(cycle, cycle.window.measured, hits)


def _measured(cycle: Cycle, seen: Measurement, hits: tuple[Hit, ...]) -> Decision:
    """With figures in hand: take back an unverified raise, wait for the window, judge, then ask the rules."""
    step, no_raise = cycle.memory.verifying, gates.first(hits, gates.SHUT_TO_RAISES)
    if step is not None and no_raise is not None and step.direction is Direction.UP:
        return _take_back_at_once(cycle, step, no_raise)
    filling = gates.first(hits, frozenset({Gate.WINDOW_NOT_FULL}))
    if filling is not None:
        return _wait(cycle, filling)
    if step is None:
        return ask_rules(cycle, seen, no_raise)
    outcome = verify.expired(cycle, step) or verify.judge(cycle, step, seen)
    return _follow_verdict(cycle, seen, step, outcome, no_raise)


def _wait(cycle: Cycle, hit: Hit) -> Decision:
    """Hold; an open verification keeps its deadline."""
    step = cycle.memory.verifying
    outcome = verify.expired(cycle, step) if step is not None else None
    if step is None or outcome is None:
        return hold(cycle, hit.gate, hit.message)
    closed = cycle.with_memory(remember.after_verdict(cycle, step, outcome))
    return replace(hold(closed, hit.gate, hit.message), judgement=outcome.judgement)


def _take_back_at_once(cycle: Cycle, step: OpenVerify, hit: Hit) -> Decision:
    outcome = verify.Outcome(Judgement(Verdict.NOT_PAID, hit.message), Pace.CAREFUL, step.to_value)
    cause = Cause.FROZEN if hit.gate is Gate.FROZEN else Cause.STUCK_OFFSET
    return _take_back(cycle, step, outcome, cause) or hold(_closed(cycle, step, outcome), hit.gate, hit.message)


def _follow_verdict(
    cycle: Cycle, seen: Measurement, step: OpenVerify, outcome: verify.Outcome, no_raise: Hit | None
) -> Decision:
    closed = _closed(cycle, step, outcome)
    if outcome.trim_to is not None and cycle.policy.mode_of(step.knob) in CHANGING:
        memory = remember.blocked(closed, step.knob, Direction.UP, step.to_value, outcome.judgement.message)
        trimmed = cycle.policy.clamp(step.knob, outcome.trim_to)
        text = f"{outcome.judgement.message} is carried by {trimmed}, the rest only waits downstream"
        decision = set_knob(closed.with_memory(memory), seen, Rule.TRIM, step.knob, trimmed, text)
        return replace(decision, judgement=outcome.judgement)
    if outcome.judgement.verdict is Verdict.NOT_PAID:
        # Also a lowering behind a gate that forbids raises: taking back goes on there, and it is no new value.
        taken = _take_back(cycle, step, outcome, Cause.DID_NOT_PAY)
        if taken is not None:
            return taken
    if step.rule == Rule.TRIM:
        closed = closed.with_memory(_after_trim(closed, step, seen))
    return replace(ask_rules(closed, seen, no_raise), judgement=outcome.judgement)


def _closed(cycle: Cycle, step: OpenVerify, outcome: verify.Outcome) -> Cycle:
    return cycle.with_memory(remember.after_verdict(cycle, step, outcome))


def _after_trim(cycle: Cycle, step: OpenVerify, seen: Measurement) -> TuningStatus:
    """When less in flight carries no more than the value before the trim did, there is nothing to be found above."""
    if seen.rate > step.baseline.rate_milli / 1_000 * (1 + verify.LOST):
        return cycle.memory
    return remember.blocked(cycle, step.knob, Direction.UP, step.to_value, "more in flight carried no more")


def _take_back(cycle: Cycle, step: OpenVerify, outcome: verify.Outcome, cause: Cause) -> Decision | None:
    if not cycle.policy.spec.verify.rollback or cycle.policy.mode_of(step.knob) not in CHANGING:
        return None
    goal = cycle.policy.clamp(step.knob, step.from_value)
    text = f"{step.knob} {step.to_value} -> {goal}: {step.rule} did not pay, {outcome.judgement.message}"
    action = Rollback(
        id=remember.identifier("rollback", step.id),
        of=step.id,
        knob=step.knob,
        from_value=step.to_value,
        to_value=goal,
        cause=cause,
        message=text,
    )
    return Decision(action, remember.after_rollback(_closed(cycle, step, outcome), action), judgement=outcome.judgement)
