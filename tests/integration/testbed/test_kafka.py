import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from testbed import leftovers, network, parts, processes, readiness
from testbed.artifacts import Name
from testbed.errors import NotReadyError
from testbed.kafka import Kafka, Security
from testbed.layout import Instance, Part, Port
from testbed.parts import Condition

pytestmark = pytest.mark.kafka
LOOPBACK = "127.0.0.1"


@pytest.fixture
def kafka(spare: Callable[..., Instance]) -> Kafka:
    """A broker of the test's own, not started yet."""
    return Kafka(spare(Name.KAFKA))


def produce(servers: str, topic: str, count: int) -> None:
    """Write so many messages and wait until the broker has them all."""
    producer = Producer({"bootstrap.servers": servers, "acks": "all"})
    for number in range(count):
        producer.produce(topic, str(number).encode())
    assert producer.flush(30) == 0


def consume(servers: str, topic: str, count: int) -> list[bytes]:
    """Read so many messages from the beginning, or as many as come within half a minute."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": f"{topic}-reader", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    try:
        return [message.value() for message in consumer.consume(count, timeout=30)]
    finally:
        consumer.close()


def answers(servers: str, seconds: float = 2.0) -> bool:
    """Whether a new client gets an answer."""
    try:
        return bool(AdminClient({"bootstrap.servers": servers, "log_level": 0}).list_topics(timeout=seconds).brokers)
    except KafkaException:
        return False


def test_a_broker_whose_start_was_given_up_makes_room_for_the_next(kafka: Kafka, monkeypatch: pytest.MonkeyPatch):
    """A broker too slow for its deadline, on a busy machine, does not hold the ports against the next start."""
    monkeypatch.setattr("testbed.kafka.READY_SECONDS", 0.0)
    with pytest.raises(NotReadyError):
        kafka.start()
    slow = kafka.process
    monkeypatch.undo()
    kafka.start()
    assert not processes.alive(slow)
    assert processes.alive(kafka.process)
    assert answers(kafka.bootstrap_servers)


def test_data_and_ports_survive_what_chaos_does(kafka: Kafka):
    """Stopped, killed and started again, the broker is at its old address with all its messages."""
    kafka.start()
    servers = kafka.bootstrap_servers
    kafka.create_topic("orders", partitions=3)
    produce(servers, "orders", 100)
    kafka.restart()
    assert kafka.bootstrap_servers == servers
    kafka.kill()
    assert not kafka.is_up()
    assert not answers(servers)
    assert parts.status(kafka.instance)[0].condition is Condition.DEGRADED
    kafka.start()
    assert sorted(consume(servers, "orders", 100)) == sorted(str(number).encode() for number in range(100))
    assert len(kafka.admin().list_topics("orders", timeout=10).topics["orders"].partitions) == 3


def test_a_paused_broker_accepts_and_does_not_answer(kafka: Kafka):
    """Connections open as the kernel opens them, nothing answers; resumed, it goes on as if nothing had been."""
    kafka.start()
    host, _, port = kafka.bootstrap_servers.partition(":")
    kafka.pause()
    assert readiness.listening(host, int(port))
    assert not answers(kafka.bootstrap_servers)
    kafka.resume()
    assert answers(kafka.bootstrap_servers, seconds=20)


@pytest.mark.skipif(not network.permitted(), reason="a listener for pods needs a network, which needs root")
def test_pods_have_a_listener_of_their_own(kafka: Kafka):
    """A client that asks at the link's address is sent to the link's address, not to loopback."""
    kafka.start()
    brokers = AdminClient({"bootstrap.servers": kafka.pod_bootstrap_servers}).list_topics(timeout=10).brokers
    assert {f"{broker.host}:{broker.port}" for broker in brokers.values()} == {kafka.pod_bootstrap_servers}
    assert kafka.pod_bootstrap_servers.startswith(kafka.instance.host_address)


def test_a_taken_port_is_left_to_its_owner(kafka: Kafka):
    """With the preferred port in use the broker goes elsewhere, and says where."""
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        taken = other.getsockname()[1]
        elsewhere = Kafka(replace(kafka.instance, ports={Port.KAFKA: taken}))
        elsewhere.start()
        assert elsewhere.bootstrap_servers != f"{LOOPBACK}:{taken}"
        assert answers(elsewhere.bootstrap_servers)


def test_a_secured_listener_can_be_added(kafka: Kafka):
    """With user and password a client gets in; with a wrong password it does not; the plain listener stays."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        address = f"{LOOPBACK}:{probe.getsockname()[1]}"
    login = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="wonder";'
    secured = Security(
        listeners={"LOGIN": address},
        protocols={"LOGIN": "SASL_PLAINTEXT"},
        properties={
            "listener.name.login.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.login.plain.sasl.jaas.config": login,
        },
    )
    broker = Kafka(kafka.instance, security=secured)
    broker.start()
    assert answers(broker.bootstrap_servers)
    assert logs_in(address, "wonder")
    assert not logs_in(address, "rabbit")


def logs_in(address: str, password: str) -> bool:
    """Whether the broker lets alice in with that password."""
    login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "alice"}
    client = AdminClient({"bootstrap.servers": address, **login, "sasl.password": password, "log_level": 0})
    try:
        return bool(client.list_topics(timeout=5).brokers)
    except KafkaException:
        return False


def test_a_broker_that_cannot_start_says_why_and_down_cleans_up(kafka: Kafka):
    """The error has the end of the broker's log; `down` then leaves no process and no folder."""
    elsewhere = Security(listeners={"FAR": "203.0.113.1:9092"}, protocols={"FAR": "PLAINTEXT"})
    broken = Kafka(kafka.instance, security=elsewhere)
    with pytest.raises(NotReadyError, match=r"Kafka: process kafka ended(?s:.*)Cannot assign requested address"):
        broken.start()
    parts.down(instance=kafka.instance)
    assert not leftovers.find(kafka.instance)
    assert not kafka.instance.run.exists()


def test_up_and_down_are_repeatable(kafka: Kafka, tmp_path: Path):
    """A second `up` starts nothing, `down` leaves nothing, and after it `up` begins with an empty broker."""
    parts.up(Part.KAFKA, instance=kafka.instance)
    first = kafka.process.pid
    kafka.create_topic("orders", partitions=1)
    parts.up(Part.KAFKA, instance=kafka.instance)
    assert kafka.process.pid == first
    parts.down(Part.KAFKA, instance=kafka.instance)
    assert not leftovers.find(kafka.instance)
    parts.up(Part.KAFKA, instance=kafka.instance)
    assert "orders" not in kafka.admin().list_topics(timeout=10).topics
