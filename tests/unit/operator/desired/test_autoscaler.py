"""The autoscalers: both target the resource, KEDA looks at the same topics and group as the consumer."""

from typing import Any

import pytest

from parallel_consumer_operator.desired.autoscaler import autoscaler
from parallel_consumer_operator.desired.owner import Owner
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec

OWNER = Owner(namespace="shop", name="orders", uid="1")
TARGET = {"apiVersion": "parallelconsumer.dev/v1alpha1", "kind": "ParallelConsumer", "name": "orders"}


def scaler(kafka: dict[str, Any] | None = None, **scaling: Any) -> dict[str, Any]:
    """Return the autoscaler of a spec."""
    found = made(kafka, **scaling)
    assert found is not None
    return found


def made(kafka: dict[str, Any] | None = None, **scaling: Any) -> dict[str, Any] | None:
    """Return the autoscaler of a spec, None where there is none."""
    least = {"bootstrapServers": ["a:9092", "b:9092"], "topics": ["orders", "refunds"], "consumerGroup": "shop"}
    spec = ParallelConsumerSpec.model_validate(
        {"source": {"kafka": least | (kafka or {})}, "handler": {"entrypoint": "a:b"}, "scaling": scaling}
    )
    return autoscaler(OWNER, spec)


def test_without_one_the_spec_counts_the_pods() -> None:
    """No object is made."""
    assert made() is None


def test_a_pod_autoscaler_measures_the_consumers_own_cpu() -> None:
    """A sidecar's CPU does not count, and the target is the resource, not the workload."""
    spec = scaler(type="HPA", minReplicas=2, maxReplicas=8, targetCpuPercent=70)["spec"]
    assert (spec["scaleTargetRef"], spec["minReplicas"], spec["maxReplicas"]) == (TARGET, 2, 8)
    (metric,) = spec["metrics"]
    assert metric["containerResource"]["container"] == "consumer"
    assert metric["containerResource"]["target"] == {"type": "Utilization", "averageUtilization": 70}


def test_metrics_and_behavior_of_ones_own_stand_as_they_are() -> None:
    """What a person gives in Kubernetes' shape reaches Kubernetes."""
    metrics = [{"type": "Pods", "pods": {"metric": {"name": "consumer_backlog_messages"}}}]
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 600}}
    spec = scaler(type="HPA", maxReplicas=8, metrics=metrics, behavior=behavior)["spec"]
    assert (spec["metrics"], spec["behavior"]) == (metrics, behavior)


def test_keda_looks_at_each_topic_of_the_group() -> None:
    """One trigger for each topic, with the lag that a pod may have, and KEDA's own pacing."""
    found = scaler(type="KEDA", minReplicas=0, maxReplicas=8, lagThreshold=500, cooldownSeconds=60)
    spec = found["spec"]
    assert (found["apiVersion"], found["kind"], spec["scaleTargetRef"]) == ("keda.sh/v1alpha1", "ScaledObject", TARGET)
    assert (spec["minReplicaCount"], spec["maxReplicaCount"], spec["cooldownPeriod"]) == (0, 8, 60)
    metadata = [trigger["metadata"] for trigger in spec["triggers"]]
    assert [each["topic"] for each in metadata] == ["orders", "refunds"]
    assert {(each["bootstrapServers"], each["consumerGroup"], each["lagThreshold"]) for each in metadata} == {
        ("a:9092,b:9092", "shop", "500")
    }


def test_with_a_pattern_keda_looks_at_all_topics_of_the_group() -> None:
    """KEDA knows no patterns: without a topic it takes those that the group has offsets of."""
    (trigger,) = scaler({"topics": [], "topicPattern": "^o"}, type="KEDA", maxReplicas=2)["spec"]["triggers"]
    assert "topic" not in trigger["metadata"]


@pytest.mark.parametrize(
    ("protocol", "mechanism", "tls", "sasl"),
    [
        ("PLAINTEXT", None, "disable", "none"),
        ("SSL", None, "enable", "none"),
        ("SASL_SSL", "SCRAM-SHA-512", "enable", "scram_sha512"),
        ("SASL_PLAINTEXT", "PLAIN", "disable", "plaintext"),
    ],
)
def test_keda_logs_in_as_the_broker_wants(protocol: str, mechanism: str | None, tls: str, sasl: str) -> None:
    """The protocol in KEDA's words, the secrets by a TriggerAuthentication."""
    kafka = {"securityProtocol": protocol, "saslMechanism": mechanism, "credentialsSecretRef": {"name": "user"}}
    found = scaler(kafka, type="KEDA", maxReplicas=2, authenticationRef={"name": "kafka"})["spec"]["triggers"][0]
    assert (found["metadata"]["tls"], found["metadata"]["sasl"]) == (tls, sasl)
    assert found["authenticationRef"] == {"name": "kafka"}
