"""The PrometheusRule with the runbook's alerts about one resource. Pure; the alerts themselves are the runbook's."""

from parallel_consumer_operator.desired.owner import Owner, child
from parallel_consumer_operator.port import KindRef, Manifest
from parallel_consumer_operator.resource.spec import PrometheusRuleSpec
from parallel_consumer_operator.runbook.rendering import groups

PROMETHEUS_RULE = KindRef("monitoring.coreos.com/v1", "PrometheusRule")


def prometheus_rule(owner: Owner, spec: PrometheusRuleSpec) -> Manifest:
    """Return the PrometheusRule; its alerts look at this resource's series and at no other's."""
    alerts = groups(namespace=owner.namespace, resource=owner.name, runbook_url=spec.runbook_url or "")
    return child(
        owner,
        api_version=PROMETHEUS_RULE.api_version,
        kind=PROMETHEUS_RULE.kind,
        name=owner.name,
        extra_labels=spec.labels,
        spec={"groups": alerts},
    )
