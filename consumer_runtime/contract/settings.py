"""The settings of one runtime, as the settings file (or a library user) states them; validated here and nowhere else.

The shape mirrors the custom resource: each name is the snake_case of the CRD's (`knobs.camel_case`). Nothing here reads
a file or knows Kafka; `consumer_runtime.reload` reads, `consumer_runtime.sources.kafka` translates.
"""

import re
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)  # fmt: skip

from consumer_runtime.contract import profiles
from consumer_runtime.contract import properties as librdkafka
from consumer_runtime.contract.choices import Mode as Mode  # noqa: PLC0414 - re-exported
from consumer_runtime.contract.choices import ValueFormat as ValueFormat  # noqa: PLC0414 - re-exported
from consumer_runtime.contract.complaints import Complaint, InvalidSettingsError, complaints, shown
from consumer_runtime.contract.knobs import Knobs, ProcessKnobs
from consumer_runtime.contract.profiles import Profile

Name = Annotated[str, Field(min_length=1, max_length=249, pattern=r"^[a-zA-Z0-9._-]+$")]
"""A Kafka topic's name: the broker allows these characters and 249 of them (Kafka, `Topic.validate`)."""


Entrypoint = Annotated[str, Field(max_length=512, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")]
"""`package.module:attribute` of the user's own code."""


def _require_address(value: str) -> str:
    if not _ADDRESS.match(value):
        raise ValueError("must be host:port, such as kafka:9092 or [::1]:9092")
    return value


_ADDRESS = re.compile(r"^([A-Z_]+://)?(\[[0-9A-Fa-f:.%]+\]|[^\s\[\]:/,@]+)(:\d{1,5})?$")
"""As librdkafka reads it: a protocol may go before it, the port is 9092 where it is left out."""
Broker = Annotated[str, AfterValidator(_require_address)]


class Settings(BaseModel):
    """Root of every settings model: unknown fields are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Ordering(StrEnum):
    """Which messages wait for each other."""

    KEY = "key"
    PARTITION = "partition"
    UNORDERED = "unordered"


class AutoOffsetReset(StrEnum):
    """Where a group without a committed offset starts."""

    EARLIEST = "earliest"
    LATEST = "latest"
    ERROR = "error"


class Membership(StrEnum):
    """Dynamic members are named by the broker; static ones keep their partitions over a restart."""

    DYNAMIC = "dynamic"
    STATIC = "static"


class SecurityProtocol(StrEnum):
    """Kafka's `security.protocol`."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"


class SaslMechanism(StrEnum):
    """Kafka's `sasl.mechanism`."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"
    OAUTHBEARER = "OAUTHBEARER"


class PayloadMode(StrEnum):
    """What a dead letter carries: the whole message, or only where it came from."""

    FULL = "full"
    METADATA_ONLY = "metadata_only"


class SchemaRegistrySettings(Settings):
    """Where schemas are asked for, by Confluent's REST contract; TLS takes the same CA and certificate as Kafka."""

    url: Annotated[str, Field(max_length=1024, pattern=r"^https?://[^\s@?#]+$")]
    """Its address, without a login."""
    username: str | None = None
    """Only for library users; a pod reads it from a mounted Secret (`contract.pod`)."""
    password: SecretStr | None = None
    """Only for library users; a pod reads it from a mounted Secret (`contract.pod`)."""
    credentials_location: str | None = None
    """A folder with the files `schema-registry-username` and `schema-registry-password`, in place of those; read for
    each request. A pod's is mounted (`contract.pod`)."""


class KafkaSettings(Settings):
    """Where messages come from."""

    bootstrap_servers: Annotated[list[Broker], Field(min_length=1, max_length=32)]
    """Brokers as `host:port`."""
    topics: Annotated[list[Name], Field(max_length=64)] = []
    """Topics to consume; this or `topic_pattern`."""
    topic_pattern: Annotated[str, Field(max_length=249, pattern=r"^\^")] | None = None
    """A regular expression of topics, beginning with `^`; this or `topics`."""
    consumer_group: Annotated[str, Field(min_length=1, max_length=255)]
    """The consumer group."""
    auto_offset_reset: AutoOffsetReset = AutoOffsetReset.EARLIEST
    """Where to start when the group has no committed offset."""
    membership: Membership = Membership.DYNAMIC
    """Static members need `group.instance.id`, which the environment gives (the pod's name)."""
    security_protocol: SecurityProtocol = SecurityProtocol.PLAINTEXT
    sasl_mechanism: SaslMechanism | None = None
    sasl_username: str | None = None
    """Only for library users; a pod reads it from a mounted Secret (`contract.pod`)."""
    sasl_password: SecretStr | None = None
    """Only for library users; a pod reads it from a mounted Secret (`contract.pod`)."""
    credentials_location: str | None = None
    """A folder with the files `username` and `password`, in place of those; read again when they change. A pod's is
    mounted (`contract.pod`)."""
    oauth_token: Entrypoint | None = None
    """For OAUTHBEARER: a function that returns (token, expiry in seconds since the epoch)."""
    ca_location: str | None = None
    """PEM file; a pod's is mounted (`contract.pod`), and so are the next two."""
    certificate_location: str | None = None
    key_location: str | None = None
    schema_registry: SchemaRegistrySettings | None = None
    """For values that name a schema: `handler.value_format: schema_registry`, or a library user's callable."""
    properties: dict[str, str | int | float | bool] = {}
    """Further librdkafka properties, passed through; those that load plugins or read files are refused."""

    @model_validator(mode="after")
    def _one_of_topics_or_pattern(self) -> Self:
        if bool(self.topics) == (self.topic_pattern is not None):
            raise ValueError("set either topics or topic_pattern, and not both")
        return self

    @field_validator("properties", mode="after")
    @classmethod
    def _properties_may_pass(cls, value: dict[str, Any]) -> dict[str, Any]:
        if refused := librdkafka.problems(value):
            raise ValueError("; ".join(refused))
        return value

    @model_validator(mode="after")
    def _mechanism_when_sasl(self) -> Self:
        if self.security_protocol.startswith("SASL") and self.sasl_mechanism is None:
            raise ValueError(f"sasl_mechanism is needed when security_protocol is {self.security_protocol}")
        by_itself = self.properties.get("sasl.oauthbearer.method") == "oidc"
        if self.sasl_mechanism is SaslMechanism.OAUTHBEARER and self.oauth_token is None and not by_itself:
            raise ValueError("OAUTHBEARER needs oauth_token, or the property sasl.oauthbearer.method: oidc")
        return self


class SourceSettings(Settings):
    """Where messages come from; Kafka is the only kind yet."""

    kafka: KafkaSettings


class HandlerSettings(Settings):
    """The user's code."""

    entrypoint: Entrypoint
    """`package.module:attribute`; a callable, or a class with `open`, `__call__` or `handle`, and `close`."""
    topics: Annotated[dict[Name, Entrypoint], Field(max_length=64)] = {}
    """Entry points of their own for single topics; `entrypoint` has the others."""
    value_format: ValueFormat = ValueFormat.BYTES
    """What the handler sees as `message.value`."""
    log_context: bool = True
    """Whether the handler's log lines carry topic, partition, offset and trace of its message; about 0.2 us a call."""


class ExecutionSettings(Knobs):
    """How the handler runs, and every knob."""

    mode: Mode = Mode.ASYNC
    ordering: Ordering = Ordering.KEY
    process: ProcessKnobs = ProcessKnobs()


class RetryPolicy(Settings):
    """What to do about one family of errors."""

    errors: Annotated[list[Annotated[str, Field(max_length=512)]], Field(min_length=1, max_length=16)]
    """Exception classes as `module:Class`; subclasses count."""
    max_retries: Annotated[int, Field(ge=0, le=1_000)]
    """Attempts after the first."""
    backoff_ms: Annotated[int, Field(ge=0, le=86_400_000)]
    """The first wait, in milliseconds; each next one is twice as long."""
    max_backoff_ms: Annotated[int, Field(ge=0, le=86_400_000)]
    """The longest wait, in milliseconds."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _require_ordered_backoff(self.backoff_ms, self.max_backoff_ms)
        return self


class RetrySettings(Settings):
    """Exponential backoff: attempt n waits `backoff_ms * 2 ** (n - 1)`, capped, with jitter."""

    max_retries: Annotated[int, Field(ge=0, le=1_000)] = 3
    """Attempts after the first."""
    backoff_ms: Annotated[int, Field(ge=0, le=86_400_000)] = 1_000
    """The first wait, in milliseconds; each next one is twice as long."""
    max_backoff_ms: Annotated[int, Field(ge=0, le=86_400_000)] = 30_000
    """The longest wait, in milliseconds."""
    jitter_percent: Annotated[int, Field(ge=0, le=100)] = 20
    """Each wait is drawn from within this share above or below."""
    policies: Annotated[list[RetryPolicy], Field(max_length=16)] = []

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _require_ordered_backoff(self.backoff_ms, self.max_backoff_ms)
        return self


def _require_ordered_backoff(backoff_ms: int, max_backoff_ms: int) -> None:
    if backoff_ms > max_backoff_ms:
        raise ValueError(f"backoff_ms {backoff_ms} must be at most max_backoff_ms {max_backoff_ms}")


class DeadLetterSettings(Settings):
    """Where a message goes when its retries are exhausted."""

    enabled: bool = False
    """Without a dead letter topic an exhausted message is logged, counted and skipped."""
    topic: Name | None = None
    """The dead letter topic; it must exist."""
    payload_mode: PayloadMode = PayloadMode.FULL
    """What a dead letter carries."""

    @model_validator(mode="after")
    def _topic_when_enabled(self) -> Self:
        if self.enabled and self.topic is None:
            raise ValueError("dead_letter.topic is needed when dead_letter.enabled is true")
        return self


class CircuitBreakerSettings(Settings):
    """When to stop handing out messages because most attempts fail, as while a database is away."""

    failure_percent: Annotated[int, Field(ge=1, le=100)] = 50
    """Opens when at least this share of the last attempts failed."""
    window_attempts: Annotated[int, Field(ge=5, le=10_000)] = 100
    """How many attempts are looked at; it does not open before it has seen as many."""
    open_ms: Annotated[int, Field(ge=100, le=3_600_000)] = 10_000
    """How long nothing is handed out before one message is tried, in milliseconds."""


class ResultSettings(Settings):
    """What the handler returns is produced, and confirmed before its message counts as done."""

    topic: Name
    """Where results go that name no topic of their own."""


class HttpSettings(Settings):
    """Where metrics, health and state are served."""

    host: str = "0.0.0.0"  # noqa: S104 - a pod's port is reached by kubelet, Prometheus and the operator
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    """0 takes a free port."""


class LogLevel(StrEnum):
    """Names of the standard library's levels."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class RuntimeSettings(Settings):
    """Everything that one runtime is told. As a file: YAML or JSON of this shape."""

    generation: Annotated[int, Field(ge=0)] = 0
    """Counts the operator's writes; reported back as `consumer_config_generation` and at `/state`."""
    source: SourceSettings
    handler: HandlerSettings | None = None
    """None for a library user who passes a callable."""
    profile: Profile = Profile.NONE
    """Fills what `execution` and `retry` leave out; the operator leaves it at None and states all."""
    execution: ExecutionSettings = ExecutionSettings()
    retry: RetrySettings = RetrySettings()
    dead_letter: DeadLetterSettings = DeadLetterSettings()
    circuit_breaker: CircuitBreakerSettings | None = None
    """None: failures never stop other messages."""
    results: ResultSettings | None = None
    """None: what the handler returns is ignored."""
    http: HttpSettings = HttpSettings()
    log_level: LogLevel = LogLevel.INFO

    @model_validator(mode="before")
    @classmethod
    def _filled_from_profile(cls, document: Any) -> Any:
        if not isinstance(document, dict) or document.get("profile") not in list(Profile):
            return document
        return profiles.filled(document, Profile(document["profile"]))

    @field_validator("handler", mode="after")
    @classmethod
    def _registry_when_asked(cls, value: HandlerSettings | None, info: ValidationInfo) -> HandlerSettings | None:
        source = info.data.get("source")
        by_schema = value is not None and value.value_format is ValueFormat.SCHEMA_REGISTRY
        if by_schema and source is not None and source.kafka.schema_registry is None:
            raise ValueError("value_format schema_registry needs source.kafka.schema_registry.url")
        return value

    @classmethod
    def for_kafka(
        cls, bootstrap_servers: str | list[str], *, consumer_group: str, topics: str | list[str] = "", **fields: Any
    ) -> Self:
        """Return settings from what a Kafka user knows; `fields` are others of KafkaSettings and of this model.

            RuntimeSettings.for_kafka(
                "localhost:9092", topics="orders", consumer_group="shop",
                auto_offset_reset="latest", properties={"client.rack": "a"}, execution={"mode": "thread"},
            )

        Raises InvalidSettingsError, which names each field, its value and what is allowed.
        """
        if "source" in fields:
            told = "is made from the other arguments: give its fields themselves, such as properties={...}"
            raise InvalidSettingsError([Complaint(("source",), shown(fields["source"]), told)])
        servers, topics = _listed(bootstrap_servers), _listed(topics)
        kafka = {"bootstrap_servers": servers, "topics": topics, "consumer_group": consumer_group}
        kafka |= {name: fields.pop(name) for name in KafkaSettings.model_fields.keys() & fields.keys()}
        try:
            return cls.model_validate(fields | {"source": {"kafka": kafka}})
        except ValidationError as error:
            raise InvalidSettingsError(complaints(error, cls)) from error


def _listed(names: Any) -> Any:
    """Take `a, b` for a list too; what is no text is left to validation."""
    return [name for each in names.split(",") if (name := each.strip())] if isinstance(names, str) else names
