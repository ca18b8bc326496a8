"""The spec of a ParallelConsumer as pydantic models; the CRD's schema, and every docstring in it, comes from here.

A field exists when it works. What a profile may fill has no default here; `desired/effective.py` resolves it.
"""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, JsonValue

from consumer_runtime.contract.knobs import Knobs, ProcessKnobs
from consumer_runtime.contract.settings import (
    AutoOffsetReset,
    DeadLetterSettings,
    Mode,
    Ordering,
    RetryPolicy,
    RetrySettings,
    SaslMechanism,
    SecurityProtocol,
    ValueFormat,
)
from parallel_consumer_operator.resource.model import Model, optional_fields, required_fields
from parallel_consumer_operator.resource.pod_template import Objects, PodTemplate
from parallel_consumer_operator.resource.tuning import TuningSpec

ObjectName = Annotated[str, Field(min_length=1, max_length=253)]
"""The name of a Kubernetes object."""
TopicName = Annotated[str, Field(min_length=1, max_length=249)]
Text = Annotated[str, Field(max_length=4096)]
LabelValue = Annotated[str, Field(max_length=63)]


class Profile(StrEnum):
    """A set of starting values and tuning bounds for one kind of work."""

    LOW_LATENCY = "LowLatency"
    HIGH_THROUGHPUT = "HighThroughput"
    RESOURCE_CONSTRAINED = "ResourceConstrained"
    NONE = "None"


class ObjectRef(Model):
    """An object in the namespace of this resource."""

    name: ObjectName
    """Its name."""


class KafkaSpec(Model):
    """A Kafka cluster, the topics, and the consumer group."""

    bootstrap_servers: Annotated[list[Annotated[str, Field(max_length=512)]], Field(min_length=1, max_length=32)]
    """Brokers to begin with, each as host:port."""
    topics: Annotated[list[TopicName], Field(max_length=64)] = []
    """Topics to consume; this or topicPattern."""
    topic_pattern: Annotated[str, Field(max_length=249)] | None = None
    """A regular expression of topics that begins with ^; this or topics."""
    consumer_group: Annotated[str, Field(min_length=1, max_length=255)]
    """The consumer group. It cannot be changed: offsets belong to a group."""
    auto_offset_reset: AutoOffsetReset = AutoOffsetReset.EARLIEST
    """Where a group without a committed offset starts."""
    security_protocol: SecurityProtocol = SecurityProtocol.PLAINTEXT
    """Kafka's security.protocol."""
    sasl_mechanism: SaslMechanism | None = None
    """Kafka's sasl.mechanism; needed when securityProtocol begins with SASL_."""
    credentials_secret_ref: ObjectRef | None = None
    """A Secret with the keys username and password, for SASL."""
    ca_secret_ref: ObjectRef | None = None
    """A Secret with the key ca.crt, by which brokers are verified."""
    client_certificate_secret_ref: ObjectRef | None = None
    """A Secret of type kubernetes.io/tls, for mutual TLS."""
    properties: Annotated[
        dict[Annotated[str, Field(max_length=253)], Annotated[str, Field(max_length=1024)]],
        Field(max_length=64),
    ] = {}
    """Further librdkafka properties, as strings. Those that load plugins or read files are refused."""


class SourceSpec(Model):
    """Where messages come from."""

    kafka: KafkaSpec


class KeyRef(Model):
    """One key of a Secret or ConfigMap in this namespace."""

    name: ObjectName
    """Its name."""
    key: Annotated[str, Field(min_length=1, max_length=253)]
    """The key in it."""
    optional: bool | None = None
    """Whether the pod may start without it."""


class FieldRef(Model):
    """A field of the pod."""

    field_path: Annotated[str, Field(max_length=256)]
    """Such as metadata.name."""


class ValueFrom(Model):
    """Where the value of an environment variable comes from; exactly one of these."""

    secret_key_ref: KeyRef | None = None
    config_map_key_ref: KeyRef | None = None
    field_ref: FieldRef | None = None


class EnvironmentVariable(Model):
    """One environment variable of the handler."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    """Its name."""
    value: Text | None = None
    """Its value; for anything secret use valueFrom.secretKeyRef."""
    value_from: ValueFrom | None = None


class OptionalRef(Model):
    """A Secret or ConfigMap in this namespace."""

    name: ObjectName
    """Its name."""
    optional: bool | None = None
    """Whether the pod may start without it."""


class EnvironmentSource(Model):
    """Every key of one Secret or ConfigMap as environment variables."""

    prefix: Annotated[str, Field(max_length=256)] | None = None
    """Put before each key."""
    secret_ref: OptionalRef | None = None
    config_map_ref: OptionalRef | None = None


class PullPolicy(StrEnum):
    """Kubernetes' imagePullPolicy."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class HandlerSpec(Model):
    """The code that handles a message, and where it comes from."""

    entrypoint: Annotated[str, Field(max_length=512)]
    """The handler as package.module:attribute, such as shop.orders:handle."""
    value_format: ValueFormat = ValueFormat.BYTES
    """What the handler sees as message.value."""
    image: Annotated[str, Field(max_length=1024)] | None = None
    """An image built FROM the runtime's, with the handler's code and what it needs. Default: the runtime's own."""
    image_pull_policy: PullPolicy | None = None
    """Kubernetes' imagePullPolicy; its own default holds when left out."""
    image_pull_secrets: Annotated[list[ObjectRef], Field(max_length=16)] = []
    """Secrets by which the image is pulled."""
    source_config_map_ref: ObjectRef | None = None
    """A ConfigMap whose keys are Python files; they are mounted, and importable by their names."""
    env: Annotated[list[EnvironmentVariable], Field(max_length=128)] = []
    """Environment variables of the handler."""
    env_from: Annotated[list[EnvironmentSource], Field(max_length=32)] = []
    """Secrets and ConfigMaps whose keys become environment variables."""


