"""What changes the number of pods by itself: a HorizontalPodAutoscaler or KEDA's ScaledObject. Pure.

Both target the resource, whose scale subresource they write: the operator alone writes the workload.
"""

from typing import Any

from consumer_runtime.contract.settings import SaslMechanism, SecurityProtocol
from parallel_consumer_operator.desired.owner import Owner, child
from parallel_consumer_operator.port import KindRef, Manifest
from parallel_consumer_operator.resource import names
from parallel_consumer_operator.resource.spec import KafkaSpec, ParallelConsumerSpec, ScalingSpec, ScalingType

POD_AUTOSCALER = KindRef("autoscaling/v2", "HorizontalPodAutoscaler")
SCALED_OBJECT = KindRef("keda.sh/v1alpha1", "ScaledObject")

_KEDA_SASL = {
    SaslMechanism.PLAIN: "plaintext",
    SaslMechanism.SCRAM_SHA_256: "scram_sha256",
    SaslMechanism.SCRAM_SHA_512: "scram_sha512",
    SaslMechanism.OAUTHBEARER: "oauthbearer",
}
"""KEDA's names (its Kafka scaler, parameter `sasl`)."""


def autoscaler(owner: Owner, spec: ParallelConsumerSpec) -> Manifest | None:
    """Return the object that the spec asks for, None when the spec counts the pods itself."""
    match spec.scaling.type:
        case ScalingType.HPA:
            return _pod_autoscaler(owner, spec.scaling)
        case ScalingType.KEDA:
            return _scaled_object(owner, spec)
        case _:
            return None


def _pod_autoscaler(owner: Owner, scaling: ScalingSpec) -> Manifest:
    cpu = {
        "type": "ContainerResource",
        "containerResource": {
            "name": "cpu",
            "container": names.CONTAINER,
            "target": {"type": "Utilization", "averageUtilization": scaling.target_cpu_percent},
        },
    }
    return child(
        owner,
        api_version=POD_AUTOSCALER.api_version,
        kind=POD_AUTOSCALER.kind,
        name=owner.name,
        spec={
            "scaleTargetRef": _target(owner),
            "minReplicas": scaling.min_replicas,
            "maxReplicas": scaling.max_replicas,
            "metrics": scaling.metrics or [cpu],
            **({"behavior": scaling.behavior} if scaling.behavior else {}),
        },
    )


def _scaled_object(owner: Owner, spec: ParallelConsumerSpec) -> Manifest:
    scaling = spec.scaling
    behavior = {"advanced": {"horizontalPodAutoscalerConfig": {"behavior": scaling.behavior}}}
    return child(
        owner,
        api_version=SCALED_OBJECT.api_version,
        kind=SCALED_OBJECT.kind,
        name=owner.name,
        spec={
            "scaleTargetRef": _target(owner),
            "minReplicaCount": scaling.min_replicas,
            "maxReplicaCount": scaling.max_replicas,
            "pollingInterval": scaling.polling_interval_seconds,
            "cooldownPeriod": scaling.cooldown_seconds,
            "triggers": scaling.triggers or _lag_triggers(spec.source.kafka, scaling),
            **(behavior if scaling.behavior else {}),
        },
    )


def _lag_triggers(kafka: KafkaSpec, scaling: ScalingSpec) -> list[dict[str, Any]]:
    """One trigger for each topic; without a topic KEDA looks at all that the group has offsets of."""
    of_topics: list[dict[str, str]] = [{"topic": topic} for topic in kafka.topics] or [{}]
    reference = scaling.authentication_ref
    authentication = {"authenticationRef": {"name": reference.name}} if reference else {}
    return [{"type": "kafka", "metadata": {**_lag(kafka, scaling), **topic}, **authentication} for topic in of_topics]


def _lag(kafka: KafkaSpec, scaling: ScalingSpec) -> dict[str, str]:
    protocol = kafka.security_protocol
    tls = protocol in {SecurityProtocol.SSL, SecurityProtocol.SASL_SSL}
    return {
        "bootstrapServers": ",".join(kafka.bootstrap_servers),
        "consumerGroup": kafka.consumer_group,
        "lagThreshold": str(scaling.lag_threshold),
        "offsetResetPolicy": "latest" if kafka.auto_offset_reset == "latest" else "earliest",
        "tls": "enable" if tls else "disable",
        "sasl": _KEDA_SASL[kafka.sasl_mechanism] if kafka.sasl_mechanism else "none",
    }


def _target(owner: Owner) -> dict[str, str]:
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": owner.name}
