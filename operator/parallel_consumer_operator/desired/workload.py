"""What runs the pods: a Deployment, or for static members a StatefulSet, whose pods keep their names. Pure.

Static members of a Deployment would be new ones after each restart: the old ones' partitions stay theirs until the
session times out.
"""

from collections.abc import Iterable
from typing import Any

from consumer_runtime.contract.settings import Membership
from parallel_consumer_operator.desired import pods
from parallel_consumer_operator.desired.effective import Effective
from parallel_consumer_operator.desired.owner import Owner, child
from parallel_consumer_operator.desired.restart import Build
from parallel_consumer_operator.port import KindRef, Manifest
from parallel_consumer_operator.resource import names
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec

DEPLOYMENT = KindRef("apps/v1", "Deployment")
STATEFUL_SET = KindRef("apps/v1", "StatefulSet")


def workload_kind(spec: ParallelConsumerSpec) -> KindRef:
    """Return the kind that runs this resource's pods."""
    return STATEFUL_SET if spec.source.kafka.membership is Membership.STATIC else DEPLOYMENT


def other_kind(spec: ParallelConsumerSpec) -> KindRef:
    """Return the kind that must not exist beside it."""
    return DEPLOYMENT if workload_kind(spec) == STATEFUL_SET else STATEFUL_SET


def workload(
    owner: Owner, spec: ParallelConsumerSpec, effective: Effective, build: Build, *, beside: Iterable[str] = ()
) -> Manifest:
    """Return the workload; suspended it keeps everything but its pods. `beside`: the optional kinds that are there."""
    kind = workload_kind(spec)
    return child(
        owner,
        api_version=kind.api_version,
        kind=kind.kind,
        name=owner.name,
        annotations={names.ANNOTATION_OPTIONAL_OBJECTS: ",".join(sorted(beside))},
        spec={
            "replicas": 0 if spec.suspend else spec.replicas,
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": owner.selector},
            **_pace(owner, kind),
            "template": pods.template(owner, spec, effective, build),
        },
    )


def _pace(owner: Owner, kind: KindRef) -> dict[str, Any]:
    if kind == STATEFUL_SET:
        # All pods at once when the group grows, one after the other when they are replaced; no Service is needed.
        return {
            "podManagementPolicy": "Parallel",
            "serviceName": owner.name,
            "updateStrategy": {"type": "RollingUpdate"},
        }
    # A new pod joins before an old one leaves: with a cooperative assignor the group never stops.
    return {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}}
