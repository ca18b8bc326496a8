"""The spec of a ParallelConsumer as pydantic models; the CRD's schema, and every docstring in it, comes from here.

A field exists when it works. What a profile may fill has no default here; `desired/effective.py` resolves it.
"""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, JsonValue

from consumer_runtime.contract.knobs import Knobs, ProcessKnobs
from consumer_runtime.contract.profiles import Profile as Profile  # noqa: PLC0414 - re-exported
from consumer_runtime.contract.settings import (
    AutoOffsetReset,
    CircuitBreakerSettings,
    DeadLetterSettings,
    LogLevel,
    Membership,
    Mode,
    Ordering,
    ResultSettings,
    RetryPolicy,
    RetrySettings,
    SaslMechanism,
    SecurityProtocol,
    ValueFormat,
)
from parallel_consumer_operator.resource import names
from parallel_consumer_operator.resource.model import Model, optional_fields, required_fields
from parallel_consumer_operator.resource.pod_template import Objects, OpenObject, PodTemplate, PullPolicy
from parallel_consumer_operator.resource.tuning import TuningSpec

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=names.OBJECT_NAME)]
"""The name of a Kubernetes object."""
TopicName = Annotated[str, Field(min_length=1, max_length=249)]
Text = Annotated[str, Field(max_length=4096)]
LabelValue = Annotated[str, Field(max_length=63)]


class ObjectRef(Model):
    """An object in the namespace of this resource."""

    name: ObjectName
    """Its name."""


class SchemaRegistrySpec(Model):
    """Where schemas are asked for. Its login: schema-registry-username and -password in the credentials Secret."""

    url: Annotated[str, Field(max_length=1024, pattern=r"^https?://[^\s@?#]+$")]
    """Its address, without a login, such as https://registry.example:8081."""


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
    membership: Membership = Membership.DYNAMIC
    """dynamic: the broker names members, and a Deployment has the pods. static: each pod of a StatefulSet is a member
    by its own name, and a restart within session.timeout.ms moves no partition."""
    security_protocol: SecurityProtocol = SecurityProtocol.PLAINTEXT
    """Kafka's security.protocol."""
    sasl_mechanism: SaslMechanism | None = None
    """Kafka's sasl.mechanism; needed when securityProtocol begins with SASL_."""
    oauth_token: Annotated[str, Field(max_length=512)] | None = None
    """For OAUTHBEARER: a function of your code, as package.module:function, that returns a token and its expiry in
    seconds since the epoch. Not needed with the property sasl.oauthbearer.method: oidc."""
    credentials_secret_ref: ObjectRef | None = None
    """A Secret with the keys username and password, for SASL; with OpenID Connect the client's id and secret."""
    ca_secret_ref: ObjectRef | None = None
    """A Secret with the key ca.crt, by which brokers are verified."""
    client_certificate_secret_ref: ObjectRef | None = None
    """A Secret of type kubernetes.io/tls, for mutual TLS."""
    schema_registry: SchemaRegistrySpec | None = None
    """For handler.valueFormat schema_registry: where the schemas are that messages name."""
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


class HandlerSpec(Model):
    """The code that handles a message, and where it comes from."""

    entrypoint: Annotated[str, Field(max_length=512)]
    """The handler as package.module:attribute, such as shop.orders:handle."""
    topics: Annotated[dict[TopicName, Annotated[str, Field(max_length=512)]], Field(max_length=64)] = {}
    """Handlers of their own for single topics, as package.module:attribute by topic; entrypoint has the others."""
    value_format: ValueFormat = ValueFormat.BYTES
    """What the handler sees as message.value."""
    log_context: bool = True
    """Whether the handler's log lines carry topic, partition, offset and trace of their message."""
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
CircuitBreakerSpec: Any = optional_fields(CircuitBreakerSettings, name="CircuitBreakerSpec")
ResultSpec: Any = required_fields(ResultSettings, name="ResultSpec")


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


class ScalingType(StrEnum):
    """Who decides how many pods there are."""

    NONE = "None"
    """spec.replicas does."""
    HPA = "HPA"
    """A HorizontalPodAutoscaler that the operator makes."""
    KEDA = "KEDA"
    """A ScaledObject that the operator makes, where KEDA is installed."""


class ScalingSpec(Model):
    """Who decides how many pods there are. With HPA or KEDA leave spec.replicas out of your manifest: they write it."""

    type: ScalingType = ScalingType.NONE
    """None: spec.replicas. HPA: a HorizontalPodAutoscaler, by CPU. KEDA: a ScaledObject, by lag. Both target this
    resource."""
    min_replicas: Annotated[int, Field(ge=0, le=1_000)] = 1
    """Pods at least; 0 with KEDA alone."""
    max_replicas: Annotated[int, Field(ge=1, le=1_000)] | None = None
    """Pods at most; more than the topics have partitions stand by. Needed with HPA and KEDA."""
    target_cpu_percent: Annotated[int, Field(ge=1, le=1_000)] = 80
    """HPA: the share of the consumer's CPU request to aim for."""
    lag_threshold: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1_000
    """KEDA: messages of lag for each pod to aim for."""
    polling_interval_seconds: Annotated[int, Field(ge=1, le=3_600)] = 30
    """KEDA: time between two looks at the lag."""
    cooldown_seconds: Annotated[int, Field(ge=0, le=86_400)] = 300
    """KEDA: time without lag before the last pod goes, where minReplicas is 0."""
    authentication_ref: ObjectRef | None = None
    """KEDA: the TriggerAuthentication with which KEDA asks a Kafka that wants TLS or a login."""
    metrics: Objects = []
    """HPA: metrics in Kubernetes' own shape, instead of the CPU's."""
    triggers: Objects = []
    """KEDA: triggers in KEDA's own shape, instead of the lag of the topics."""
    behavior: OpenObject | None = None
    """How fast the number of pods may change, in the shape of a HorizontalPodAutoscaler's behavior."""


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
    """Pods to run. More pods than partitions stand by. Left out of a manifest whose scaling.type is not None."""
    suspend: bool = False
    """Scale to zero and keep everything else, tuned values included."""
    profile: Profile = Profile.NONE
    """Starting values and tuning bounds for one kind of work; what the spec states wins over it."""
    source: SourceSpec
    handler: HandlerSpec
    execution: ExecutionSpec = ExecutionSpec()
    retry: RetrySpec = RetrySpec()
    dead_letter: DeadLetterSpec = DeadLetterSpec()
    circuit_breaker: CircuitBreakerSpec | None = None
    """Stops handing out messages while most attempts fail, as when a database is away; {} takes the defaults."""
    results: ResultSpec | None = None
    """What the handler returns is produced, and confirmed before its message counts as done."""
    log_level: LogLevel = LogLevel.INFO
    """The least important log line of the pods; a change takes effect at once."""
    tuning: TuningSpec = TuningSpec()
    scaling: ScalingSpec = ScalingSpec()
    monitoring: MonitoringSpec = MonitoringSpec()
    pod_disruption_budget: DisruptionBudgetSpec = DisruptionBudgetSpec()
    network_policy: NetworkPolicySpec = NetworkPolicySpec()
    pod_template: PodTemplate = PodTemplate()

    @classmethod
    def parse(cls, manifest: dict[str, JsonValue]) -> Self:
        """Return the spec of a ParallelConsumer's manifest; raises pydantic's ValidationError naming each field."""
        return cls.model_validate(manifest.get("spec", {}))
