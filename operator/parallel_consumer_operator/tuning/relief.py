"""Memory pressure: take in less at once, without cooldown and without waiting for a verdict. Pure."""

import math

from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator.resource.tuning import Knob, TuningMode
from parallel_consumer_operator.resource.tuning_status import Direction
from parallel_consumer_operator.tuning import memory as remember
from parallel_consumer_operator.tuning.actions import hold, recommend, set_knob
from parallel_consumer_operator.tuning.cycle import Cycle
from parallel_consumer_operator.tuning.decision import Decision, Hit, Rule
from parallel_consumer_operator.tuning.rules import Proposal

FACTOR = 0.7
"""How far the intake goes down (design, gate MemoryPressure)."""


def relieve(cycle: Cycle, hit: Hit) -> Decision:
    """Lower the intake of a pod that holds too much, or say why that cannot be done."""
    knob = Knob.POLL_BATCH_SIZE if cycle.circumstances.mode is Mode.SINGLE else Knob.MAX_IN_FLIGHT
    value, goal = cycle.value(knob), _goal(cycle, knob)
    lately = _just_changed(cycle)
    killed = cycle.circumstances.out_of_memory_at or cycle.memory.last_out_of_memory
    cycle = cycle.with_memory(cycle.memory.model_copy(update={"last_out_of_memory": killed}))
    if lately:
        return hold(cycle, hit.gate, f"{hit.message}; a change less than a window ago has yet to show its effect")
    if goal >= value:
        return hold(
            cycle, hit.gate, f"{hit.message}, and {knob} is at its minimum of {value}: give the pods more memory"
        )
    match cycle.policy.mode_of(knob):
        case TuningMode.OFF:
            return hold(cycle, hit.gate, f"{hit.message}, and {knob} is not tuned")
        case TuningMode.RECOMMEND | TuningMode.APPROVE:
            return recommend(cycle, Proposal(Rule.MEMORY_PRESSURE, knob, goal, goal, hit.message), goal)
        case TuningMode.AUTO:
            memory = remember.blocked(cycle, knob, Direction.UP, value, hit.message)
            cycle = cycle.with_memory(memory.model_copy(update={"verifying": None}))
            return set_knob(cycle, None, Rule.MEMORY_PRESSURE, knob, goal, hit.message)


def _goal(cycle: Cycle, knob: Knob) -> int:
    wanted, step = math.floor(cycle.value(knob) * FACTOR), cycle.memory.verifying
    if step is not None and step.knob is knob and step.direction is Direction.UP:
        wanted = min(wanted, step.from_value)
    return cycle.policy.clamp(knob, max(1, wanted))


def _just_changed(cycle: Cycle) -> bool:
    """Whether a change had less than a window to show its effect; a new kill, or an open raise, does not wait."""
    elapsed, killed = cycle.since(cycle.memory.last_change), cycle.circumstances.out_of_memory_at
    fresh = killed is not None and killed != cycle.memory.last_out_of_memory
    return elapsed is not None and elapsed < cycle.policy.window and cycle.memory.verifying is None and not fresh
