"""The simulated world behaves as queueing theory and the runtime's design say; it decides nothing about knobs."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.simulator.errors import WorkloadError
from benchmarks.simulator.workload import Workload, load
from benchmarks.simulator.world import World
from parallel_consumer_operator.resource.tuning import Knob

BOUNDS = {"maxInFlight": [8, 4000], "pollBatchSize": [50, 2000], "workerPoolSize": [1, 16]}
START = {"maxInFlight": 16, "pollBatchSize": 500, "workerPoolSize": 2}


def workload(**parts: Any) -> Workload:
    """Return a workload of one pod, 8 partitions and more arrivals than it can carry."""
    base = {"name": "made", "arrivals": [{"seconds": 60, "rate": 20_000}], "start": START, "bounds": BOUNDS}
    service = {"latency_ms_p50": 20, "latency_ms_p99": 20, "cpu_ms": 0.01}
    return Workload.model_validate({**base, "service": service, **parts})


def rate(world: World, seconds: float = 10.0) -> float:
    """Return messages finished per second, after two seconds to get going."""
    world.advance(world.now + 2)
    before, begun = sum(pod.counters.processed for pod in world.pods), world.now
    world.advance(begun + seconds)
    return (sum(pod.counters.processed for pod in world.pods) - before) / seconds


@pytest.mark.parametrize("limit", [16, 64, 128])
def test_a_limit_carries_what_littles_law_says(limit: int) -> None:
    """Messages in flight over the time of each, while neither CPU nor keys bind."""
    made = workload(start={**START, "maxInFlight": limit})
    assert rate(World(made, made.start)) == pytest.approx(limit / 0.020, rel=0.1)


def test_one_interpreter_bounds_what_computing_handlers_do() -> None:
    """1 ms of CPU for each message in mode async: not more than 1,000 a second, whatever the limit."""
    made = workload(service={"cpu_ms": 1}, start={**START, "maxInFlight": 512})
    assert 900 < rate(World(made, made.start)) <= 1_000


def test_a_single_key_has_no_parallelism() -> None:
    """Messages of one key wait for each other: one at a time, 50 a second."""
    made = workload(keys={"count": 1})
    assert rate(World(made, made.start)) == pytest.approx(50, rel=0.1)


def test_beyond_the_knee_more_is_not_faster() -> None:
    """Twice the calls that the downstream bears take three times as long: the rate falls."""
    service = {"latency_ms_p50": 20, "latency_ms_p99": 20, "knee": 100, "beyond_knee": {"latency_factor": 3}}
    at_the_knee = workload(service=service, start={**START, "maxInFlight": 100})
    beyond = workload(service=service, start={**START, "maxInFlight": 200})
    assert rate(World(beyond, beyond.start)) < rate(World(at_the_knee, at_the_knee.start))


def test_a_changed_knob_is_in_force_a_moment_later() -> None:
    """The pods are the same, the rate follows."""
    made = workload()
    world = World(made, made.start)
    pods = list(world.pods)
    slow = rate(world)
    world.change({**made.start, Knob.MAX_IN_FLIGHT: 64})
    assert rate(world) == pytest.approx(4 * slow, rel=0.1)
    assert world.pods == pods


def test_the_same_seed_gives_the_same_history() -> None:
    """To the message, with drawn service times, keys and a restarted pod."""
    faults = [{"at": 3, "for": 0, "kind": "pod_restart"}]
    service = {"latency_ms_p50": 20, "latency_ms_p99": 60, "cpu_ms": 0.1}
    made = workload(service=service, keys={"count": 1_000, "zipf": 1.1}, faults=faults)
    assert rate(World(made, made.start), 20) == rate(World(made, made.start), 20)


def test_nothing_is_lost_over_a_restart() -> None:
    """What a pod held when it went is fetched again: in the end everything that came is done."""
    faults = [{"at": 3, "for": 0, "kind": "pod_restart"}]
    arrivals = [{"seconds": 10, "rate": 300}, {"seconds": 60, "rate": 0}]
    world = World(workload(arrivals=arrivals, faults=faults), START_KNOBS)
    world.advance(70)
    assert sum(partition.backlog for partition in world.partitions) < 8


START_KNOBS = {knob: START[knob.value] for knob in Knob}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"speed": 3}, ["speed", "Extra inputs"]),
        ({"arrivals": [{"seconds": 0, "rate": 1}]}, ["arrivals.0.seconds", "greater than or equal to 1", "given: 0"]),
        ({"start": {**START, "maxInFlight": 5}}, ["start.maxInFlight: 5", "8..4000"]),
        ({"start": {"pollBatchSize": 500}}, ["start.maxInFlight: is missing"]),
        ({"bounds": {**BOUNDS, "maxInFlight": [0, 9]}}, ["bounds.maxInFlight: [0, 9]", "1 <= min <= max <= 100000"]),
        ({"mode": "auto"}, ["mode: auto", "single, async, thread or process"]),
        ({"faults": [{"at": 0, "kind": "rebalance"}, {"at": 0, "kind": "flood"}]}, ["faults.1.kind", "given: flood"]),
        ({"faults": [{"at": 7, "kind": "rebalance"}]}, ["faults.0.at: 7 is not before", "1"]),
        ({"faults": [{"at": 0, "kind": "stuck_partition", "partition": 8}]}, ["faults.0.partition: 8", "0..7"]),
        ({"faults": [{"at": 0, "kind": "broker_slow"}]}, ["faults.0: broker_slow needs ms"]),
        ({"faults": [{"at": 0, "kind": "memory", "ms": 5}]}, ["faults.0: ms says nothing of memory"]),
        ({"arrivals": [{"seconds": 86_400, "rate": 1e6}]}, ["arrivals: 86400000000 messages", "100000000"]),
    ],
)
def test_a_wrong_workload_file_is_refused_with_its_field(tmp_path: Path, change: Any, words: list[str]) -> None:
    """File, field, and what is allowed."""
    file = tmp_path / "w.yaml"
    right = {"name": "w", "partitions": 8, "arrivals": [{"seconds": 1, "rate": 1}], "start": START, "bounds": BOUNDS}
    file.write_text(json.dumps(right))
    assert load(file).name == "w"
    file.write_text(json.dumps({**right, **change}))
    with pytest.raises(WorkloadError) as caught:
        load(file)
    assert all(word in str(caught.value) for word in ["w.yaml", *words])


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"a: [", b"\xff\xfe\x00"])
def test_a_file_that_is_no_workload_at_all_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    """Empty, a list, half a YAML, not even text."""
    file = tmp_path / "w.yaml"
    file.write_bytes(content)
    with pytest.raises(WorkloadError, match=r"w\.yaml: .+"):
        load(file)


def test_what_a_file_may_leave_out() -> None:
    """A constant service time needs no p99, mode async no pool, and a fault without an end lasts."""
    made = workload(
        service={"latency_ms_p50": 20}, start={"maxInFlight": 8, "pollBatchSize": 50},
        faults=[{"at": 5, "kind": "downstream", "latency_factor": 2}],
    )  # fmt: skip
    assert made.service.latency_ms_p99 == 20
    assert made.start[Knob.WORKER_POOL_SIZE] == 1
    world = World(made, made.start)
    before = rate(world, 2)
    world.advance(50)
    assert rate(world, 5) == pytest.approx(before / 2, rel=0.1)
