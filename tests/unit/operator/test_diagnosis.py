"""What is wrong with pods, by what Kubernetes and the pods say of themselves."""

from typing import Any

import pytest

from consumer_runtime.contract.settings import Mode
from consumer_runtime.contract.state import Phase, RejectedSettings, RuntimeState, StartError, StartReason
from parallel_consumer_operator.diagnosis import of_workload, out_of_memory_at, problems, view

TOPIC = StartError(
    reason=StartReason.TOPIC_NOT_FOUND, field="spec.source.kafka.topics", value="orders", remedy="create the topic"
)


def pod(name: str = "orders-1", conditions: dict[str, str] | None = None, **status: Any) -> dict[str, Any]:
    """Return a pod with one consumer container in this status."""
    return {
        "metadata": {"name": name, "uid": f"uid-{name}"},
        "status": {
            "conditions": [{"type": kind, "status": value} for kind, value in (conditions or {}).items()],
            "containerStatuses": [{"name": "consumer", "image": "shop:1", **status}],
        },
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    """Return a container that waits."""
    return {"state": {"waiting": {"reason": reason, "message": message}}}


def ended(**terminated: Any) -> dict[str, Any]:
    """Return a container that ended and waits for its next start."""
    return {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": terminated}}


def state(**fields: Any) -> RuntimeState:
    """Return a pod's answer."""
    return RuntimeState(
        phase=Phase.RUNNING,
        config_generation=1,
        mode=Mode.ASYNC,
        knobs={},
        assigned_partitions=1,
        in_flight=0,
        **fields,
    )


@pytest.mark.parametrize(
    ("found", "reason", "words"),
    [
        (pod(**waiting("ImagePullBackOff", "no such image")), "ImagePullFailed", "spec.handler.image"),
        (pod(**waiting("ErrImageNeverPull")), "ImagePullFailed", "shop:1"),
        (pod(**waiting("CreateContainerConfigError", 'secret "x" not found')), "PodConfigInvalid", 'secret "x"'),
        (pod(**ended(reason="OOMKilled", exitCode=137)), "OutOfMemory", "memory limit"),
        (pod(**ended(exitCode=1, message=TOPIC.model_dump_json())), "TopicNotFound", "create the topic"),
        (pod(**ended(exitCode=1, message="Traceback\nValueError: boom\n")), "CrashLoop", "ValueError: boom"),
        (pod(**ended(exitCode=139)), "CrashLoop", "139"),
    ],
)
def test_a_container_that_does_not_run(found: dict[str, Any], reason: str, words: str) -> None:
    """Each way to fail has its own word, and the sentence says what to look at."""
    (problem,) = problems([found], {})
    assert problem.reason == reason
    assert words in problem.message


@pytest.mark.parametrize(
    "found",
    [
        pod(state={"running": {}}, ready=True),
        pod(state={"waiting": {"reason": "ContainerCreating"}}),
        pod(state={"running": {}}, ready=True, lastState={"terminated": {"exitCode": 1, "message": "long ago"}}),
        pod(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": {"exitCode": 0}}),
        {"metadata": {"name": "new", "uid": "1"}},
        {**pod(**ended(exitCode=1)), "metadata": {"name": "a", "uid": "1", "deletionTimestamp": "now"}},
    ],
)
def test_what_is_no_problem(found: dict[str, Any]) -> None:
    """A healthy pod with a past, one that is just starting, and one that is going away."""
    assert problems([found], {}) == []


def test_a_pod_that_runs_and_cannot_work_says_so_itself() -> None:
    """A problem at /state is told although Kubernetes sees nothing wrong."""
    (problem,) = problems([pod(state={"running": {}}, ready=True)], {"orders-1": state(problem=TOPIC)})
    assert problem.reason == "TopicNotFound"
    assert "spec.source.kafka.topics" in problem.message


def test_refused_settings_are_told_while_the_last_good_ones_run() -> None:
    """The field, the value and the remedy are the runtime's."""
    rejected = RejectedSettings(field="execution.max_in_flight", value="0", remedy="at least 1")
    (problem,) = problems([pod(state={"running": {}}, ready=True)], {"orders-1": state(rejected=rejected)})
    assert problem.reason == "SettingsRejected"
    assert "at least 1" in problem.message


def test_what_many_pods_suffer_is_told_once() -> None:
    """Ten pods with one cause are one sentence."""
    pods = [pod(name=f"orders-{number}", **waiting("ImagePullBackOff")) for number in range(10)]
    assert len(problems(pods, {})) == 1


def test_a_pod_without_a_node_is_told() -> None:
    """The scheduler's sentence says why."""
    found = pod()
    found["status"]["conditions"] = [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/3 nodes: not enough memory",
        }
    ]
    (problem,) = problems([found], {})
    assert problem.reason == "Unschedulable"
    assert "not enough memory" in problem.message


def test_pods_that_may_not_even_be_made() -> None:
    """Quota or Pod Security: the Deployment says so."""
    condition = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    (problem,) = of_workload({"status": {"conditions": [condition]}})
    assert "exceeded quota" in problem.message
    assert of_workload(None) == []


def test_the_latest_out_of_memory_kill() -> None:
    """The newest of all pods, current or past; None when there was none."""
    early = pod(**ended(reason="OOMKilled", finishedAt="2026-01-01T00:00:00Z"))
    late = pod(name="b", state={"terminated": {"reason": "OOMKilled", "finishedAt": "2026-01-02T00:00:00Z"}})
    assert out_of_memory_at([early, late, pod()]) == "2026-01-02T00:00:00Z"
    assert out_of_memory_at([pod()]) is None


def test_a_pod_that_is_going_is_not_ready() -> None:
    """Its settings do not matter any more."""
    going = pod(conditions={"Ready": "True"})
    assert view(going).ready
    going["metadata"]["deletionTimestamp"] = "now"
    assert not view(going).ready
