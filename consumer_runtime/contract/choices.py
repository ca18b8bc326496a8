"""The choices that worker processes need too: of their own, so that a worker imports no pydantic (17 MB of its memory).

Re-exported by `settings` and `state`, where everybody else finds them.
"""

from enum import StrEnum


class Mode(StrEnum):
    """How the handler runs."""

    SINGLE = "single"
    ASYNC = "async"
    THREAD = "thread"
    PROCESS = "process"
    AUTO = "auto"


class ValueFormat(StrEnum):
    """What `message.value` is when a handler sees it; a message that does not decode goes to the dead letter topic."""

    BYTES = "bytes"
    TEXT = "text"
    """UTF-8."""
    JSON = "json"
    SCHEMA_REGISTRY = "schema_registry"
    """Avro, JSON or Protobuf, by the schema that each message names; needs `source.kafka.schema_registry`."""


class StartReason(StrEnum):
    """Why a runtime did not start, or gave up; also a reason of the condition Degraded."""

    INVALID_SETTINGS = "InvalidSettings"
    HANDLER_NOT_FOUND = "HandlerNotFound"
    HANDLER_FAILED_TO_IMPORT = "HandlerFailedToImport"
    HANDLER_UNSUITABLE = "HandlerUnsuitable"
    TOPIC_NOT_FOUND = "TopicNotFound"
    BROKER_UNREACHABLE = "BrokerUnreachable"
    AUTHENTICATION_FAILED = "AuthenticationFailed"
    AUTHORIZATION_FAILED = "AuthorizationFailed"
    DEAD_LETTER_TOPIC_NOT_FOUND = "DeadLetterTopicNotFound"
    HANDLER_STUCK = "HandlerStuck"
    KAFKA_FAILED = "KafkaFailed"
