"""Everything that should exist for one ParallelConsumer, and whether what exists is that. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from parallel_consumer_operator.desired.autoscaler import POD_AUTOSCALER, SCALED_OBJECT, autoscaler
from parallel_consumer_operator.desired.disruption_budget import DISRUPTION_BUDGET, disruption_budget
from parallel_consumer_operator.desired.effective import Effective
from parallel_consumer_operator.desired.network_policy import NETWORK_POLICY, network_policy
from parallel_consumer_operator.desired.owner import ANNOTATION_DESIRED_HASH, Owner
from parallel_consumer_operator.desired.pod_monitor import POD_MONITOR, pod_monitor
from parallel_consumer_operator.desired.prometheus_rule import PROMETHEUS_RULE, prometheus_rule
from parallel_consumer_operator.desired.restart import Build
from parallel_consumer_operator.desired.service_account import service_account
from parallel_consumer_operator.desired.workload import DEPLOYMENT, STATEFUL_SET, other_kind, workload
from parallel_consumer_operator.port import KindRef, Manifest
from parallel_consumer_operator.resource import names
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec

CONFIG_MAP = KindRef("v1", "ConfigMap")
SERVICE_ACCOUNT = KindRef("v1", "ServiceAccount")


WORKLOADS = frozenset({DEPLOYMENT, STATEFUL_SET})
_SCALERS = (POD_AUTOSCALER, SCALED_OBJECT)


@dataclass(frozen=True, slots=True)
class Objects:
    """`wanted` in the order in which they are applied, the settings aside; `unwanted` must not exist."""

    wanted: tuple[Manifest, ...]
    """The last one is the workload: it names the optional kinds that are there, for the next operator."""
    unwanted: tuple[tuple[KindRef, str], ...]


def objects(owner: Owner, spec: ParallelConsumerSpec, effective: Effective, build: Build) -> Objects:
    """Return what should and should not exist, apart from the settings, which are written on their own."""
    optional = dict(_optional(owner, spec))
    there = [manifest for manifest in optional.values() if manifest is not None]
    beside = [kind.kind for kind, manifest in optional.items() if manifest is not None]
    unwanted = [kind for kind, manifest in optional.items() if manifest is None]
    return Objects(
        wanted=(service_account(owner), *there, workload(owner, spec, effective, build, beside=beside)),
        unwanted=tuple((kind, owner.name) for kind in (*unwanted, other_kind(spec))),
    )


def _optional(owner: Owner, spec: ParallelConsumerSpec) -> Iterator[tuple[KindRef, Manifest | None]]:
    """Yield each kind that a resource need not have, with what it should be or None."""
    monitor, rule = spec.monitoring.pod_monitor, spec.monitoring.prometheus_rule
    yield POD_MONITOR, pod_monitor(owner, monitor) if monitor.enabled else None
    yield PROMETHEUS_RULE, prometheus_rule(owner, rule) if rule.enabled else None
    budget = spec.pod_disruption_budget.max_unavailable
    several = max(spec.replicas, spec.scaling.max_replicas or 0) > 1
    yield DISRUPTION_BUDGET, disruption_budget(owner, max_unavailable=budget) if several else None
    yield NETWORK_POLICY, network_policy(owner, spec.network_policy) if spec.network_policy.enabled else None
    scaler = autoscaler(owner, spec)
    for kind in _SCALERS:
        yield kind, scaler if scaler is not None and kind_of(scaler) == kind else None


def may_exist(kind: KindRef, live_workload: Mapping[str, Any] | None) -> bool:
    """Return whether an object that is not wanted may be there: the workload names those that were beside it."""
    if live_workload is None or kind in WORKLOADS:
        return live_workload is None
    annotations = live_workload["metadata"].get("annotations") or {}
    named = annotations.get(names.ANNOTATION_OPTIONAL_OBJECTS)
    return named is None or kind.kind in named.split(",")


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
