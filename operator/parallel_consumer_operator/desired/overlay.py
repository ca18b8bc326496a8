"""Lays `spec.podTemplate` over the pods that the operator makes: added to, never taken over. Pure."""

from typing import Any

from parallel_consumer_operator.errors import InvalidResourceError
from parallel_consumer_operator.resource.pod_template import PodTemplate

RESTRICTED: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What the restricted Pod Security Standard asks of every container, and a read-only root."""

_PLAIN = (
    "nodeSelector",
    "affinity",
    "tolerations",
    "topologySpreadConstraints",
    "hostAliases",
    "dnsConfig",
    "priorityClassName",
    "runtimeClassName",
)


def overlaid(pod: dict[str, Any], template: PodTemplate) -> dict[str, Any]:
    """Return the pod's specification with the template's additions.

    Raises InvalidResourceError when a name or a path of the template is one of the operator's own.
    """
    consumer, *others = pod["containers"]
    stated = template.stated("consumer") or {}
    mounts = [*consumer["volumeMounts"], *stated.pop("volumeMounts", [])]
    _require_distinct(mounts, "mountPath", field="spec.podTemplate.spec.consumer.volumeMounts")
    containers = [{**consumer, **stated, "volumeMounts": mounts}, *others, *_restricted(template, "sidecars")]
    volumes = [*pod["volumes"], *(template.stated("volumes") or [])]
    _require_distinct(containers, "name", field="spec.podTemplate.spec.sidecars")
    _require_distinct(volumes, "name", field="spec.podTemplate.spec.volumes")
    laid = {**pod, "containers": containers, "volumes": volumes}
    laid |= {name: value for name in _PLAIN if (value := template.stated(name)) is not None}
    if initial := _restricted(template, "initContainers"):
        laid["initContainers"] = initial
    if template.spec.fs_group is not None:
        laid["securityContext"] = {**pod["securityContext"], "fsGroup": template.spec.fs_group}
    return laid


def cpu_limit(template: PodTemplate) -> int | None:
    """Return the consumer's CPU limit in whole cores, rounded up; None without one, or with one that is no quantity."""
    stated = str(template.spec.consumer.resources.limits.get("cpu", ""))
    milli = stated.removesuffix("m")
    try:
        thousandths = float(milli) if stated.endswith("m") else float(stated) * 1_000
    except ValueError:
        return None
    return max(1, -(-round(thousandths) // 1_000))


def _restricted(template: PodTemplate, part: str) -> list[dict[str, Any]]:
    return [{**container, "securityContext": RESTRICTED} for container in template.stated(part) or []]


def _require_distinct(items: list[dict[str, Any]], key: str, *, field: str) -> None:
    seen: set[str] = set()
    for item in items:
        if item[key] in seen:
            raise InvalidResourceError(
                field=field, value=item[key], remedy=f"this {key} is taken, by the operator or twice: choose another"
            )
        seen.add(item[key])
