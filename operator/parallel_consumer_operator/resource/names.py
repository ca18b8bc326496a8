"""Every name by which the operator's objects are found: API group, labels, annotations, metric labels."""

from typing import Final

GROUP: Final = "parallelconsumer.dev"
VERSION: Final = "v1alpha1"
KIND: Final = "ParallelConsumer"
PLURAL: Final = "parallelconsumers"
API_VERSION: Final = f"{GROUP}/{VERSION}"

FIELD_MANAGER: Final = "parallel-consumer-operator"
"""Owner of our fields in server-side apply, and the reporting component of our events."""

LABEL_NAME: Final = f"{GROUP}/name"
"""On every child: the name of the ParallelConsumer."""
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_INSTANCE: Final = "app.kubernetes.io/instance"
LABEL_APPLICATION: Final = "app.kubernetes.io/name"
APPLICATION: Final = "parallel-consumer"

METRIC_LABEL: Final = "parallelconsumer"
"""On each series, put there by the PodMonitor beside `namespace` and `pod`: the ParallelConsumer's name."""

ANNOTATION_PAUSED: Final = f"{GROUP}/paused"
"""On the resource: `true` stops every write of the operator but the status."""
ANNOTATION_APPROVE: Final = f"{GROUP}/approve"
"""On the resource: the id of the recommendation to apply, in tuning mode Approve."""
ANNOTATION_TUNING: Final = f"{GROUP}/tuning"
"""On the resource: `freeze`, `resume`, `rollback@<id>` or `reset@<id>`."""
ANNOTATION_TUNED: Final = f"{GROUP}/tuned"
"""On the ConfigMap: the tuned values as JSON, so that a restored cluster without status keeps them."""
ANNOTATION_RESTART_HASH: Final = f"{GROUP}/restart-hash"
"""On the pod template: a hash of what needs a restart."""
ANNOTATION_RESTART_PARTS: Final = f"{GROUP}/restart-parts"
"""On the pod template: a short hash per part, so that a rollout's cause can be named."""
ANNOTATION_OPTIONAL_OBJECTS: Final = f"{GROUP}/optional-objects"
"""On the workload: the kinds beside it that a resource need not have and this one has, so that only they are looked for
when they are no longer wanted."""
ANNOTATION_TOUCHED: Final = f"{GROUP}/config-generation"
"""On each pod: changed after a ConfigMap write, which makes the kubelet sync the volume at once."""

SETTINGS_KEY: Final = "runtime.yaml"
"""The ConfigMap's key, and the file's name in the pod."""
CONTAINER: Final = "consumer"
"""Name of the runtime's container in the pod; `podTemplate` overlays merge by it."""
PORT_NAME: Final = "http"

OBJECT_NAME: Final = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"
"""What Kubernetes takes as a name: no slash, with which one could reach into another namespace."""


def settings_name(name: str) -> str:
    """Return the name of the ConfigMap of a ParallelConsumer."""
    return f"{name}-settings"
