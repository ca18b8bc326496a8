"""The overlay on pods: what is added, what is refused, and what no schema lets through."""

from typing import Any

import pytest
from pydantic import ValidationError

from parallel_consumer_operator.desired import pods
from parallel_consumer_operator.desired.effective import resolve
from parallel_consumer_operator.desired.overlay import RESTRICTED, cpu_limit
from parallel_consumer_operator.desired.owner import Owner
from parallel_consumer_operator.desired.restart import Build
from parallel_consumer_operator.errors import InvalidResourceError
from parallel_consumer_operator.resource.pod_template import PodTemplate
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec


def template(**parts: Any) -> dict[str, Any]:
    """Return the pods' template under `podTemplate.spec` with these parts."""
    return whole({"spec": parts})


def whole(
    pod_template: dict[str, Any], accounts: frozenset[str] = frozenset(), drivers: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Return the pods' template under a whole `podTemplate`."""
    spec = ParallelConsumerSpec.model_validate(
        {
            "source": {"kafka": {"bootstrapServers": ["k:1"], "topics": ["t"], "consumerGroup": "g"}},
            "handler": {"entrypoint": "a:b"},
            "podTemplate": pod_template,
        }
    )
    owner = Owner(namespace="shop", name="orders", uid="1")
    effective = resolve(spec, tuned={}, cpu_limit=None)
    build = Build("runtime:1", service_accounts=accounts, csi_drivers=drivers)
    found: dict[str, Any] = pods.template(owner, spec, effective, build)
    return found


def test_without_a_template_nothing_is_added() -> None:
    """The pod is the operator's alone."""
    assert template() == whole({})
    assert len(template()["spec"]["containers"]) == 1


def test_a_service_account_is_taken_only_from_the_operators_list() -> None:
    """One that is not listed for this namespace is refused, and the remedy says whom to ask."""
    named = {"spec": {"serviceAccountName": "cloud"}}
    assert whole(named, accounts=frozenset({"shop/cloud"}))["spec"]["serviceAccountName"] == "cloud"
    assert whole({})["spec"]["serviceAccountName"] == "orders"
    for accounts in (frozenset(), frozenset({"other/cloud"}), frozenset({"cloud"})):
        with pytest.raises(InvalidResourceError, match="allowedServiceAccounts"):
            whole(named, accounts=accounts)


@pytest.mark.parametrize("csi", [{"driver": "node-root.example"}, {"driver": "secrets.example/x"}, {}, {"driver": 1}])
def test_inline_volumes_of_a_driver_need_the_administrators_word(csi: dict[str, Any]) -> None:
    """One that is listed is taken as it stands; any other, or none, is refused with the field and whom to ask."""
    allowed = frozenset({"secrets.example"})
    volume = {"name": "vault", "csi": {"driver": "secrets.example", "readOnly": True}}
    assert volume in whole({"spec": {"volumes": [volume]}}, drivers=allowed)["spec"]["volumes"]
    with pytest.raises(InvalidResourceError, match="allowedCsiDrivers") as caught:
        whole({"spec": {"volumes": [volume, {"name": "other", "csi": csi}]}}, drivers=allowed)
    assert caught.value.field == "spec.podTemplate.spec.volumes[1].csi.driver"


def test_resources_and_mounts_reach_the_consumer() -> None:
    """They are added to the operator's own container, whose other fields stay."""
    pod = template(
        consumer={"resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
                  "volumeMounts": [{"name": "cache", "mountPath": "/cache"}]},
        volumes=[{"name": "cache", "emptyDir": {"sizeLimit": "1Gi"}}],
    )["spec"]  # fmt: skip
    consumer = pod["containers"][0]
    assert consumer["resources"] == {"limits": {"cpu": "2", "memory": "1Gi"}}
    assert {"name": "cache", "mountPath": "/cache"} in consumer["volumeMounts"]
    assert {"name": "cache", "emptyDir": {"sizeLimit": "1Gi"}} in pod["volumes"]
    assert consumer["securityContext"] == RESTRICTED
    assert consumer["readinessProbe"]


def test_sidecars_run_as_restricted_as_the_consumer() -> None:
    """A sidecar cannot ask for more."""
    pod = template(sidecars=[{"name": "proxy", "image": "p:1"}], initContainers=[{"name": "init", "image": "i:1"}])[
        "spec"
    ]
    assert [container["name"] for container in pod["containers"]] == ["consumer", "proxy"]
    assert {container["name"] for container in pod["initContainers"]} == {"init"}
    for container in (*pod["containers"], *pod["initContainers"]):
        assert container["securityContext"] == RESTRICTED


def test_a_container_may_begin_before_the_consumer_and_end_after_it() -> None:
    """What a drain still needs, such as a proxy: with ports, probes and hooks, as restricted as the others."""
    proxy = {
        "name": "proxy", "image": "p:1", "restartPolicy": "Always", "imagePullPolicy": "Never",
        "ports": [{"containerPort": 15_000, "name": "admin", "protocol": "TCP"}],
        "startupProbe": {"tcpSocket": {"port": "admin"}}, "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
        "volumeMounts": [{"name": "code", "mountPath": "/etc/proxy.yaml", "subPath": "proxy.yaml"}],
    }  # fmt: skip
    (made,) = template(initContainers=[proxy])["spec"]["initContainers"]
    assert made == {**proxy, "securityContext": RESTRICTED}
    with pytest.raises(ValidationError, match="restartPolicy"):
        template(sidecars=[proxy])
    with pytest.raises(ValidationError, match="Input should be 'Always'"):
        template(initContainers=[{**proxy, "restartPolicy": "Never"}])


def test_names_that_no_dns_knows() -> None:
    """Brokers behind addresses that only /etc/hosts leads to."""
    hosts, dns = [{"ip": "10.0.0.7", "hostnames": ["kafka-0"]}], {"options": [{"name": "ndots", "value": "1"}]}
    pod = template(hostAliases=hosts, dnsConfig=dns)["spec"]
    assert (pod["hostAliases"], pod["dnsConfig"]) == (hosts, dns)


def test_scheduling_is_the_persons() -> None:
    """Selectors, tolerations and a spread of their own replace the default spread."""
    pod = template(nodeSelector={"disk": "ssd"}, topologySpreadConstraints=[{"maxSkew": 2}], fsGroup=1000)["spec"]
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert pod["topologySpreadConstraints"] == [{"maxSkew": 2}]
    assert pod["securityContext"]["fsGroup"] == 1000
    assert pod["securityContext"]["runAsNonRoot"] is True


def test_our_labels_cannot_be_taken_over() -> None:
    """The selector's labels stay right; other labels are added."""
    labels = whole({"metadata": {"labels": {"parallelconsumer.dev/name": "forged", "team": "shop"}}})["metadata"][
        "labels"
    ]
    assert (labels["parallelconsumer.dev/name"], labels["team"]) == ("orders", "shop")


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"volumes": [{"name": "settings", "emptyDir": {}}]}, "volumes"),
        ({"sidecars": [{"name": "consumer", "image": "x:1"}]}, "sidecars"),
        (
            {"consumer": {"volumeMounts": [{"name": "a", "mountPath": "/etc/parallel-consumer/settings"}]}},
            "consumer.volumeMounts",
        ),
    ],
)
def test_what_is_the_operators_is_refused_by_name(parts: dict[str, Any], field: str) -> None:
    """A volume, container or path of ours cannot be replaced; the error names the field."""
    with pytest.raises(InvalidResourceError) as caught:
        template(**parts)
    assert caught.value.field == f"spec.podTemplate.spec.{field}"


