"""What a Kafka error means for the user: the settings' field to look at, and what to do. No client is made here."""

from confluent_kafka import KafkaError

from consumer_runtime.contract.settings import KafkaSettings
from consumer_runtime.contract.state import StartError, StartReason

_FIELDS = {
    StartReason.BROKER_UNREACHABLE: "spec.source.kafka.bootstrapServers",
    StartReason.AUTHENTICATION_FAILED: "spec.source.kafka.credentialsSecretRef",
    StartReason.TOPIC_NOT_FOUND: "spec.source.kafka.topics",
    StartReason.AUTHORIZATION_FAILED: "spec.source.kafka.consumerGroup",
    StartReason.KAFKA_FAILED: "spec.source.kafka",
}
_REASONS = {
    KafkaError._ALL_BROKERS_DOWN: StartReason.BROKER_UNREACHABLE,  # noqa: SLF001 - the client's own names
    KafkaError._TRANSPORT: StartReason.BROKER_UNREACHABLE,  # noqa: SLF001
    KafkaError._RESOLVE: StartReason.BROKER_UNREACHABLE,  # noqa: SLF001
    KafkaError._TIMED_OUT: StartReason.BROKER_UNREACHABLE,  # noqa: SLF001
    KafkaError._AUTHENTICATION: StartReason.AUTHENTICATION_FAILED,  # noqa: SLF001
    KafkaError.SASL_AUTHENTICATION_FAILED: StartReason.AUTHENTICATION_FAILED,
    KafkaError._SSL: StartReason.AUTHENTICATION_FAILED,  # noqa: SLF001
    KafkaError.UNKNOWN_TOPIC_OR_PART: StartReason.TOPIC_NOT_FOUND,
    KafkaError._UNKNOWN_TOPIC: StartReason.TOPIC_NOT_FOUND,  # noqa: SLF001
    KafkaError._UNKNOWN_PARTITION: StartReason.TOPIC_NOT_FOUND,  # noqa: SLF001
    KafkaError.TOPIC_AUTHORIZATION_FAILED: StartReason.AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED: StartReason.AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: StartReason.AUTHORIZATION_FAILED,
}
_REMEDIES = {
    StartReason.BROKER_UNREACHABLE: "no broker answers; check the addresses, the network, and whether the brokers run",
    StartReason.AUTHENTICATION_FAILED: "the broker refuses login or TLS handshake; check protocol, credentials, CA",
    StartReason.TOPIC_NOT_FOUND: "create the topic, or correct its name",
    StartReason.AUTHORIZATION_FAILED: "grant this principal READ and DESCRIBE on the topics and READ on the group",
    StartReason.KAFKA_FAILED: "see the client's own words",
}
_TOLD_AGAIN_WITHIN_SECONDS = 60.0


def reason_of(error: KafkaError) -> StartReason:
    """Return the reason that a Kafka error stands for; KafkaFailed for what is not known here."""
    return _REASONS.get(error.code(), StartReason.KAFKA_FAILED)


def problem(error: KafkaError, settings: KafkaSettings, *, value: str = "") -> StartError:
    """Return a Kafka error as a problem of the settings: field, value, remedy."""
    reason = reason_of(error)
    topic_refused = error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    field = _FIELDS[StartReason.TOPIC_NOT_FOUND] if topic_refused else _FIELDS[reason]
    return StartError(
        reason=reason,
        field=field,
        value=(value or _value(reason, settings))[:1024],
        remedy=f"{_REMEDIES[reason]} ({error.name()}: {error.str()})"[:2048],
    )


def silent_coordinator(settings: KafkaSettings) -> StartError:
    """Return the problem of a group whose coordinator has not been heard for a session's time."""
    return StartError(
        reason=StartReason.BROKER_UNREACHABLE,
        field=_FIELDS[StartReason.BROKER_UNREACHABLE],
        value=_value(StartReason.BROKER_UNREACHABLE, settings)[:1024],
        remedy="the group's coordinator has been silent for so long that other members may have the partitions; "
        "nothing new is begun until it answers: check the network, and whether the brokers run",
    )


def _value(reason: StartReason, settings: KafkaSettings) -> str:
    if reason is StartReason.BROKER_UNREACHABLE:
        return ",".join(settings.bootstrap_servers)
    if reason is StartReason.AUTHORIZATION_FAILED:
        return settings.consumer_group
    if reason is StartReason.AUTHENTICATION_FAILED:
        return settings.sasl_username or settings.security_protocol.value
    return ",".join(settings.topics) or settings.topic_pattern or ""


def is_over(problem: StartError, told_at: float, answered_at: float, now: float) -> bool:
    """Connections are well again once a broker has answered; what else it was would have been told again by now."""
    if problem.reason in (StartReason.BROKER_UNREACHABLE, StartReason.AUTHENTICATION_FAILED):
        return answered_at > told_at
    return now - told_at > _TOLD_AGAIN_WITHIN_SECONDS
