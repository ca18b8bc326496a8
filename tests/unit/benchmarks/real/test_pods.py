"""A workload in pods is a resource that the operator takes, with the limits and knobs that the simulator plays."""

from pathlib import Path

import pytest

from benchmarks.real import handlers
from benchmarks.real.pods import manifests
from benchmarks.real.stage import Plan, RealRun
from benchmarks.simulator.workload import load
from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec
from parallel_consumer_operator.resource.tuning import Knob, TuningMode

REAL = Path(__file__).parents[4] / "benchmarks" / "workloads" / "real"


@pytest.mark.parametrize("file", sorted(REAL.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_workload_in_pods_is_what_the_simulator_plays(file: Path) -> None:
    """Knobs, bounds, windows and objective are the file's; so are the pods' CPU and memory."""
    workload = load(file)
    plan = Plan(workload=workload, knobs=workload.start, mode=TuningMode.AUTO, begin=0, end=workload.seconds)
    source, consumer = manifests(plan, "x")["items"]
    spec = ParallelConsumerSpec.model_validate(consumer["spec"])
    assert source["data"]["handlers.py"] == Path(handlers.__file__).read_text()
    assert spec.handler.entrypoint == f"handlers:handle{'_async' if workload.mode is Mode.ASYNC else ''}"
    assert spec.replicas == workload.pods.count
    assert spec.tuning.objective == workload.objective
    assert spec.tuning.behavior == workload.bench.behavior
    assert spec.execution.max_in_flight == workload.start[Knob.MAX_IN_FLIGHT]
    assert spec.tuning.knobs.max_in_flight.max == workload.bounds[Knob.MAX_IN_FLIGHT][1]
    limits = spec.pod_template.spec.consumer.resources.limits
    assert limits == {"cpu": f"{workload.pods.cpu * 1_000:.0f}m", "memory": "1024Mi"}


def test_a_knob_taken_back_to_its_start_is_at_its_start() -> None:
    """What the status no longer says was tuned is where the resource put it."""
    start = dict.fromkeys(Knob, 8)
    kept = RealRun(start)
    kept.add(0.0, {"status": {"tuning": {"knobs": {"maxInFlight": 16}}}}, [])
    assert kept.knobs == {**start, Knob.MAX_IN_FLIGHT: 16}
    kept.add(1.0, {"status": {"tuning": {"knobs": {}}}}, [])
    assert kept.knobs == start