@pytest.mark.parametrize(
    "parts",
    [
        {"hostNetwork": True},
        {"hostPID": True},
        {"hostIPC": True},
        {"nodeName": "master"},
        {"automountServiceAccountToken": True},
        {"securityContext": {"runAsUser": 0}},
        {"volumes": [{"name": "root", "hostPath": {"path": "/"}}]},
        {"volumes": [{"name": "token", "projected": {"sources": [{"serviceAccountToken": {}}]}}]},
        {"consumer": {"securityContext": {"privileged": True}}},
        {"consumer": {"image": "evil:1"}},
        {"consumer": {"ports": [{"hostPort": 22}]}},
        {"sidecars": [{"name": "a", "image": "b:1", "securityContext": {"privileged": True}}]},
        {"sidecars": [{"name": "a", "image": "b:1", "ports": [{"containerPort": 22, "hostPort": 22}]}]},
    ],
)
def test_what_would_reach_the_node_is_no_field(parts: dict[str, Any]) -> None:
    """Host namespaces, hostPath, privileges, other accounts: the schema has no place for them."""
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        template(**parts)


@pytest.mark.parametrize(
    ("stated", "cores"),
    [("2", 2), (2, 2), ("500m", 1), ("1500m", 2), ("1.5", 2), ("2000m", 2), (None, None), ("many", None)],
)
def test_the_cpu_limit_in_whole_cores(stated: str | int | None, cores: int | None) -> None:
    """Kubernetes' quantities, rounded up; what is none is no limit."""
    limits = {} if stated is None else {"cpu": stated}
    assert cpu_limit(PodTemplate.model_validate({"spec": {"consumer": {"resources": {"limits": limits}}}})) == cores
