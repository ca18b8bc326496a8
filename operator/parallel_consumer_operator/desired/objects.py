"""Everything that should exist for one ParallelConsumer, and whether what exists is that. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from parallel_consumer_operator.desired.deployment import Build, deployment
from parallel_consumer_operator.desired.disruption_budget import DISRUPTION_BUDGET, disruption_budget
from parallel_consumer_operator.desired.effective import Effective
from parallel_consumer_operator.desired.network_policy import NETWORK_POLICY, network_policy
from parallel_consumer_operator.desired.owner import ANNOTATION_DESIRED_HASH, Owner
from parallel_consumer_operator.desired.pod_monitor import POD_MONITOR, pod_monitor
from parallel_consumer_operator.desired.prometheus_rule import PROMETHEUS_RULE, prometheus_rule
from parallel_consumer_operator.desired.service_account import service_account
from parallel_consumer_operator.port import KindRef, Manifest
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec

CONFIG_MAP = KindRef("v1", "ConfigMap")
DEPLOYMENT = KindRef("apps/v1", "Deployment")
SERVICE_ACCOUNT = KindRef("v1", "ServiceAccount")


@dataclass(frozen=True, slots=True)
class Objects:
    """`wanted` in the order in which they are applied, the settings aside; `unwanted` must not exist."""

    wanted: tuple[Manifest, ...]
    unwanted: tuple[tuple[KindRef, str], ...]


def objects(owner: Owner, spec: ParallelConsumerSpec, effective: Effective, build: Build) -> Objects:
    """Return what should and should not exist, apart from the settings, which are written on their own."""
    wanted = [service_account(owner)]
    unwanted: list[tuple[KindRef, str]] = []
    if spec.monitoring.pod_monitor.enabled:
        wanted.append(pod_monitor(owner, spec.monitoring.pod_monitor))
    else:
        unwanted.append((POD_MONITOR, owner.name))
    if spec.monitoring.prometheus_rule.enabled:
        wanted.append(prometheus_rule(owner, spec.monitoring.prometheus_rule))
    else:
        unwanted.append((PROMETHEUS_RULE, owner.name))
    if spec.replicas > 1:
        wanted.append(disruption_budget(owner, max_unavailable=spec.pod_disruption_budget.max_unavailable))
    else:
        unwanted.append((DISRUPTION_BUDGET, owner.name))
    if spec.network_policy.enabled:
        wanted.append(network_policy(owner, spec.network_policy))
    else:
        unwanted.append((NETWORK_POLICY, owner.name))
    wanted.append(deployment(owner, spec, effective, build))
    return Objects(wanted=tuple(wanted), unwanted=tuple(unwanted))


def kind_of(manifest: Mapping[str, Any]) -> KindRef:
    """Return the kind of a manifest."""
    return KindRef(manifest["apiVersion"], manifest["kind"])


def is_owned(live: Mapping[str, Any], owner: Owner) -> bool:
    """Return whether an object is this resource's: one of another owner is never taken over."""
    references = live["metadata"].get("ownerReferences") or []
    return any(reference.get("uid") == owner.uid for reference in references)


def needs_apply(live: Mapping[str, Any] | None, wanted: Manifest) -> bool:
    """Return whether an object is missing, was applied as something else, or drifted from what was applied."""
    if live is None:
        return True
    annotations = live["metadata"].get("annotations") or {}
    same = annotations.get(ANNOTATION_DESIRED_HASH) == wanted["metadata"]["annotations"][ANNOTATION_DESIRED_HASH]
    return not same or not holds(live, wanted)


def holds(live: Any, wanted: Any) -> bool:
    """Return whether everything wanted is in the live value: its own extra fields (defaults, other owners') are fine.

    Empty lists and objects count as absent, since the API server does not store them.
    """
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            holds(live[key], value) if key in live else value in ([], {}, None) for key, value in wanted.items()
        )
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return (
            isinstance(live, Sequence)
            and len(live) == len(wanted)
            and all(holds(there, here) for there, here in zip(live, wanted, strict=True))
        )
    return bool(live == wanted)
