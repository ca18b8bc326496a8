"""What a tenant may not reach, at the API server.

`Any` stands for the fixtures' types: a conftest cannot be imported from.
"""

import json
from typing import Any

import pytest

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"hostNetwork": True}, 'unknown field "spec.podTemplate.spec.hostNetwork"'),
        ({"volumes": [{"name": "root", "hostPath": {"path": "/"}}]}, 'spec.volumes[0].hostPath"'),
        ({"sidecars": [{"name": "a", "image": "b", "securityContext": {"privileged": True}}]}, "securityContext"),
    ],
)  # fmt: skip
def test_a_dangerous_pod_template_is_refused_by_name(lab: Any, spec: dict[str, Any], words: str) -> None:
    """Kubectl says which field, and nothing is stored."""
    assert words in lab.refusal(lab.consumer(podTemplate={"spec": spec}))


def test_a_client_that_skips_validation_gains_nothing(lab: Any, operator: Any) -> None:
    """What is no field is not stored, and the pods know nothing of it."""
    bad = {"spec": {"hostNetwork": True, "volumes": [{"name": "root", "hostPath": {"path": "/"}}]}}
    lab.done("apply", "--validate=false", "-f", "-", stdin=lab.consumer(podTemplate=bad))
    pod = lab.eventually(lambda: lab.get("deployment", "orders"))["spec"]["template"]["spec"]
    assert "hostNetwork" not in pod
    assert "hostPath" not in json.dumps(pod)


def test_the_pods_pass_the_restricted_standard(lab: Any, operator: Any) -> None:
    """In a namespace that enforces it the API server takes the pods, sidecars included."""
    lab.done("label", "namespace", lab.namespace, "pod-security.kubernetes.io/enforce=restricted")
    sidecar = {"name": "proxy", "image": "proxy:1"}
    lab.apply(lab.consumer(podTemplate={"spec": {"sidecars": [sidecar]}}))
    template = lab.eventually(lambda: lab.get("deployment", "orders"))["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "trial"}, "spec": template["spec"]}
    assert lab.refusal(pod) == ""
    pod["spec"]["containers"][0]["securityContext"]["runAsNonRoot"] = False
    assert "violates PodSecurity" in lab.refusal(pod)


def test_a_secret_of_another_namespace_cannot_be_named(lab: Any) -> None:
    """A reference has a name and no namespace."""
    kafka = {**lab.consumer()["spec"]["source"]["kafka"], "caSecretRef": {"name": "a", "namespace": "kube-system"}}
    assert 'unknown field "spec.source.kafka.caSecretRef.namespace"' in lab.refusal(
        lab.consumer(source={"kafka": kafka})
    )


def test_optional_objects_come_and_go(lab: Any, operator: Any) -> None:
    """A disruption budget for two pods or more, a network policy when it is asked for; neither stays behind."""
    egress = [{"to": [{"namespaceSelector": {}}]}]
    lab.apply(lab.consumer(replicas=2, networkPolicy={"enabled": True, "egress": egress}))
    lab.eventually(lambda: lab.get("poddisruptionbudget", "orders") and lab.get("networkpolicy", "orders"))
    policy = lab.get("networkpolicy", "orders")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == egress
    lab.apply(lab.consumer(replicas=1, networkPolicy={"enabled": False}))
    lab.eventually(lambda: not lab.get("poddisruptionbudget", "orders") and not lab.get("networkpolicy", "orders"))


def test_another_service_account_needs_the_administrators_word(lab: Any, operator: Any) -> None:
    """A tenant who names one is told whom to ask; once it is listed the pods run as it, still without a token."""
    lab.apply(lab.consumer(podTemplate={"spec": {"serviceAccountName": "cloud"}}))
    lab.eventually(lambda: lab.condition("Degraded") == ("True", "InvalidSpec"))
    assert "runtime.allowedServiceAccounts" in lab.events("InvalidSpec")[0]
    assert lab.get("deployment", "orders") is None
    operator.end()
    operator.options = ("--allow-service-account", f"{lab.namespace}/cloud")
    operator.start()
    pod = lab.eventually(lambda: lab.get("deployment", "orders"))["spec"]["template"]["spec"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("cloud", False)
