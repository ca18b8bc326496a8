"""What is wrong with the pods, by what Kubernetes and the pods themselves say. Pure: manifests in, problems out."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from consumer_runtime.contract.state import RuntimeState, StartError
from parallel_consumer_operator.port import Manifest
from parallel_consumer_operator.resource import names

_IMAGE_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
)
_CONFIG_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that keeps pods from their work: a word for programs, a sentence with the remedy for people."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class PodView:
    """What the operator needs to know of one pod."""

    name: str
    uid: str
    ready: bool
    running: bool
    """The consumer's container runs, ready or not: it can be asked."""
    restart_hash: str
    touched: str
    restarts: int
    manifest: Manifest


def still_counts(pod: Manifest) -> bool:
    """Return whether a pod is there in more than name: one that was evicted or ended is kept for its logs alone."""
    return (pod.get("status") or {}).get("phase") not in {"Failed", "Succeeded"}


def view(pod: Manifest) -> PodView:
    """Return the view of a pod's manifest."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    annotations = metadata.get("annotations") or {}
    conditions = {entry["type"]: entry["status"] for entry in status.get("conditions") or []}
    return PodView(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        ready=conditions.get("Ready") == "True" and not metadata.get("deletionTimestamp"),
        running="running" in (_consumer(pod).get("state") or {}) and not metadata.get("deletionTimestamp"),
        restart_hash=annotations.get(names.ANNOTATION_RESTART_HASH, ""),
        touched=annotations.get(names.ANNOTATION_TOUCHED, ""),
        restarts=int(_consumer(pod).get("restartCount") or 0),
        manifest=pod,
    )


def problems(pods: Iterable[Manifest], states: Mapping[str, RuntimeState]) -> list[Problem]:
    """Return what is wrong, without repetition, gravest first; `states` are the pods' own answers by name."""
    found: dict[Problem, None] = {}
    for pod in pods:
        if pod["metadata"].get("deletionTimestamp"):
            continue
        problem = (
            _of_container(pod)
            or _of_others(pod)
            or _of_state(states.get(pod["metadata"]["name"]))
            or _of_scheduling(pod)
        )
        if problem is not None:
            found[problem] = None
    return list(found)


def of_workload(workload: Manifest | None) -> list[Problem]:
    """Return why pods cannot even be made: quota, admission, Pod Security; a StatefulSet tells it in events alone."""
    conditions = ((workload or {}).get("status") or {}).get("conditions") or []
    return [
        _refused(condition.get("message", ""))
        for condition in conditions
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True"
    ]


def lacks_pods_in_silence(workload: Manifest, pods: int) -> bool:
    """Return whether there are fewer pods than wanted, and only events can say why: a StatefulSet has no conditions."""
    return workload["kind"] == "StatefulSet" and pods < int(workload["spec"].get("replicas") or 0)


def is_stuck_in_silence(pod: Manifest) -> bool:
    """Return whether a pod has a node and no container, without a reason in its status."""
    status = pod.get("status") or {}
    waiting = (_consumer(pod).get("state") or {}).get("waiting") or {}
    scheduled = any(
        each["type"] == "PodScheduled" and each["status"] == "True" for each in status.get("conditions") or []
    )
    silent = waiting.get("reason", "ContainerCreating") == "ContainerCreating" and "running" not in (
        _consumer(pod).get("state") or {}
    )
    return scheduled and silent and status.get("phase") == "Pending" and not pod["metadata"].get("deletionTimestamp")


