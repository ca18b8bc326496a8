import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from consumer_runtime import ParallelConsumer, Reject, RuntimeSettings, StartFailure
from consumer_runtime.contract.state import StartReason
from testbed import parts
from testbed.kafka import LOOPBACK, Kafka, Security
from testbed.layout import Instance, Part
from testbed.pki import Authority
from testbed.progress import Progress

pytestmark = pytest.mark.kafka

INSTANCE = 7
LOGIN_SECONDS = 3
TOPIC = "orders"
USERS = {"alice": "reads all", "bob": "reads the topic, not the group", "carol": "reads nothing"}


class Secured(NamedTuple):
    """A broker of its own that checks what each user may do, and where it asks for a password or a certificate."""

    broker: Kafka
    address: str
    scram_address: str
    """Here passwords can be changed, and a login is good for LOGIN_SECONDS."""
    tls_address: str
    authority: Authority


@pytest.fixture(scope="module")
def secured(tmp_path_factory) -> Iterator[Secured]:
    """Start it for the tests of this file."""
    address, scram_address, tls_address = free_addresses(3)
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    authority.create()
    authority.issue("broker", "/CN=broker", addresses=(LOOPBACK,))
    for name in ("first", "second"):
        authority.issue(name, f"/CN={name}")
    broker_pem = authority.folder / "broker.pem"
    broker_pem.write_text(authority.key_of("broker").read_text() + authority.certificate_of("broker").read_text())
    users = " ".join(f'user_{name}="secret-{name}"' for name in USERS)
    security = Security(
        listeners={"LOGIN": address, "SCRAM": scram_address, "MUTUAL": tls_address},
        protocols={"LOGIN": "SASL_PLAINTEXT", "SCRAM": "SASL_PLAINTEXT", "MUTUAL": "SSL"},
        properties={
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.mutual.ssl.keystore.type": "PEM",
            "listener.name.mutual.ssl.keystore.location": str(broker_pem),
            "listener.name.mutual.ssl.truststore.type": "PEM",
            "listener.name.mutual.ssl.truststore.location": str(authority.certificate),
            "listener.name.login.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.login.plain.sasl.jaas.config": (
                f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
            ),
            "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-256",
            "listener.name.scram.scram-sha-256.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "listener.name.scram.scram-sha-256.connections.max.reauth.ms": str(LOGIN_SECONDS * 1000),
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
        for name in ("CN=first", "CN=second", "dana"):
            grant(broker, name, ResourceType.TOPIC, "*")
            grant(broker, name, ResourceType.GROUP, "*")
            grant(broker, name, ResourceType.TOPIC, "*", AclOperation.WRITE)
        yield Secured(broker, address, scram_address, tls_address, authority)
    finally:
        parts.remove([Part.KAFKA], broker.instance, Progress())


def free_addresses(count: int) -> list[str]:
    """Return addresses with ports that nobody listens at."""
    probes = [socket.socket() for _ in range(count)]
    for each in probes:
        each.bind((LOOPBACK, 0))
    addresses = [f"{LOOPBACK}:{each.getsockname()[1]}" for each in probes]
    for each in probes:
        each.close()
    return addresses


def grant(broker: Kafka, user: str, kind: ResourceType, name: str, operation: AclOperation = AclOperation.READ) -> None:
    """Let a user read (and so describe) a topic or a group."""
    binding = AclBinding(
        kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, AclPermissionType.ALLOW
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
    address = secured.address
    with running(settings(address, "alice"), work) as member:
        member.wait_for_assignment(2)
        member.wait_for(lambda: len(member.consumer.statistics.snapshot().partitions) == 2)
        key = (TOPIC, 0)
        member.wait_for(lambda: member.consumer.statistics.snapshot().partitions[key].backlog == 0)


def test_a_wrong_password_ends_the_start_and_names_the_secret(secured):
    """It would be wrong for ever: no endless retries, and the field to look at."""
    address = secured.address
    with pytest.raises(StartFailure) as failure:
        ParallelConsumer(settings(address, "alice", "guess"), work).run()
    assert failure.value.error.reason is StartReason.AUTHENTICATION_FAILED
    assert failure.value.error.field == "spec.source.kafka.credentialsSecretRef"
    assert failure.value.error.value == "alice"
    assert "guess" not in str(failure.value)


def test_a_group_without_access_is_named(secured):
    """The topic may be read, the group may not: the field is the group, and the remedy the grant that is missing."""
    address = secured.address
    wanted = settings(address, "bob")
    with pytest.raises(StartFailure) as failure:
        ParallelConsumer(wanted, work).run()
    error = failure.value.error
    assert (error.reason, error.field) == (StartReason.AUTHORIZATION_FAILED, "spec.source.kafka.consumerGroup")
    assert error.value == wanted.source.kafka.consumer_group
    assert "READ on the group" in error.remedy


def test_a_topic_without_access_is_told_from_a_missing_one(secured):
    """A broker hides what may not be seen; asked about the one topic, it says that access is missing."""
    address = secured.address
    with pytest.raises(StartFailure) as failure:
        ParallelConsumer(settings(address, "carol"), work).run()
    error = failure.value.error
    assert (error.reason, error.field) == (StartReason.AUTHORIZATION_FAILED, "spec.source.kafka.topics")
    assert error.value == TOPIC


def test_a_missing_topic_is_missing_for_who_may_see_it(secured):
    """With access to all topics the same question has the other answer."""
    address = secured.address
    with pytest.raises(StartFailure) as failure:
        ParallelConsumer(settings(address, "alice", topic="no-such-orders"), work).run()
    assert failure.value.error.reason is StartReason.TOPIC_NOT_FOUND


def put(authority: Authority, name: str, folder: Path) -> None:
    """Put a client's certificate in place as a kubelet does: one rename for both files."""
    version = folder / name
    version.mkdir()
    (version / "tls.crt").write_bytes(authority.certificate_of(name).read_bytes())
    (version / "tls.key").write_bytes(authority.key_of(name).read_bytes())
    swap = folder / "..swap"
    swap.symlink_to(version)
    swap.rename(folder / "..data")


@pytest.mark.parametrize("membership", ["dynamic", "static"])
def test_certificates_are_rotated_without_a_restart(secured, running, tmp_path, monkeypatch, membership):
    """Once the new one is in place the old one may lose all rights: messages, dead letters and results go on."""
    monkeypatch.setenv("POD_NAME", f"shop-{membership}")
    topic = f"rotated-{membership}"
    dead, out = f"{topic}-dead", f"{topic}-out"
    for name in (topic, dead, out):
        secured.broker.create_topic(name, partitions=2)
    put(secured.authority, "first", tmp_path)
    kafka = {
        "bootstrap_servers": [secured.tls_address],
        "topics": [topic],
        "consumer_group": f"rotated-{uuid.uuid4().hex[:8]}",
        "membership": membership,
        "security_protocol": "SSL",
        "ca_location": str(secured.authority.certificate),
        "certificate_location": str(tmp_path / "..data" / "tls.crt"),
        "key_location": str(tmp_path / "..data" / "tls.key"),
    }
    sections = {"dead_letter": {"enabled": True, "topic": dead}, "results": {"topic": out}}
    seen: list[bytes] = []

    async def picky(message) -> bytes:
        seen.append(message.value)
        return refusing_bad(message)

    def produce(values: list[bytes]) -> None:
        produce_to(secured.broker, topic, values)

    with running(RuntimeSettings.model_validate({"source": {"kafka": kafka}, **sections}), picky) as member:
        produce([b"1", b"bad 1"])
        member.wait_for(lambda: member.finished() == 2)
        rebalances = member.consumer.statistics.snapshot().rebalances
        put(secured.authority, "second", tmp_path)
        member.wait_for(lambda: member.consumer.statistics.snapshot().rebalances >= rebalances + 2)
        member.wait_for_assignment(2)
        filters = AclBindingFilter(
            ResourceType.ANY, None, ResourcePatternType.ANY, "User:CN=first", None, AclOperation.ANY,
            AclPermissionType.ANY,
        )  # fmt: skip
        admin = secured.broker.admin()
        for future in admin.delete_acls([filters]).values():
            future.result(20)
        try:
            produce([b"2", b"bad 2"])
            member.wait_for(lambda: member.finished() == 4)
        finally:
            for kind in (ResourceType.TOPIC, ResourceType.GROUP):
                grant(secured.broker, "CN=first", kind, "*")
            grant(secured.broker, "CN=first", ResourceType.TOPIC, "*", AclOperation.WRITE)
    assert set(seen) == {b"1", b"2", b"bad 1", b"bad 2"}
    assert written(secured.broker, out) == 2


def refusing_bad(message) -> bytes:
    """A handler with results and dead letters."""
    if message.value.startswith(b"bad"):
        raise Reject("as it says")
    return message.value


def produce_to(broker: Kafka, topic: str, values: list[bytes]) -> None:
    """Write as somebody who may."""
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(20) == 0


def written(broker: Kafka, topic: str) -> int:
    """Return how many messages a topic of two partitions was given."""
    reader = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": f"{topic}-reader"})
    ends = [reader.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1] for number in (0, 1)]
    reader.close()
    return sum(ends)


def set_password(secured: Secured, folder: Path, password: str) -> None:
    """Give the user dana a password, at the broker and in the folder."""
    credential = UserScramCredentialUpsertion(
        "dana", ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), password.encode()
    )
    admin = secured.broker.admin()
    for future in admin.alter_user_scram_credentials([credential]).values():
        future.result(20)
    (folder / "username").write_text("dana", encoding="utf-8")
    (folder / "password").write_text(f"{password}\n", encoding="utf-8")


def test_a_password_is_rotated_without_a_restart(secured, running, tmp_path):
    """Every connection has to log in again, and the old password is good no more: nothing stops, nobody rejoins."""
    topic, dead, out = (f"password-{name}" for name in ("in", "dead", "out"))
    for name in (topic, dead, out):
        secured.broker.create_topic(name, partitions=2)
    set_password(secured, tmp_path, "first")
    kafka = {
        "bootstrap_servers": [secured.scram_address],
        "topics": [topic],
        "consumer_group": "password",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-256",
        "credentials_location": str(tmp_path),
    }
    sections = {"dead_letter": {"enabled": True, "topic": dead}, "results": {"topic": out}}

    async def picky(message) -> bytes:
        return refusing_bad(message)

    with running(RuntimeSettings.model_validate({"source": {"kafka": kafka}, **sections}), picky) as member:
        produce_to(secured.broker, topic, [b"1", b"bad 1"])
        member.wait_for(lambda: member.finished() == 2)
        rebalances = member.consumer.statistics.snapshot().rebalances
        set_password(secured, tmp_path, "second")
        time.sleep(2 * LOGIN_SECONDS + 2)
        produce_to(secured.broker, topic, [b"2", b"bad 2"])
        member.wait_for(lambda: member.finished() == 4)
        member.wait_for(lambda: member.consumer.state().problem is None)
        assert member.consumer.statistics.snapshot().rebalances == rebalances
    assert (written(secured.broker, out), written(secured.broker, dead)) == (2, 2)


def test_a_folder_without_a_login_is_named(tmp_path):
    """Before anything connects, with what it needs."""
    (tmp_path / "username").write_text("dana", encoding="utf-8")
    kafka = {
        "bootstrap_servers": ["localhost:1"], "topics": [TOPIC], "consumer_group": "g",
        "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "credentials_location": str(tmp_path),
    }  # fmt: skip
    with pytest.raises(StartFailure, match="files `username` and `password`") as failure:
        ParallelConsumer(RuntimeSettings.model_validate({"source": {"kafka": kafka}}), work)
    assert failure.value.error.value == str(tmp_path)
