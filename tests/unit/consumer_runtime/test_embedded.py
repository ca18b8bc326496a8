import subprocess
import sys

import pytest
from confluent_kafka import Consumer

from consumer_runtime.embedded import PARTITIONS, EmbeddedKafka, EmbeddedKafkaError, Record


def _consumed(servers: str, topic: str, count: int) -> list[tuple[bytes | None, bytes | None, int]]:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "g", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    found = []
    for _ in range(100):
        found += [(each.key(), each.value(), each.partition()) for each in consumer.consume(count, 0.2)]
        if len(found) >= count:
            break
    consumer.close()
    return found


def test_what_is_produced_is_consumed():
    """Keys, values and nulls; the same key in the same partition; a partition when it is named."""
    records = [Record(b"1", b"a"), Record(b"2", b"a"), Record(None, b"b"), Record(b"3", partition=2)]
    with EmbeddedKafka() as kafka:
        assert kafka.produce("orders", records) == 4
        found = _consumed(kafka.bootstrap_servers, "orders", 4)
    assert {(key, value) for key, value, _ in found} == {(b"a", b"1"), (b"a", b"2"), (b"b", None), (None, b"3")}
    assert len({partition for key, _, partition in found if key == b"a"}) == 1
    assert [partition for key, _, partition in found if key is None] == [2]


def test_a_topic_is_made_with_its_partitions_and_other_processes_see_it():
    """The demo's consumers are child processes."""
    script = (
        "import sys; from confluent_kafka.admin import AdminClient;"
        "print(len(AdminClient({'bootstrap.servers': sys.argv[1]}).list_topics('t', timeout=5).topics['t'].partitions))"
    )
    with EmbeddedKafka(brokers=2) as kafka:
        kafka.create("t")
        assert len(kafka.bootstrap_servers.split(",")) == 2
        command = [sys.executable, "-c", script, kafka.bootstrap_servers]
        seen = subprocess.run(command, check=True, capture_output=True, timeout=30, text=True).stdout
    assert int(seen) == PARTITIONS


def test_more_than_the_clients_queue_holds_can_be_produced():
    """A hundred thousand are the queue's bound; the call waits for room instead of failing."""
    with EmbeddedKafka() as kafka:
        assert kafka.produce("t", (Record(b"", b"%d" % number) for number in range(120_000))) == 120_000


def test_what_cannot_be_done_is_told():
    """After the end, and for a partition that is not there."""
    kafka = EmbeddedKafka()
    kafka.create("t")
    with pytest.raises(EmbeddedKafkaError, match="message 1 was not taken by 't'"):
        kafka.produce("t", [Record(b"1", partition=77)])
    kafka.close()
    with pytest.raises(EmbeddedKafkaError, match="closed"):
        kafka.create("t")
