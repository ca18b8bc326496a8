import socket
import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from consumer_runtime import ParallelConsumer, RuntimeSettings, StartFailure
from consumer_runtime.contract.state import StartReason
from testbed import parts
from testbed.kafka import LOOPBACK, Kafka, Security
from testbed.layout import Instance, Part
from testbed.progress import Progress

pytestmark = pytest.mark.kafka

INSTANCE = 7
TOPIC = "orders"
USERS = {"alice": "reads all", "bob": "reads the topic, not the group", "carol": "reads nothing"}


@pytest.fixture(scope="module")
def secured() -> Iterator[tuple[Kafka, str]]:
    """A broker of its own that asks for a password and checks what each user may do, and its address."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        address = f"{LOOPBACK}:{probe.getsockname()[1]}"
    users = " ".join(f'user_{name}="secret-{name}"' for name in USERS)
    security = Security(
        listeners={"LOGIN": address},
        protocols={"LOGIN": "SASL_PLAINTEXT"},
        properties={
            "listener.name.login.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.login.plain.sasl.jaas.config": (
                f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        },
    )
    broker = Kafka(Instance(number=INSTANCE), security=security)
    broker.start()
    try:
        broker.create_topic(TOPIC, partitions=2)
        grant(broker, "alice", ResourceType.TOPIC, "*")
        grant(broker, "alice", ResourceType.GROUP, "*")
        grant(broker, "bob", ResourceType.TOPIC, TOPIC)
        yield broker, address
    finally:
        parts.remove([Part.KAFKA], broker.instance, Progress())


def grant(broker: Kafka, user: str, kind: ResourceType, name: str) -> None:
    """Let a user read (and so describe) a topic or a group."""
    binding = AclBinding(
        kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", AclOperation.READ, AclPermissionType.ALLOW
    )
    admin = broker.admin()
    for future in admin.create_acls([binding]).values():
        future.result(20)


def settings(address: str, user: str, password: str | None = None, topic: str = TOPIC) -> RuntimeSettings:
    """Settings to consume as a user."""
    kafka = {
        "bootstrap_servers": [address],
        "topics": [topic],
        "consumer_group": f"security-{uuid.uuid4().hex[:8]}",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_username": user,
        "sasl_password": password or f"secret-{user}",
    }
    return RuntimeSettings.model_validate({"source": {"kafka": kafka}})


async def work(message) -> None:
    """Do nothing."""


def test_with_credentials_and_access_it_consumes(secured, running):
    """The plain case: SASL settings reach consumer, admin client and whatever else connects."""
    _, address = secured
    with running(settings(address, "alice"), work) as member:
        member.wait_for_assignment(2)
        member.wait_for(lambda: len(member.consumer.statistics.snapshot().partitions) == 2)
        key = (TOPIC, 0)
        member.wait_for(lambda: member.consumer.statistics.snapshot().partitions[key].backlog == 0)


def test_a_wrong_password_ends_the_start_and_names_the_secret(secured):
    """It would be wrong for ever: no endless retries, and the field to look at."""
    _, address = secured
    with pytest.raises(StartFailure) as failure:
        ParallelConsumer(settings(address, "alice", "guess"), work).run()
    assert failure.value.error.reason is StartReason.AUTHENTICATION_FAILED
    assert failure.value.error.field == "spec.source.kafka.credentialsSecretRef"
    assert failure.value.error.value == "alice"
    assert "guess" not in str(failure.value)


def test_a_group_without_access_is_named(secured):
    """The topic may be read, the group may not: the field is the group, and the remedy the grant that is missing."""
    _, address = secured
    wanted = settings(address, "bob")
    with pytest.raises(StartFailure) as failure:
        ParallelConsumer(wanted, work).run()
    error = failure.value.error
    assert (error.reason, error.field) == (StartReason.AUTHORIZATION_FAILED, "spec.source.kafka.consumerGroup")
    assert error.value == wanted.source.kafka.consumer_group
    assert "READ on the group" in error.remedy


def test_a_topic_without_access_is_told_from_a_missing_one(secured):
    """A broker hides what may not be seen; asked about the one topic, it says that access is missing."""
    _, address = secured
    with pytest.raises(StartFailure) as failure:
        ParallelConsumer(settings(address, "carol"), work).run()
    error = failure.value.error
    assert (error.reason, error.field) == (StartReason.AUTHORIZATION_FAILED, "spec.source.kafka.topics")
    assert error.value == TOPIC


def test_a_missing_topic_is_missing_for_who_may_see_it(secured):
    """With access to all topics the same question has the other answer."""
    _, address = secured
    with pytest.raises(StartFailure) as failure:
        ParallelConsumer(settings(address, "alice", topic="no-such-orders"), work).run()
    assert failure.value.error.reason is StartReason.TOPIC_NOT_FOUND
