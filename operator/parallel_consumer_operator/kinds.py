"""The kinds of objects that the operator deals with, and how their addresses spell them. Stated, not discovered.

A new kind of child is entered here and in the chart's `_rules.tpl`, which grants what is done with it.
"""

from parallel_consumer_operator.port import KindRef
from parallel_consumer_operator.resource import names

RESOURCE = KindRef(names.API_VERSION, names.KIND)
POD = KindRef("v1", "Pod")
SECRET = KindRef("v1", "Secret")
EVENT = KindRef("v1", "Event")
LEASE = KindRef("coordination.k8s.io/v1", "Lease")

CHILDREN = {
    POD: "pods",
    KindRef("v1", "ConfigMap"): "configmaps",
    KindRef("v1", "ServiceAccount"): "serviceaccounts",
    KindRef("apps/v1", "Deployment"): "deployments",
    KindRef("apps/v1", "StatefulSet"): "statefulsets",
    KindRef("autoscaling/v2", "HorizontalPodAutoscaler"): "horizontalpodautoscalers",
    KindRef("keda.sh/v1alpha1", "ScaledObject"): "scaledobjects",
    KindRef("monitoring.coreos.com/v1", "PodMonitor"): "podmonitors",
    KindRef("monitoring.coreos.com/v1", "PrometheusRule"): "prometheusrules",
    KindRef("policy/v1", "PodDisruptionBudget"): "poddisruptionbudgets",
    KindRef("networking.k8s.io/v1", "NetworkPolicy"): "networkpolicies",
}
"""What belongs to a resource: listed and watched by our label, so that a pass reads none of it over the network."""

PLURALS = {LEASE: "leases", RESOURCE: names.PLURAL, SECRET: "secrets", EVENT: "events", **CHILDREN}
