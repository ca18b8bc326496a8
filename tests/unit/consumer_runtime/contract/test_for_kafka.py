from typing import Any

import pytest

from consumer_runtime import ConsumerError, InvalidSettingsError, RuntimeSettings
from consumer_runtime.contract.settings import AutoOffsetReset, Mode
from consumer_runtime.profile_workers import with_workers


def made(servers: Any = "localhost:9092", **fields: Any) -> RuntimeSettings:
    """Settings as somebody types them first."""
    return RuntimeSettings.for_kafka(servers, **{"topics": "orders", "consumer_group": "shop"} | fields)


def test_fields_of_kafka_and_sections_are_given_side_by_side():
    """Nobody has to know which model a field is in."""
    settings = made(auto_offset_reset="latest", properties={"client.rack": "a"}, execution={"mode": "thread"})
    kafka = settings.source.kafka
    assert (kafka.auto_offset_reset, kafka.properties) == (AutoOffsetReset.LATEST, {"client.rack": "a"})
    assert settings.execution.mode is Mode.THREAD


@pytest.mark.parametrize("given", ["a:1,b:2", "a:1, b:2", ["a:1", "b:2"]])
def test_lists_may_be_written_as_a_kafka_client_takes_them(given):
    """`bootstrap.servers` is a text there."""
    assert made(given).source.kafka.bootstrap_servers == ["a:1", "b:2"]
    assert made(topics=given.replace(":", ".") if isinstance(given, str) else ["a.1", "b.2"]).source.kafka.topics == [
        "a.1",
        "b.2",
    ]


@pytest.mark.parametrize("server", ["a", "a:1", "a-b.c_d:65535", "10.0.0.1:9092", "[::1]:9092", "SASL_SSL://a:1"])
def test_addresses_are_taken_as_the_client_takes_them(server):
    """Names, addresses of both kinds, with a protocol or without a port."""
    assert made(server).source.kafka.bootstrap_servers == [server]


def test_a_profile_fills_what_is_not_stated():
    """The runbook's starting values; what is stated goes before them, within sections too."""
    plain = made(profile="HighThroughput")
    assert (plain.execution.mode, plain.execution.max_in_flight, plain.execution.poll_batch_size) == (
        Mode.PROCESS, 2_000, 1_000,
    )  # fmt: skip
    assert (plain.execution.process.batch_size, plain.execution.process.queue_size) == (128, 4_096)
    stated = made(profile="HighThroughput", execution={"max_in_flight": 5, "process": {"batch_size": 7}})
    assert (stated.execution.mode, stated.execution.max_in_flight) == (Mode.PROCESS, 5)
    assert (stated.execution.process.batch_size, stated.execution.process.queue_size) == (7, 4_096)
    again = RuntimeSettings.model_validate(stated.model_dump())
    assert again == stated
    assert made(profile="LowLatency").execution.mode is Mode.ASYNC
    assert made(profile="None") == made()


@pytest.mark.parametrize(
    ("profile", "execution", "cores", "workers"),
    [
        ("HighThroughput", {}, 2.5, 3),
        ("ResourceConstrained", {}, 3, 2),
        ("ResourceConstrained", {}, 0.5, 1),
        ("HighThroughput", {"worker_pool_size": 7}, 2, 7),
        ("LowLatency", {}, 2, 4),
        ("None", {}, 2, 4),
    ],
)
def test_workers_of_a_profile_follow_the_cores(profile, execution, cores, workers):
    """CPU count, or half of it rounded up; a number that is stated stays, and other profiles have none."""
    settings = made(profile=profile, execution=execution)
    assert with_workers(settings, cores).execution.worker_pool_size == workers


def test_a_pattern_takes_the_place_of_topics():
    """One of the two."""
    assert made(topics="", topic_pattern="^orders").source.kafka.topic_pattern == "^orders"


@pytest.mark.parametrize(
    ("arguments", "place", "value", "allowed"),
    [
        ({"profile": "Fast"}, "profile", "Fast", "'LowLatency', 'HighThroughput'"),
        ({"servers": None}, "source.kafka.bootstrap_servers", "None", "valid list"),
        ({"servers": ""}, "source.kafka.bootstrap_servers", "[]", "at least 1 item"),
        ({"servers": [""]}, "source.kafka.bootstrap_servers[0]", "", "must be host:port"),
        ({"servers": "kafka://a:1"}, "source.kafka.bootstrap_servers[0]", "kafka://a:1", "must be host:port"),
        ({"servers": "a:port"}, "source.kafka.bootstrap_servers[0]", "a:port", "must be host:port"),
        ({"servers": "a b:1"}, "source.kafka.bootstrap_servers[0]", "a b:1", "must be host:port"),
        ({"servers": "shop:secret@a:1"}, "source.kafka.bootstrap_servers[0]", "shop:secret@a:1", "must be host:port"),
        ({"topics": 5}, "source.kafka.topics", "5", "valid list"),
        ({"topics": ["a b"]}, "source.kafka.topics[0]", "a b", "match pattern"),
        ({"topics": ""}, "source.kafka", "{", "either topics or topic_pattern"),
        ({"consumer_group": 5}, "source.kafka.consumer_group", "5", "valid string"),
        ({"mode": "thread"}, "mode", "thread", "it belongs to execution"),
        ({"max_in_flight": 5}, "max_in_flight", "5", "it belongs to execution"),
        ({"batch_size": 5}, "batch_size", "5", "it belongs to execution.process"),
        ({"execution": {"mode": "asink"}}, "execution.mode", "asink", "'single', 'async', 'thread'"),
        ({"execution": {"threads": 5}}, "execution.threads", "5", "allowed are: max_in_flight"),
        ({"source": {}}, "source", "{}", "give its fields themselves"),
    ],
)
def test_a_mistake_names_field_value_and_what_is_allowed(arguments, place, value, allowed):
    """In one line, as an error of ours that is a ValueError too."""
    with pytest.raises(InvalidSettingsError) as caught:
        made(**arguments)
    (complaint,) = caught.value.complaints
    assert str(caught.value).startswith(f"{place} is ")
    assert complaint.value.startswith(value)
    assert allowed in complaint.remedy
    assert isinstance(caught.value, ConsumerError)
    assert isinstance(caught.value, ValueError)


def test_every_mistake_is_told_and_no_secret():
    """One line each."""
    with pytest.raises(InvalidSettingsError) as caught:
        made(topics="", sasl_password="hunter2", execution={"max_in_flight": 0, "mode": 5})  # noqa: S106 - a made one
    assert len(str(caught.value).splitlines()) == 3
    assert "hunter2" not in str(caught.value)
