"""From the rules' findings to one action: blocks, the one clamp, tolerance, cooldown, modes. Pure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from parallel_consumer_operator.resource.tuning import Knob, TuningMode
from parallel_consumer_operator.resource.tuning_status import Block, Direction, KnobValues, Saturation
from parallel_consumer_operator.tuning import commands, rules, verify
from parallel_consumer_operator.tuning import memory as remember
from parallel_consumer_operator.tuning.actions import hold, recommend, set_knob
from parallel_consumer_operator.tuning.cycle import Cycle
from parallel_consumer_operator.tuning.decision import Decision, Gate, Hit, Hold, Quiet, Rule
from parallel_consumer_operator.tuning.observation import Measurement
from parallel_consumer_operator.tuning.policy import tunable


@dataclass(frozen=True, slots=True)
class _Answer:
    """What became of one rule's finding: a value to go to, or why not."""

    proposal: rules.Proposal | None = None
    goal: int = 0
    hold: Hold | None = None
    saturation: Saturation | None = None


def ask_rules(cycle: Cycle, seen: Measurement, no_raise: Hit | None) -> Decision:
    """Take the first finding that may be carried out; else recommend the first that may be said; else say why not."""
    answers = list(_answers(cycle, seen, no_raise))
    saturation = next((answer.saturation for answer in answers if answer.saturation), None)
    cycle = cycle.with_memory(cycle.memory.model_copy(update={"saturated": saturation}))
    approved = _approved(cycle, seen, no_raise)
    if approved is not None:
        return approved
    possible = [answer for answer in answers if answer.proposal is not None]
    for answer in possible:
        proposal = answer.proposal
        if proposal is not None and cycle.policy.mode_of(proposal.knob) is TuningMode.AUTO:
            return _paced_step(cycle, seen, proposal, answer.goal)
    if possible and possible[0].proposal is not None:
        return recommend(cycle, possible[0].proposal, possible[0].goal)
    cycle = cycle.with_memory(cycle.memory.model_copy(update={"recommendation": None}))
    holds = [answer.hold for answer in answers if answer.hold is not None]
    if holds:
        return hold(cycle, holds[0].reason, holds[0].message)
    return hold(cycle, Quiet.ON_TARGET, _on_target_text(cycle, seen))


def _answers(cycle: Cycle, seen: Measurement, no_raise: Hit | None) -> Iterator[_Answer]:
    allowed = tunable(cycle.circumstances.mode)
    for rule in rules.RULES:
        found = rule(cycle, seen)
        if isinstance(found, rules.Note):
            saturation = Saturation(reason=found.reason.value, message=found.message) if found.saturated else None
            yield _Answer(hold=Hold(found.reason, found.message), saturation=saturation)
        elif found is not None and found.knob in allowed and cycle.policy.mode_of(found.knob) is not TuningMode.OFF:
            yield _admit(cycle, seen, found, no_raise)


def _admit(cycle: Cycle, seen: Measurement, proposal: rules.Proposal, no_raise: Hit | None) -> _Answer:
    """Blocks, then the one clamp, then tolerance; a raise also needs the gates that forbid raises to be open."""
    value = cycle.value(proposal.knob)
    direction = Direction.UP if proposal.wanted > value else Direction.DOWN
    if direction is Direction.UP and no_raise is not None:
        return _Answer(hold=Hold(no_raise.gate, f"{no_raise.message}; {proposal.message}"))
    wanted, block = _short_of_block(cycle, seen, proposal, direction)
    if block is not None:
        saturation = Saturation(reason=Gate.BLOCKED, message=f"{proposal.message}; {block.reason}")
        text = f"{proposal.knob} {direction} from {block.limit} is blocked until {block.until:%H:%M:%S}: {block.reason}"
        return _Answer(hold=Hold(Gate.BLOCKED, text), saturation=saturation if direction is Direction.UP else None)
    goal = cycle.policy.clamp(proposal.knob, wanted)
    if goal == value or (goal > value) is not (direction is Direction.UP):
        if proposal.rule is Rule.OVERPROVISIONED:
            return _Answer()
        text = f"{proposal.message}; {rules.advice(cycle, seen, proposal)}"
        uncapped = KnobValues().having(proposal.knob, min(100_000, max(1, proposal.ideal)))
        saturation = Saturation(reason=Quiet.AT_BOUND, message=text, uncapped=uncapped)
        return _Answer(hold=Hold(Quiet.AT_BOUND, text), saturation=saturation if direction is Direction.UP else None)
    # Short of a block the steps become small on purpose; how near is near enough was settled there.
    if wanted == proposal.wanted and abs(goal - value) < cycle.policy.tolerance * value:
        text = f"{proposal.knob} {value} is within {cycle.policy.tolerance:.0%} of {goal}: {proposal.message}"
        return _Answer(hold=Hold(Gate.INSIDE_TOLERANCE, text))
    return _Answer(proposal=proposal, goal=goal)


