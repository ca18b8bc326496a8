"""The workload and its pods: kind, Pod Security, probes, mounts, and what does and does not restart pods."""

from typing import Any

import pytest

from consumer_runtime import reload
from consumer_runtime.contract import pod as contract
from consumer_runtime.contract.settings import HandlerSettings, RuntimeSettings
from parallel_consumer_operator.desired.effective import Tuned, resolve
from parallel_consumer_operator.desired.owner import Owner
from parallel_consumer_operator.desired.pods import referenced_config_maps, referenced_secrets
from parallel_consumer_operator.desired.restart import Build, restart_cause, restart_document
from parallel_consumer_operator.desired.workload import workload
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec

OWNER = Owner(namespace="shop", name="orders", uid="1")
HASH = "parallelconsumer.dev/restart-hash"


KAFKA = {"bootstrapServers": ["kafka:9092"], "topics": ["orders"], "consumerGroup": "orders"}


def manifest(
    tuned: dict[str, Tuned] | None = None,
    secrets: dict[str, str | None] | None = None,
    image: str = "runtime:1",
    kafka: dict[str, Any] | None = None,
    **sections: Any,
) -> dict[str, Any]:
    """Return the workload of a spec with these sections; `kafka` is laid over the least that one needs."""
    spec = ParallelConsumerSpec.model_validate(
        {"source": {"kafka": KAFKA | (kafka or {})}, "handler": {"entrypoint": "orders:handle"}, **sections}
    )
    effective = resolve(spec, tuned=tuned or {}, cpu_limit=None)
    return workload(OWNER, spec, effective, Build(runtime_image=image, secret_versions=secrets or {}))


def pod(**sections: Any) -> dict[str, Any]:
    """Return the pod's spec."""
    found: dict[str, Any] = manifest(**sections)["spec"]["template"]["spec"]
    return found


def test_the_pod_meets_the_restricted_standard() -> None:
    """Every field that the restricted Pod Security Standard asks for."""
    context = pod()["containers"][0]["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod()["automountServiceAccountToken"] is False


def test_no_file_is_mounted_by_sub_path() -> None:
    """The kubelet never updates such a file, and live settings would be dead."""
    mounts = pod()["containers"][0]["volumeMounts"]
    assert contract.SETTINGS_DIRECTORY in {mount["mountPath"] for mount in mounts}
    assert not [mount for mount in mounts if "subPath" in mount]


def test_the_grace_period_leaves_time_to_finish() -> None:
    """Kubernetes waits longer than the runtime does."""
    assert pod(execution={"shutdownGraceSeconds": 120})["terminationGracePeriodSeconds"] > 120


def test_a_new_pod_joins_before_an_old_one_leaves() -> None:
    """A rollout takes no pod away that it has not replaced; static members, whose names are taken, go one by one."""
    assert manifest()["spec"]["strategy"] == {
        "type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
    }  # fmt: skip
    static = manifest(kafka={"membership": "static"})["spec"]
    assert static["updateStrategy"] == {"type": "RollingUpdate"}
    assert "strategy" not in static


def test_pods_spread_over_nodes_where_they_can() -> None:
    """By default, over this resource's pods alone, and a single node is no reason to wait."""
    (spread,) = pod()["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    assert (
        spread["labelSelector"]["matchLabels"].items() <= manifest()["spec"]["template"]["metadata"]["labels"].items()
    )


def test_the_image_is_pulled_as_the_handler_says() -> None:
    """With its Secrets and its policy; without an image of its own it is the runtime's."""
    handler = {
        "entrypoint": "a:b", "image": "shop:1", "imagePullPolicy": "Always", "imagePullSecrets": [{"name": "registry"}],
    }  # fmt: skip
    found = pod(handler=handler)
    assert found["imagePullSecrets"] == [{"name": "registry"}]
    assert (found["containers"][0]["image"], found["containers"][0]["imagePullPolicy"]) == ("shop:1", "Always")
    assert pod()["containers"][0]["image"] == "runtime:1"
    assert "imagePullPolicy" not in pod()["containers"][0]


@pytest.mark.parametrize(
    ("sections", "replicas"),
    [({}, 1), ({"replicas": 3}, 3), ({"replicas": 3, "suspend": True}, 0), ({"replicas": 0}, 0)],
)
def test_replicas_follow_the_spec_and_suspend_wins(sections: dict[str, Any], replicas: int) -> None:
    """Suspended means no pods, whatever the spec counts."""
    assert manifest(**sections)["spec"]["replicas"] == replicas


def test_the_handlers_code_and_secrets_are_mounted() -> None:
    """A ConfigMap with code, and Secrets as files, never as values."""
    secrets = {"caSecretRef": {"name": "authority"}, "credentialsSecretRef": {"name": "user"}}
    found = pod(kafka=secrets, handler={"entrypoint": "a:b", "sourceConfigMapRef": {"name": "code"}})
    volumes = {volume["name"]: volume for volume in found["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in found["containers"][0]["volumeMounts"]}
    assert volumes["handler"]["configMap"]["name"] == "code"
    assert volumes["ca"]["secret"]["secretName"] == "authority"
    assert (mounts["handler"], mounts["ca"]) == (contract.HANDLER_DIRECTORY, contract.CA_DIRECTORY)
    assert mounts["credentials"] == contract.CREDENTIALS_DIRECTORY


def test_a_handler_cannot_take_over_the_runtimes_own_variables() -> None:
    """POD_NAME stays the pod's name; other variables reach the handler as they are."""
    env = [{"name": "POD_NAME", "value": "forged"}, {"name": "COLOUR", "value": "red"}]
    found = pod(handler={"entrypoint": "a:b", "env": env})["containers"][0]["env"]
    assert [entry for entry in found if entry["name"] == "POD_NAME"] == [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}
    ]
    assert {"name": "COLOUR", "value": "red"} in found


def test_every_secret_and_config_map_that_matters_is_looked_at() -> None:
    """Mounted ones, single keys and whole ones; not the optional."""
    spec = ParallelConsumerSpec.model_validate(
        {
            "source": {"kafka": {"bootstrapServers": ["k:1"], "topics": ["t"], "consumerGroup": "g",
                                 "caSecretRef": {"name": "authority"}}},
            "handler": {
                "entrypoint": "a:b",
                "env": [
                    {"name": "A", "valueFrom": {"secretKeyRef": {"name": "single", "key": "k"}}},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "maybe", "key": "k", "optional": True}}},
                    {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "plain", "key": "k"}}},
                    {"name": "D", "valueFrom": {"configMapKeyRef": {"name": "perhaps", "key": "k", "optional": True}}},
                ],
                "envFrom": [{"secretRef": {"name": "whole"}}, {"configMapRef": {"name": "settings"}}],
                "sourceConfigMapRef": {"name": "code"},
            },
        }
    )  # fmt: skip
    assert referenced_secrets(spec) == {"authority", "single", "whole"}
    assert referenced_config_maps(spec) == {"code", "plain", "settings"}


