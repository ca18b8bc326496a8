"""What a tenant may not reach, at the API server.

`Any` stands for the fixtures' types: a conftest cannot be imported from.
"""

import json
import subprocess
from typing import Any

import pytest
from kubernetes.aio.config import kube_config

from parallel_consumer_operator.cluster import connect
from parallel_consumer_operator.errors import NotFoundError
from parallel_consumer_operator.port import Key

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


def test_another_service_account_and_a_drivers_volume_need_the_administrators_word(lab: Any, operator: Any) -> None:
    """A tenant who names one is told whom to ask; once it is listed the pods run as it, still without a token."""
    csi = {"name": "vault", "csi": {"driver": "secrets.example", "readOnly": True}}
    lab.apply(lab.consumer(podTemplate={"spec": {"serviceAccountName": "cloud"}}))
    lab.apply(lab.consumer("vaulted", podTemplate={"spec": {"volumes": [csi]}}))
    for name in ("orders", "vaulted"):
        lab.eventually(lambda name=name: lab.condition("Degraded", name) == ("True", "InvalidSpec"))
        assert lab.get("deployment", name) is None
    told = " ".join(lab.eventually(lambda: len(each := lab.events("InvalidSpec")) == 2 and each))
    assert "runtime.allowedServiceAccounts" in told
    assert "runtime.allowedCsiDrivers" in told
    operator.end()
    operator.options = ("--allow-service-account", f"{lab.namespace}/cloud", "--allow-csi-driver", "secrets.example")
    operator.start()
    vaulted = lab.eventually(lambda: lab.get("deployment", "vaulted"))["spec"]["template"]["spec"]
    assert csi in vaulted["volumes"]
    pod = lab.eventually(lambda: lab.get("deployment", "orders"))["spec"]["template"]["spec"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("cloud", False)


@pytest.mark.parametrize(
    ("section", "value", "words"),
    [
        ("handler", {"entrypoint": "../../etc/passwd:handle"}, "entrypoint must be package.module:attribute"),
        ("handler", {"entrypoint": "os:system('x')"}, "entrypoint must be package.module:attribute"),
        ("handler", {"image": "$(curl evil)"}, "image must be an image reference"),
        ("handler", {"image": "orders:1\nrun"}, "image must be an image reference"),
        ("handler", {"sourceConfigMapRef": {"name": "../../kube-system/x"}}, "spec.handler.sourceConfigMapRef.name"),
        ("handler", {"env": [{"name": "A", "value": "x" * 5_000}]}, "spec.handler.env[0].value"),
        ("kafka", {"credentialsSecretRef": {"name": "../../kube-system/secrets/x"}}, "credentialsSecretRef.name"),
        ("kafka", {"topics": [f"t{number}" for number in range(5_000)]}, "must have at most 64 items"),
        ("kafka", {"topics": ['a"} or vector(1) #']}, "topics may hold letters"),
        ("kafka", {"properties": {"plugin.library.paths": "evil.so"}}, "loads or runs code"),
        ("kafka", {"properties": {"ssl.key.location": "/etc/passwd"}}, "properties may not hold ssl.key.location"),
        ("kafka", {"properties": {"sasl.password": "x"}}, "properties may not hold sasl.username, sasl.password"),
        ("tuning", {"prometheus": {"address": "file:///etc/passwd"}}, "spec.tuning.prometheus.address"),
        (
            "tuning",
            {"prometheus": {"address": "http://mine", "bearerTokenSecretRef": {"name": "../../kube-system/secrets/x"}}},
            "bearerTokenSecretRef.name",
        ),
        ("podTemplate", {"spec": {"hostPID": True}}, 'unknown field "spec.podTemplate.spec.hostPID"'),
        ("podTemplate", {"spec": {"hostIPC": True}}, 'unknown field "spec.podTemplate.spec.hostIPC"'),
    ],
)
def test_what_reaches_beyond_the_tenant_is_refused(lab: Any, section: str, value: dict[str, Any], words: str) -> None:
    """Odd paths, names, images, sizes and properties: the API server's answer names the field, nothing is stored."""
    manifest = lab.consumer()
    spec = manifest["spec"]
    place = spec["source"]["kafka"] if section == "kafka" else spec.setdefault(section, {})
    place.update(value)
    assert words in lab.refusal(manifest)


def test_a_manifest_that_unfolds_without_end_is_refused(lab: Any) -> None:
    """Nine levels of nine aliases each would be 387 million entries: kubectl or the server says no within seconds."""
    levels = "\n".join(
        f"{chr(98 + level)}: &{chr(98 + level)} [{','.join(['*' + chr(97 + level)] * 9)}]" for level in range(9)
    )
    text = f"apiVersion: parallelconsumer.dev/v1alpha1\nkind: ParallelConsumer\na: &a [x]\n{levels}\n"
    answer = subprocess.run(
        [str(lab.cluster.kubectl), "-n", lab.namespace, "create", "-f", "-"],
        env=lab.cluster.environment, input=text, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert answer.returncode != 0
    assert lab.done("get", "pcon", "-o", "name") == ""


async def test_a_name_with_a_path_in_it_reaches_no_other_namespace(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stored before the schema refused it, such a name still reads nothing: not the Secret that it points at."""
    lab.done("create", "secret", "generic", "key", "--from-literal=token=of-another")
    # The client looks at the environment when it is imported.
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", lab.cluster.environment["KUBECONFIG"])
    async with connect(identity="test", observe=lambda *_: None) as cluster:
        assert await cluster.secret_data(Key(lab.namespace, "x"), "key") == {"token": "of-another"}
        tricky = f"../../{lab.namespace}/secrets/key"
        versions = await cluster.secret_versions(Key("default", "x"), frozenset({tricky}))
        assert versions == {tricky: None}
        with pytest.raises(NotFoundError):
            await cluster.secret_data(Key("default", "x"), tricky)