def of_warnings(events: Iterable[Manifest]) -> Problem | None:
    """Return what the latest telling event about a stuck pod, or a workload without pods, says; None if none does."""
    telling = [event for event in events if event.get("reason") in _TELLING]
    if not telling:
        return None
    latest = max(telling, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    return _TELLING[latest["reason"]](" ".join(str(latest.get("message", "")).split()))


def _refused(message: str) -> Problem:
    return Problem(
        "PodsRefused",
        f"Kubernetes refuses to make pods: {message}. Change what it names in spec.podTemplate, or the namespace's"
        " quota, limits or Pod Security.",
    )


def _not_mounted(message: str) -> Problem:
    return Problem(
        "VolumeNotMounted",
        f"A volume of a pod cannot be mounted: {message}. Create what it names, or correct"
        " spec.podTemplate.spec.volumes.",
    )


def _no_sandbox(message: str) -> Problem:
    return Problem("PodNotStarted", f"The node cannot start a pod: {message}. See kubectl describe pod, and the node.")


_TELLING: dict[str, Callable[[str], Problem]] = {
    "FailedMount": _not_mounted,
    "FailedAttachVolume": _not_mounted,
    "FailedCreate": _refused,
    "FailedCreatePodSandBox": _no_sandbox,
}


def out_of_memory_at(pods: Iterable[Manifest]) -> str | None:
    """Return when a consumer was last killed for want of memory, as Kubernetes writes times; None when never."""
    times = [
        ended.get("finishedAt", "")
        for pod in pods
        for ended in (_terminated(_consumer(pod), "lastState"), _terminated(_consumer(pod), "state"))
        if ended.get("reason") == "OOMKilled"
    ]
    return max(filter(None, times), default=None)


def _of_container(pod: Manifest) -> Problem | None:
    container = _consumer(pod)
    waiting = (container.get("state") or {}).get("waiting") or {}
    reason, detail = waiting.get("reason", ""), waiting.get("message", "")
    if reason in _IMAGE_REASONS:
        return Problem(
            "ImagePullFailed",
            f"The image {container.get('image')} cannot be pulled: {detail or reason}."
            " Check spec.handler.image and spec.handler.imagePullSecrets.",
        )
    if reason in _CONFIG_REASONS:
        return Problem(
            "PodConfigInvalid",
            f"The container cannot be made: {detail or reason}. Correct what it names, such as spec.handler.env.",
        )
    ended = _terminated(container, "state") or _terminated(container, "lastState")
    running = "running" in (container.get("state") or {})
    if not ended or (running and container.get("ready")):
        return None
    return _of_end(ended)


def _of_others(pod: Manifest) -> Problem | None:
    """Sidecars and init containers: without them the consumer does not start, or its pod is not ready."""
    status = pod.get("status") or {}
    for container in (*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])):
        name, state = container.get("name"), container.get("state") or {}
        waiting = state.get("waiting") or {}
        if name == names.CONTAINER or container.get("ready"):
            continue
        if waiting.get("reason") in _IMAGE_REASONS | _CONFIG_REASONS:
            detail = waiting.get("message") or waiting["reason"]
            return Problem(
                "SidecarFailed",
                f"The container {name} beside the consumer cannot start: {detail}. Correct spec.podTemplate.spec.",
            )
        ended = _terminated(container, "state") or _terminated(container, "lastState")
        if ended and ended.get("exitCode") != 0:
            return Problem(
                "SidecarFailed",
                f"The container {name} beside the consumer ended with exit code {ended.get('exitCode')}: correct it"
                f" in spec.podTemplate.spec (kubectl logs --previous -c {name} shows more).",
            )
    return None


def _of_end(ended: Mapping[str, Any]) -> Problem | None:
    if ended.get("reason") == "OOMKilled":
        return Problem(
            "OutOfMemory",
            "A pod was killed for want of memory: raise the container's memory limit, or lower"
            " spec.execution.maxInFlight or maxInFlightBytes.",
        )
    told = start_error(ended.get("message", ""))
    if told is not None:
        return from_start_error(told)
    if ended.get("exitCode") == 0:
        return None
    last = (ended.get("message") or "").strip().splitlines()[-1:]
    return Problem(
        "CrashLoop",
        f"The container ended with exit code {ended.get('exitCode')}: {last[0] if last else 'it left no message'}"
        f" (kubectl logs --previous -c {names.CONTAINER} shows more).",
    )


def start_error(message: str) -> StartError | None:
    """Return the runtime's own explanation from a termination message; None when it holds none."""
    try:
        return StartError.model_validate_json(message)
    except ValidationError:
        return None


def from_start_error(error: StartError) -> Problem:
    """Return a runtime's explanation as a problem: field, value, and what to do."""
    return Problem(error.reason.value, f"{error.field}: {error.value!r}: {error.remedy}")


def _of_state(state: RuntimeState | None) -> Problem | None:
    if state is None:
        return None
    if state.problem is not None:
        return from_start_error(state.problem)
    if state.rejected is not None:
        rejected = state.rejected
        return Problem(
            "SettingsRejected",
            f"A pod refuses its settings file and stays on the last good one: {rejected.field}: {rejected.value!r}:"
            f" {rejected.remedy}",
        )
    return None


def _of_scheduling(pod: Manifest) -> Problem | None:
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return Problem(
                "Unschedulable",
                f"A pod finds no node: {condition.get('message', '')} Ask for less in spec.podTemplate.spec (resources,"
                " nodeSelector, affinity), or add nodes.",
            )
    return None


def _consumer(pod: Manifest) -> dict[str, Any]:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return next((status for status in statuses if status.get("name") == names.CONTAINER), {})


def _terminated(container: Mapping[str, Any], which: str) -> dict[str, Any]:
    ended: dict[str, Any] = (container.get(which) or {}).get("terminated") or {}
    return ended