@pytest.mark.parametrize(
    ("before", "after", "causes"),
    [
        ({}, {"execution": {"maxInFlight": 999}}, ()),
        ({}, {"tuned": {"maxInFlight": Tuned(999, start=256)}}, ()),
        ({}, {"retry": {"maxRetries": 9}}, ()),
        ({}, {"replicas": 5}, ()),
        ({}, {"execution": {"ordering": "partition"}}, ("execution.ordering",)),
        ({}, {"execution": {"shutdownGraceSeconds": 7}}, ("execution.shutdownGraceSeconds",)),
        ({}, {"logLevel": "DEBUG"}, ()),
        ({}, {"handler": {"entrypoint": "other:handle"}}, ("handler.entrypoint",)),
        ({}, {"handler": {"entrypoint": "orders:handle", "image": "shop:2"}}, ("handler.image",)),
        ({}, {"image": "runtime:2"}, ("handler.image",)),
        ({}, {"handler": {"entrypoint": "orders:handle", "env": [{"name": "A", "value": "1"}]}}, ("handler.env",)),
        ({}, {"handler": {"entrypoint": "orders:handle", "logContext": False}}, ("handler.logContext",)),
        ({}, {"kafka": {"caSecretRef": {"name": "ca"}}}, ("source.kafka.caSecretRef",)),
        ({"kafka": {"caSecretRef": {"name": "ca"}}}, {}, ("source.kafka.caSecretRef",)),
        ({}, {"circuitBreaker": {}}, ("circuitBreaker",)),
        ({}, {"circuitBreaker": {"openMs": 500}}, ("circuitBreaker.openMs",)),
        ({}, {"results": {"topic": "done"}}, ("results.topic",)),
        ({}, {"podTemplate": {"spec": {"nodeSelector": {"disk": "fast"}}}}, ("podTemplate.spec.nodeSelector",)),
        ({}, {"podTemplate": {"metadata": {"labels": {"team": "a"}}}}, ("podTemplate.metadata",)),
        ({"secrets": {"ca": "1"}}, {"secrets": {"ca": "2"}}, ("the Secret ca",)),
    ],
)
def test_only_what_needs_a_restart_restarts(
    before: dict[str, Any], after: dict[str, Any], causes: tuple[str, ...]
) -> None:
    """A tuned value, a hot knob, a retry policy never roll the pods; what does is named."""
    old, new = manifest(**before), manifest(**after)
    assert restart_cause(old, new) == causes
    same = old["spec"]["template"]["metadata"]["annotations"] == new["spec"]["template"]["metadata"]["annotations"]
    assert same is (not causes)


def test_a_template_that_only_the_operator_changed_is_told_too() -> None:
    """A newer operator's probes restart pods although no part of the resource changed."""
    old, new = manifest(), manifest()
    new["spec"]["template"]["metadata"]["annotations"][HASH] = "another"
    assert restart_cause(old, new) == ("the operator's template of the pods",)


def test_static_members_belong_to_a_stateful_set() -> None:
    """Its pods keep their names, all start at once, and everything else of the pods is the same."""
    static = manifest(kafka={"membership": "static"}, replicas=3)
    assert (static["apiVersion"], static["kind"], static["spec"]["replicas"]) == ("apps/v1", "StatefulSet", 3)
    assert static["spec"]["podManagementPolicy"] == "Parallel"
    assert static["spec"]["template"]["spec"] == manifest()["spec"]["template"]["spec"]
    assert manifest()["kind"] == "Deployment"


def leaves(document: dict[str, Any], at: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Return the location of every leaf; a map of the user's own keys counts as one."""
    found: set[tuple[str, ...]] = set()
    for name, value in document.items():
        if isinstance(value, dict) and name != "properties":
            found |= leaves(value, (*at, name))
        else:
            found.add((*at, name))
    return found


def test_restarts_are_exactly_what_the_runtime_cannot_take_in() -> None:
    """The operator's list and the runtime's are one: neither a needless rollout nor a change that never arrives."""
    settings = RuntimeSettings.for_kafka(
        "k:1", topics=["t"], consumer_group="g", handler=HandlerSettings(entrypoint="a:b")
    )
    everything = leaves(settings.model_dump(mode="json"))
    assert leaves(restart_document(settings)) == {location for location in everything if not reload.is_hot(location)}
