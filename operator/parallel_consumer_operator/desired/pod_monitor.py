"""The PodMonitor by which Prometheus finds the pods, and the label by which the tuner finds its series. Pure."""

from consumer_runtime.contract import pod
from parallel_consumer_operator.desired.owner import Owner, child
from parallel_consumer_operator.port import KindRef, Manifest
from parallel_consumer_operator.resource import names
from parallel_consumer_operator.resource.spec import PodMonitorSpec

POD_MONITOR = KindRef("monitoring.coreos.com/v1", "PodMonitor")


def pod_monitor(owner: Owner, spec: PodMonitorSpec) -> Manifest:
    """Return the PodMonitor; every series gets the resource's name beside `namespace` and `pod`."""
    return child(
        owner,
        api_version=POD_MONITOR.api_version,
        kind=POD_MONITOR.kind,
        name=owner.name,
        extra_labels=spec.labels,
        spec={
            "selector": {"matchLabels": owner.selector},
            "podMetricsEndpoints": [
                {
                    "port": names.PORT_NAME,
                    "path": pod.METRICS_PATH,
                    "interval": spec.interval,
                    "relabelings": [{"targetLabel": names.METRIC_LABEL, "replacement": owner.name}],
                }
            ],
        },
    )