_KnobFields: Any = optional_fields(Knobs, name="KnobFields")
ProcessSpec: Any = optional_fields(ProcessKnobs, name="ProcessSpec")
_RetryFields: Any = optional_fields(RetrySettings, name="RetryFields", leave_out=("policies",))
RetryPolicySpec: Any = required_fields(RetryPolicy, name="RetryPolicySpec")
DeadLetterSpec: Any = optional_fields(DeadLetterSettings, name="DeadLetterSpec")


class ExecutionSpec(_KnobFields):  # type: ignore[misc] # made from the contract, so that a knob is written once
    """How the handler runs, and the knobs."""

    mode: Mode | None = None
    """single runs inline, async on an event loop, thread and process in a pool, auto measures. Default: async."""
    ordering: Ordering = Ordering.KEY
    """Which messages wait for each other."""
    process: ProcessSpec | None = None
    """Batching between the runtime and its worker processes; mode process only."""

    def knobs(self) -> dict[str, int]:
        """Return the knobs that this spec states, by their runtime names."""
        return {name: value for name in Knobs.model_fields if (value := getattr(self, name)) is not None}


class RetrySpec(_RetryFields):  # type: ignore[misc] # made from the contract
    """Exponential backoff of failed messages."""

    policies: Annotated[list[RetryPolicySpec], Field(max_length=16)] = []
    """Families of errors with retries of their own; the first that fits counts."""


class PodMonitorSpec(Model):
    """How Prometheus finds the pods."""

    enabled: bool = True
    """Whether a PodMonitor is made, where the prometheus-operator's definitions are installed."""
    labels: Annotated[dict[str, LabelValue], Field(max_length=32)] = {}
    """Labels by which a Prometheus selects its PodMonitors."""
    interval: Annotated[str, Field(max_length=8, pattern=r"^[1-9][0-9]*(ms|s|m)$")] = "15s"
    """Time between two scrapes, with its unit."""


class PrometheusRuleSpec(Model):
    """The runbook's alerts about this resource."""

    enabled: bool = True
    """Whether a PrometheusRule is made, where the prometheus-operator's definitions are installed."""
    labels: Annotated[dict[str, LabelValue], Field(max_length=32)] = {}
    """Labels by which a Prometheus selects its rules."""
    runbook_url: Annotated[str, Field(max_length=1024, pattern=r"^https?://[^\s#]+$")] | None = None
    """Where people read docs/runbook.md; each alert then links to its paragraph there."""


class MonitoringSpec(Model):
    """What is made for Prometheus."""

    pod_monitor: PodMonitorSpec = PodMonitorSpec()
    prometheus_rule: PrometheusRuleSpec = PrometheusRuleSpec()


class DisruptionBudgetSpec(Model):
    """How many pods a drain of nodes may take at once."""

    max_unavailable: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Pods at most; the budget is made where there are two replicas or more."""


class NetworkPolicySpec(Model):
    """Who may talk to the pods, and to whom they may talk."""

    enabled: bool = False
    """Whether a NetworkPolicy is made: in, only metrics, health and the operator's handshake."""
    egress: Objects = []
    """Kubernetes' egress rules, Kafka, DNS and the handler's own databases; without any the pods may go anywhere."""


class ParallelConsumerSpec(Model):
    """A parallel Kafka consumer: what it reads, the handler, how it runs, and whether it is tuned."""

    replicas: Annotated[int, Field(ge=0, le=1_000)] = 1
    """Pods to run. More pods than partitions stand by."""
    suspend: bool = False
    """Scale to zero and keep everything else, tuned values included."""
    profile: Profile = Profile.NONE
    """Starting values and tuning bounds for one kind of work; what the spec states wins over it."""
    source: SourceSpec
    handler: HandlerSpec
    execution: ExecutionSpec = ExecutionSpec()
    retry: RetrySpec = RetrySpec()
    dead_letter: DeadLetterSpec = DeadLetterSpec()
    tuning: TuningSpec = TuningSpec()
    monitoring: MonitoringSpec = MonitoringSpec()
    pod_disruption_budget: DisruptionBudgetSpec = DisruptionBudgetSpec()
    network_policy: NetworkPolicySpec = NetworkPolicySpec()
    pod_template: PodTemplate = PodTemplate()

    @classmethod
    def parse(cls, manifest: dict[str, JsonValue]) -> Self:
        """Return the spec of a ParallelConsumer's manifest; raises pydantic's ValidationError naming each field."""
        return cls.model_validate(manifest.get("spec", {}))
