"""What is wrong with pods, by what Kubernetes and the pods say of themselves."""

from typing import Any

import pytest

from consumer_runtime.contract.settings import Mode
from consumer_runtime.contract.state import Phase, RejectedSettings, RuntimeState, StartError, StartReason
from parallel_consumer_operator.diagnosis import (
    is_stuck_in_silence,
    lacks_pods_in_silence,
    of_warnings,
    of_workload,
    out_of_memory_at,
    problems,
    still_counts,
    view,
)

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


def beside(place: str, **status: Any) -> dict[str, Any]:
    """Return a pod whose consumer waits for another container in this status."""
    found = pod(**waiting("PodInitializing"))
    found["status"].setdefault(place, []).append({"name": "proxy", "image": "p:1", **status})
    return found


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (beside("initContainerStatuses", **ended(exitCode=2)), "exit code 2"),
        (beside("initContainerStatuses", **waiting("ImagePullBackOff", "no p:1")), "no p:1"),
        (beside("containerStatuses", **ended(exitCode=1)), "kubectl logs --previous -c proxy"),
    ],
)
def test_a_container_beside_the_consumer_is_told_of(found: dict[str, Any], words: str) -> None:
    """A sidecar or init container that fails keeps the consumer from its work; the sentence names it."""
    (problem,) = problems([found], {})
    assert (problem.reason, "container proxy" in problem.message) == ("SidecarFailed", True)
    assert words in problem.message


@pytest.mark.parametrize(
    "found",
    [
        beside("initContainerStatuses", state={"terminated": {"exitCode": 0}}, ready=True),
        beside("initContainerStatuses", state={"running": {}}),
        beside("containerStatuses", state={"running": {}}, ready=True, lastState={"terminated": {"exitCode": 1}}),
    ],
)
def test_a_container_beside_the_consumer_may_have_ended_or_run(found: dict[str, Any]) -> None:
    """An init container that did its work, one that still does, and a sidecar with a past."""
    assert problems([found], {}) == []


def event(reason: str, message: str, at: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    """Return a warning."""
    return {"reason": reason, "message": message, "lastTimestamp": at}


@pytest.mark.parametrize(
    ("events", "reason", "words"),
    [
        ([event("FailedMount", 'configmap "x" not found')], "VolumeNotMounted", 'configmap "x" not found'),
        ([event("FailedCreate", "exceeded quota")], "PodsRefused", "exceeded quota"),
        ([event("FailedCreatePodSandBox", "no network")], "PodNotStarted", "no network"),
        ([event("FailedMount", "new", "2026-01-03T00:00:00Z"), event("FailedMount", "old")], "VolumeNotMounted", "new"),
    ],
)
def test_a_warning_becomes_a_problem(events: list[dict[str, Any]], reason: str, words: str) -> None:
    """The latest one that tells something counts; its own words are kept."""
    problem = of_warnings(events)
    assert problem is not None
    assert problem.reason == reason
    assert words in problem.message


def test_other_warnings_tell_nothing() -> None:
    """A failed probe is told by the pod itself."""
    assert of_warnings([event("Unhealthy", "probe failed")]) is None
    assert of_warnings([]) is None


def test_only_a_pod_that_says_nothing_is_asked_about() -> None:
    """One with a node and no container; not one without a node, one that says why it waits, or one that runs."""
    silent = pod(conditions={"PodScheduled": "True"}, **waiting("ContainerCreating"))
    silent["status"]["phase"] = "Pending"
    assert is_stuck_in_silence(silent)
    for status in (waiting("ImagePullBackOff"), {"state": {"running": {}}}):
        other = pod(conditions={"PodScheduled": "True"}, **status)
        other["status"]["phase"] = "Pending"
        assert not is_stuck_in_silence(other)
    assert not is_stuck_in_silence(pod(conditions={"PodScheduled": "False"}))


def test_a_stateful_set_tells_only_in_events() -> None:
    """A Deployment has a condition for it."""
    wanted = {"spec": {"replicas": 2}}
    assert lacks_pods_in_silence({"kind": "StatefulSet", **wanted}, 1)
    assert not lacks_pods_in_silence({"kind": "StatefulSet", **wanted}, 2)
    assert not lacks_pods_in_silence({"kind": "Deployment", **wanted}, 0)


def test_an_evicted_pod_does_not_count() -> None:
    """It is kept for its logs; another one has taken its place."""
    assert still_counts(pod())
    evicted = pod()
    evicted["status"] |= {"phase": "Failed", "reason": "Evicted"}
    assert not still_counts(evicted)
