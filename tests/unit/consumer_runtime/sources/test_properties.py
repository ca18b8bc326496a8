from threading import Timer

import pytest
from confluent_kafka import Consumer, KafkaException

from consumer_runtime import ParallelConsumer, RuntimeSettings, StartFailure
from consumer_runtime.contract.settings import KafkaSettings
from consumer_runtime.contract.state import StartReason
from consumer_runtime.sources.properties import (
    client_properties,
    consumer_properties,
    invalid_property,
    is_incremental,
    require_accepted,
)


def settings(**fields: object) -> KafkaSettings:
    """Return settings of one topic on one broker."""
    required = {"bootstrap_servers": ["localhost:9092"], "topics": ["orders"], "consumer_group": "shop"}
    return KafkaSettings.model_validate(required | fields)


@pytest.mark.parametrize(
    ("given", "incremental"),
    [
        ({}, True),
        ({"partition.assignment.strategy": "range,roundrobin"}, False),
        ({"partition.assignment.strategy": "cooperative-sticky"}, True),
        ({"group.protocol": "consumer"}, True),
    ],
)
def test_partitions_come_one_by_one_where_the_protocol_does_it(given: dict, *, incremental: bool):
    """The callbacks must assign in the way of the protocol, or the client refuses."""
    assert is_incremental(consumer_properties(settings(properties=given))) is incremental


def test_the_new_group_protocol_is_given_no_assignor():
    """KIP-848 refuses `partition.assignment.strategy`: what we set by default must go."""
    properties = consumer_properties(settings(properties={"group.protocol": "consumer"}))
    assert "partition.assignment.strategy" not in properties
    Consumer(properties).close()


def test_what_the_user_gives_goes_before_our_defaults():
    """Our figures are defaults, not laws."""
    assert consumer_properties(settings(properties={"fetch.queue.backoff.ms": 50}))["fetch.queue.backoff.ms"] == 50


def test_a_client_that_does_not_consume_gets_connection_properties_only():
    """The dead letter producer and the admin client would warn about a consumer's properties."""
    given = {"fetch.max.bytes": 1_000_000, "socket.keepalive.enable": True, "client.rack": "a"}
    properties = client_properties(settings(properties=given))
    assert "fetch.max.bytes" not in properties
    assert properties["socket.keepalive.enable"] is True
    assert properties["client.rack"] == "a"


def test_static_members_are_named_by_their_pod(monkeypatch):
    """The name must survive a restart of the pod: the pod's own."""
    monkeypatch.setenv("POD_NAME", "orders-2")
    assert consumer_properties(settings(membership="static"))["group.instance.id"] == "orders-2"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"no.such.thing": 1}, "no.such.thing"),
        ({"fetch.max.bytes": "many"}, "fetch.max.bytes"),
        ({"isolation.level": "dirty"}, "isolation.level"),
        ({"socket.keepalive.enable": "perhaps"}, "socket.keepalive.enable"),
        ({"partition.assignment.strategy": "best"}, "partition.assignment.strategy"),
        ({"max.poll.interval.ms": 1_000}, "max.poll.interval.ms"),
    ],
)
def test_a_refused_property_is_named_with_its_value(given: dict, named: str):
    """The user reads which property to change, in the CRD's spelling."""
    properties = consumer_properties(settings(properties=given))
    with pytest.raises(KafkaException) as refused:
        Consumer(properties)
    error = invalid_property(refused.value, properties).error
    assert (error.reason, error.field) == (StartReason.INVALID_SETTINGS, f"spec.source.kafka.properties.{named}")
    assert error.value == str(given[named])


@pytest.mark.parametrize(
    ("sections", "mode", "name"),
    [
        ({"dead_letter": {"enabled": True, "topic": "dead"}}, "async", "socket.keepalive.enable"),
        ({"results": {"topic": "out"}}, "async", "socket.keepalive.enable"),
        ({}, "async", "max.poll.interval.ms"),
        ({}, "single", "max.poll.interval.ms"),
    ],
)
def test_whichever_client_is_made_first_names_the_property(sections: dict, mode: str, name: str):
    """Consumer, admin client and the producer of dead letters: a StartFailure, and no exception of the client's."""

    async def handle(message) -> None:
        """Never reached."""

    stated = RuntimeSettings.for_kafka(
        "127.0.0.1:1", topics="orders", consumer_group="shop", properties={name: "perhaps"},
        execution={"mode": mode}, **sections,
    )  # fmt: skip
    with pytest.raises(StartFailure) as failure:
        _run_briefly(ParallelConsumer(stated, handle))
    error = failure.value.error
    assert (error.field, error.value) == (f"spec.source.kafka.properties.{name}", "perhaps")


def _run_briefly(consumer: ParallelConsumer) -> None:
    """A check that is passed over would wait for a broker: end that wait."""
    ending = Timer(5, consumer.stop)
    ending.start()
    try:
        consumer.run()
    finally:
        ending.cancel()


def test_what_the_settings_set_is_named_by_their_field(tmp_path):
    """A user wrote `caSecretRef` and never heard of `ssl.ca.location`."""
    (tmp_path / "ca.crt").write_text("no certificate", encoding="utf-8")
    stated = settings(security_protocol="SSL", ca_location=str(tmp_path / "ca.crt"))
    with pytest.raises(StartFailure) as failure:
        require_accepted(stated)
    assert failure.value.error.field == "spec.source.kafka.caSecretRef"
    assert failure.value.error.value == str(tmp_path / "ca.crt")
