"""The generation handshake: settings count as applied when every ready pod itself says that it runs them.

Asks the pods, never Prometheus. Changing a pod's annotation makes its kubelet sync the volume at once instead of within
a minute; a pod that has not seen the change after `TOUCH_SECONDS` is touched again.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from consumer_runtime.contract.state import RuntimeState
from parallel_consumer_operator.diagnosis import PodView, Problem
from parallel_consumer_operator.errors import PodUnreachableError
from parallel_consumer_operator.port import Key, Port

TOUCH_SECONDS = 3.0
"""Of 40 changes that were measured the slowest took 0.18 s; this is far beyond."""
TOUCHES = 3
LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Handshake:
    """What the ready pods said of one generation."""

    generation: int
    states: dict[str, RuntimeState]
    """Answers by pod; a pod that did not answer is missing."""
    waiting: tuple[str, ...]
    """Ready pods that do not run the generation, or do not answer."""

    @property
    def complete(self) -> bool:
        """Whether every ready pod runs the generation."""
        return not self.waiting


async def ask(port: Port, pods: Sequence[PodView], generation: int) -> Handshake:
    """Ask every running pod once, all at the same time: one that is not ready may know why."""
    asked = [pod for pod in pods if pod.running or pod.ready]
    answers = await asyncio.gather(*(_state(port, pod) for pod in asked))
    states = {pod.name: state for pod, state in zip(asked, answers, strict=True) if state is not None}
    return Handshake(
        generation=generation,
        states=states,
        waiting=tuple(pod.name for pod in pods if pod.ready and not _runs(states.get(pod.name), generation)),
    )


async def hand_over(port: Port, key: Key, pods: Sequence[PodView], generation: int) -> Handshake:
    """Ask until every ready pod runs the generation, touching those that do not; gives up after three touches."""
    answer = await ask(port, pods, generation)
    for attempt in range(TOUCHES):
        if answer.complete:
            return answer
        await asyncio.gather(*(port.touch_pod(key, pod, f"{generation}.{attempt}") for pod in answer.waiting))
        for _ in range(round(TOUCH_SECONDS / LOOK_SECONDS)):
            answer = await ask(port, pods, generation)
            if answer.complete:
                return answer
            await asyncio.sleep(LOOK_SECONDS)
    return answer


def in_silence(handshake: Handshake, *, gave_up: bool) -> tuple[Problem, ...]:
    """Return what is wrong with pods that do not follow, or do not answer, once a full handshake has given up."""
    if not gave_up or handshake.complete:
        return ()
    pods = ", ".join(handshake.waiting[:3])
    if any(pod not in handshake.states for pod in handshake.waiting):
        return (
            Problem("PodsUnreachable", f"The operator gets no answer from {pods} at /state: check NetworkPolicies."),
        )
    return (
        Problem("SettingsNotApplied", f"Generation {handshake.generation} of the settings is not in force in {pods}."),
    )


def _runs(state: RuntimeState | None, generation: int) -> bool:
    return state is not None and state.config_generation >= generation


async def _state(port: Port, pod: PodView) -> RuntimeState | None:
    try:
        return await port.pod_state(pod.manifest)
    except PodUnreachableError:
        return None
