"""Replicas in the simulated world, and the formulas of the controllers that the tuner is compared with."""

from typing import Any

import pytest

from benchmarks.simulator import rivals
from benchmarks.simulator.loop import Static, run
from benchmarks.simulator.workload import Workload
from benchmarks.simulator.world import World
from parallel_consumer_operator.resource.tuning import Knob

SLOW: dict[str, Any] = {
    "name": "slow", "arrivals": [{"seconds": 120, "rate": 400}], "partitions": 8, "pods": {"count": 1, "cpu": 1},
    "service": {"latency_ms_p50": 50, "latency_ms_p99": 50, "cpu_ms": 0.01},
    "start": {"maxInFlight": 8, "pollBatchSize": 100, "workerPoolSize": 1},
    "bounds": {"maxInFlight": [8, 400], "pollBatchSize": [50, 2000], "workerPoolSize": [1, 16]},
}  # fmt: skip
WORKLOAD = Workload.model_validate(SLOW)


def finished(world: World, seconds: float) -> int:
    """Return messages finished within so many seconds, by pods that are there at their end."""
    before = sum(pod.counters.processed for pod in world.pods)
    world.advance(world.now + seconds)
    return sum(pod.counters.processed for pod in world.pods) - before


def test_more_pods_do_more_and_fewer_do_less() -> None:
    """Twice the pods do twice as much once they are there; taken away again, nothing that they held is lost."""
    world = World(WORKLOAD, WORKLOAD.start)
    world.advance(5)
    one = finished(world, 10)
    world.scale(2)
    world.advance(world.now + 20)
    assert finished(world, 10) == pytest.approx(2 * one, rel=0.1)
    world.scale(1)
    world.advance(world.now + 10)
    assert finished(world, 10) == pytest.approx(one, rel=0.1)
    assert world.replicas == 1


@pytest.mark.parametrize("rival", [rivals.HpaOnLag, rivals.KedaLag])
def test_replicas_follow_the_lag(rival: Any) -> None:
    """Up to one pod for each partition, and every knob as it was."""
    steep = Workload.model_validate({**SLOW, "arrivals": [{"seconds": 120, "rate": 1_500}]})
    kept = run(steep, rival(steep), end=90)
    assert max(kept.replicas) == 8
    assert kept.knobs == steep.start


@pytest.mark.parametrize("rival", [rivals.Aimd, rivals.Vegas, rivals.Gradient2])
def test_limits_grow_while_calls_are_quick(rival: Any) -> None:
    """Limits that follow latency rise when it is flat and the limit is in use, and stay in their bounds."""
    kept = run(WORKLOAD, rival(WORKLOAD), end=60)
    limits = [look.knobs[Knob.MAX_IN_FLIGHT] for look in kept.looks]
    assert limits[-1] > limits[0]
    assert max(limits) <= 400
    assert kept.rate(40, 60) > run(WORKLOAD, Static(), end=60).rate(40, 60)


def test_lowering_on_a_pause_collapses() -> None:
    """The trap that the tuner's design names: a limit that is full pauses, which pyrallel takes for overload."""
    bounds = {**SLOW["bounds"], "maxInFlight": [8, 64]}
    steep = Workload.model_validate({**SLOW, "bounds": bounds, "arrivals": [{"seconds": 60, "rate": 2_000}]})
    kept = run(steep, rivals.PyrallelBackpressure(steep), knobs=rivals.started(steep, rivals.PyrallelBackpressure))
    assert kept.knobs[Knob.MAX_IN_FLIGHT] == 8
