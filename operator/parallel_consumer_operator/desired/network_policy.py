"""The NetworkPolicy: nothing reaches the pods but metrics, health and the operator's handshake. Pure."""

from typing import Any

from parallel_consumer_operator.desired.owner import Owner, child
from parallel_consumer_operator.port import KindRef, Manifest
from parallel_consumer_operator.resource import names
from parallel_consumer_operator.resource.spec import NetworkPolicySpec

NETWORK_POLICY = KindRef("networking.k8s.io/v1", "NetworkPolicy")


def network_policy(owner: Owner, spec: NetworkPolicySpec) -> Manifest:
    """Return the policy; without egress rules the pods may go anywhere, a handler has databases of its own."""
    rules: dict[str, Any] = {"policyTypes": ["Ingress"]}
    if spec.egress:
        rules = {"policyTypes": ["Ingress", "Egress"], "egress": spec.egress}
    return child(
        owner,
        api_version=NETWORK_POLICY.api_version,
        kind=NETWORK_POLICY.kind,
        name=owner.name,
        spec={
            "podSelector": {"matchLabels": owner.selector},
            "ingress": [{"ports": [{"port": names.PORT_NAME, "protocol": "TCP"}]}],
            **rules,
        },
    )
