import json

import pytest

from consumer_runtime import health
from consumer_runtime.contract.settings import Mode
from consumer_runtime.contract.state import Phase, RuntimeState, StartError, StartReason
from consumer_runtime.statistics import Statistics


def _state(**changes: object) -> RuntimeState:
    told = {
        "phase": Phase.RUNNING, "config_generation": 4, "mode": Mode.ASYNC, "knobs": {"task_timeout_ms": 10_000},
        "assigned_partitions": 2, "in_flight": 0,
    }  # fmt: skip
    return RuntimeState.model_validate(told | changes)


PROBLEM = StartError(reason=StartReason.BROKER_UNREACHABLE, field="f", value="v", remedy="start a broker")


@pytest.mark.parametrize(
    ("now", "heartbeat_at", "its_state", "alive"),
    [
        (100.0, 99.0, _state(), True),
        (100.0, 71.0, _state(), True),
        (100.0, 69.0, _state(), False),
        (100.0, 0.0, _state(phase=Phase.STARTING), True),
        (1_000.0, 1.0, _state(phase=Phase.DRAINING), True),
        (100.0, 61.0, _state(mode=Mode.SINGLE), True),
        (100.0, 59.0, _state(mode=Mode.SINGLE), False),
        (400.0, 100.0, _state(mode=Mode.SINGLE, knobs={"task_timeout_ms": 0}), True),
        (100.0, 99.0, _state(problem=PROBLEM), True),
    ],
)
def test_liveness_is_the_age_of_the_heartbeat(now, heartbeat_at, its_state, alive):
    """30 s; in mode single the handler's own time limit on top. No broker is no reason to restart, nor is draining."""
    assert (health.dead_because(state=its_state, heartbeat_at=heartbeat_at, now=now) is None) == alive


@pytest.mark.parametrize(
    ("its_state", "told"),
    [
        (_state(), None),
        (_state(assigned_partitions=0), None),
        (_state(problem=PROBLEM), "BrokerUnreachable: start a broker"),
        (_state(phase=Phase.STARTING), "the runtime is starting"),
        (_state(phase=Phase.DRAINING), "the runtime is draining"),
    ],
)
def test_readiness_says_why_not(its_state, told):
    """A pod beyond the partition count is ready: it has nothing to do, and nothing keeps it."""
    assert health.unready_because(its_state) == told


def test_started_once_means_started():
    """Draining is not starting."""
    assert health.unstarted_because(_state(phase=Phase.STARTING)) is not None
    assert health.unstarted_because(_state(phase=Phase.DRAINING)) is None


def test_the_pages_are_those_of_the_contract():
    """The operator reads /state as JSON of the contract's model; Prometheus reads /metrics."""
    routes = health.routes(state=_state, snapshot=Statistics().snapshot)
    assert RuntimeState.model_validate(json.loads(routes["/state"]().body)) == _state()
    assert b"consumer_config_generation" in routes["/metrics"]().body
    assert [routes[path]().status for path in ("/healthz", "/readyz", "/startupz")] == [200, 200, 200]
