"""The handshake against a stand-in for the port: who is asked, who is touched, when it gives up.

The real thing, with pods and a kubelet, is `tests/integration/operator/test_pods.py`.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from consumer_runtime.contract.settings import Mode
from consumer_runtime.contract.state import Phase, RuntimeState
from parallel_consumer_operator import handshake
from parallel_consumer_operator.diagnosis import view
from parallel_consumer_operator.errors import PodUnreachableError
from parallel_consumer_operator.port import Key, Manifest

KEY = Key("shop", "orders")


class Kubelets:
    """Pods that run an old generation until they are touched often enough; `needs` says how often, None for never."""

    def __init__(self, needs: dict[str, int | None], *, silent: frozenset[str] = frozenset()) -> None:
        self.needs, self.silent = needs, silent
        self.touches: dict[str, list[str]] = {name: [] for name in needs}

    async def touch_pod(self, _key: Key, pod: str, value: str) -> None:
        """Note the touch."""
        self.touches[pod].append(value)

    async def pod_state(self, pod: Manifest) -> RuntimeState:
        """Answer as the pod does."""
        name = pod["metadata"]["name"]
        if name in self.silent:
            raise PodUnreachableError(name)
        needed = self.needs[name]
        new = needed is not None and len(self.touches[name]) >= needed
        return RuntimeState(
            phase=Phase.RUNNING, config_generation=7 if new else 6, mode=Mode.ASYNC, knobs={}, assigned_partitions=1,
            in_flight=0,
        )  # fmt: skip


def pod(name: str, *, ready: bool = True) -> Any:
    """Return a running pod's view."""
    return view(
        {
            "metadata": {"name": name, "uid": name},
            "status": {
                "conditions": [{"type": "Ready", "status": str(ready)}],
                "containerStatuses": [{"name": "consumer", "state": {"running": {}}}],
            },
        }
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A touch is waited for a twentieth of a second instead of three."""
    monkeypatch.setattr(handshake, "TOUCH_SECONDS", 0.05)
    monkeypatch.setattr(handshake, "LOOK_SECONDS", 0.01)
    return


async def test_pods_that_have_the_generation_are_left_alone() -> None:
    """Only the one that lacks it is touched."""
    port = Kubelets({"new": 0, "old": 1})
    answer = await handshake.hand_over(port, KEY, [pod("new"), pod("old")], 7)
    assert answer.complete
    assert port.touches == {"new": [], "old": ["7.0"]}


async def test_a_pod_that_slept_is_touched_again_with_another_value() -> None:
    """The same value twice would be no change, and the kubelet would not look."""
    port = Kubelets({"old": 3})
    answer = await handshake.hand_over(port, KEY, [pod("old")], 7)
    assert answer.complete
    assert port.touches["old"] == ["7.0", "7.1", "7.2"]


async def test_it_gives_up_after_three_touches_and_says_who_is_missing() -> None:
    """Bounded; the caller makes a condition of it."""
    port = Kubelets({"stuck": None, "new": 0})
    answer = await handshake.hand_over(port, KEY, [pod("stuck"), pod("new")], 7)
    assert (answer.complete, answer.waiting) == (False, ("stuck",))
    assert len(port.touches["stuck"]) == handshake.TOUCHES


async def test_a_silent_pod_counts_as_waiting() -> None:
    """No answer is not yes."""
    port = Kubelets({"mute": 0}, silent=frozenset({"mute"}))
    answer = await handshake.ask(port, [pod("mute")], 7)
    assert (answer.waiting, answer.states) == (("mute",), {})


async def test_a_pod_that_is_not_ready_is_asked_why_and_not_waited_for() -> None:
    """It may know its problem; the handshake is about ready pods."""
    port = Kubelets({"starting": None})
    answer = await handshake.ask(port, [pod("starting", ready=False)], 7)
    assert answer.complete
    assert answer.states.keys() == {"starting"}