def _short_of_block(
    cycle: Cycle, seen: Measurement, proposal: rules.Proposal, direction: Direction
) -> tuple[int, Block | None]:
    """Return the value to go to, half way to what failed; or the block, when it is too near.

    Half way is the geometric mean, and no factor holds it back: what lies at its far end is known, so that halving
    finds the best value within a few steps (decision 11). It ends within half of the tolerance.
    """
    block, value = remember.block_of(cycle.memory, proposal.knob, direction), cycle.value(proposal.knob)
    if block is None or cycle.now >= block.until or _of_another_load(block, seen):
        return proposal.wanted, None
    half, near = math.sqrt(value * block.limit), cycle.policy.tolerance / 2
    if direction is Direction.UP:
        # To the nearest: rounded down each time, five halvings of a bracket of 4 do not come within half of 10 %.
        middle = min(round(half), block.limit - 1)
        is_near = block.limit <= value * (1 + near) or middle <= value
        return min(proposal.ideal, middle), block if is_near else None
    is_near = block.limit >= value * (1 - near) or math.ceil(half) >= value
    return max(proposal.wanted, math.ceil(half)), block if is_near else None


def _of_another_load(block: Block, seen: Measurement) -> bool:
    """Whether a raise that brought nothing was tried for clearly less than comes now (decision 15)."""
    tried_for = block.arrivals_milli
    return tried_for is not None and seen.arrivals * 1_000 > (1 + verify.INPUT_MOVED) * tried_for


def _paced_step(cycle: Cycle, seen: Measurement, proposal: rules.Proposal, goal: int) -> Decision:
    """Make the step, unless the last change is too recent or there were too many of them."""
    behavior = cycle.policy.spec.behavior
    raising = goal > cycle.value(proposal.knob)
    cooldown = behavior.scale_up.cooldown_seconds if raising else behavior.scale_down.cooldown_seconds
    elapsed = cycle.since(cycle.memory.last_change)
    if elapsed is not None and elapsed < timedelta(seconds=cooldown):
        left = cooldown - elapsed.total_seconds()
        return hold(cycle, Gate.COOLDOWN, f"{proposal.message}; {left:.0f} s of cooldown are left")
    if len(cycle.memory.change_times) >= behavior.max_changes_per_hour:
        text = f"{proposal.message}; {len(cycle.memory.change_times)} changes in the last hour are the most allowed"
        return hold(cycle, Gate.CHANGES_PER_HOUR, text)
    return set_knob(cycle, seen, proposal.rule, proposal.knob, goal, proposal.message)


def _approved(cycle: Cycle, seen: Measurement, no_raise: Hit | None) -> Decision | None:
    """Carry out a recommendation that was approved; a raise waits until raises are allowed again."""
    recommendation = commands.approved(cycle)
    if recommendation is None:
        return None
    knob = next(knob for knob in Knob if recommendation.knobs.of(knob) is not None)
    goal = cycle.policy.clamp(knob, recommendation.knobs.of(knob) or 1)
    if cycle.policy.mode_of(knob) is not TuningMode.APPROVE or goal == cycle.value(knob):
        return None
    if no_raise is not None and goal > cycle.value(knob):
        return hold(cycle, no_raise.gate, f"{recommendation.id} is approved and waits: {no_raise.message}")
    cycle = cycle.with_memory(commands.approval_done(cycle, recommendation))
    return set_knob(cycle, seen, Rule(recommendation.reason), knob, goal, f"approved {recommendation.id}")


def _on_target_text(cycle: Cycle, seen: Measurement) -> str:
    seconds = seen.lag_seconds or 0
    return f"lag is {seconds:.0f} s (target {cycle.target_lag} s) at {seen.rate:.0f}/s"
