"""The loops' end, and what is told of them meanwhile; what a pass does is not looked at."""

import asyncio

from parallel_consumer_operator import control as module
from parallel_consumer_operator.control import Control
from parallel_consumer_operator.exposition import OperatorMetrics
from parallel_consumer_operator.port import Key


class Reconciler:
    """Passes that last until they are let go; `cut` and `done` say how each ended."""

    def __init__(self) -> None:
        self.go_on, self.begun = asyncio.Event(), 0
        self.done, self.cut = list[Key](), list[Key]()

    async def step(self, key: Key) -> float | None:
        """Wait for the word."""
        self.begun += 1
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cut.append(key)
            raise
        self.done.append(key)
        return None

    def forget(self, _key: Key, _uid: str) -> list[Key]:
        """Nobody waits."""
        return []


def manifest(name: str) -> dict[str, dict[str, object]]:
    """Return a resource's metadata."""
    return {"metadata": {"namespace": "shop", "name": name, "uid": name, "generation": 1}}


async def begun(reconciler: Reconciler, *resources: str) -> tuple[Control, OperatorMetrics]:
    """Return loops in the middle of their first passes."""
    metrics = OperatorMetrics()
    control = Control(reconciler, metrics)  # type: ignore[arg-type]
    for name in resources:
        control.changed(manifest(name))
    async with asyncio.timeout(5):
        while reconciler.begun < len(resources):  # noqa: ASYNC110 - a counter tells nobody
            await asyncio.sleep(0)
    return control, metrics


async def test_passes_under_way_are_told() -> None:
    """They are the queue: a pass waits inside for its turn at the API server."""
    reconciler = Reconciler()
    control, metrics = await begun(reconciler, "a", "b", "c")
    assert metrics.registry.get_sample_value("pcon_operator_reconciles_under_way") == 3
    reconciler.go_on.set()
    async with asyncio.timeout(5):
        while metrics.registry.get_sample_value("pcon_operator_reconciles_under_way"):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    await control.stop()


async def test_a_pass_under_way_is_finished_before_the_end() -> None:
    """A loop that is told to end in the middle of a pass finishes it and begins no other; news begin none either."""
    reconciler = Reconciler()
    control, _ = await begun(reconciler, "a")
    ending = asyncio.create_task(control.stop())
    await asyncio.sleep(0.01)
    control.changed(manifest("late"))
    reconciler.go_on.set()
    await asyncio.wait_for(ending, 5)
    assert (reconciler.done, reconciler.cut, reconciler.begun) == ([Key("shop", "a")], [], 1)


async def test_a_pass_that_takes_too_long_is_cut_off(monkeypatch) -> None:
    """The next process finishes it; the end is not held up."""
    monkeypatch.setattr(module, "END_SECONDS", 0.05)
    reconciler = Reconciler()
    control, _ = await begun(reconciler, "a", "b")
    await asyncio.wait_for(control.stop(), 5)
    assert sorted(reconciler.cut) == [Key("shop", "a"), Key("shop", "b")]
    assert reconciler.done == []


def test_verdicts_are_counted_beside_decisions() -> None:
    """A cycle that judged no step counts as a decision alone."""
    metrics = OperatorMetrics()
    metrics.observe_decision("Steady", "InsideTolerance", None)
    metrics.observe_decision("Steady", "StepKept", "Paid")
    value = metrics.registry.get_sample_value
    assert value("pcon_operator_tuning_verdicts_total", {"verdict": "Paid"}) == 1
    assert value("pcon_operator_tuning_decisions_total", {"phase": "Steady", "reason": "InsideTolerance"}) == 1
