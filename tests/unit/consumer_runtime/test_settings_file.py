import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consumer_runtime import settings_file
from consumer_runtime.contract.settings import RuntimeSettings
from consumer_runtime.contract.state import StartReason
from consumer_runtime.settings_file import BYTES_AT_MOST, SettingsRejectedError

KAFKA = {"bootstrap_servers": ["localhost:9092"], "topics": ["orders"], "consumer_group": "shop"}


def _file(*, kafka: dict[str, Any] | None = None, **sections: Any) -> bytes:
    return yaml.safe_dump({"source": {"kafka": KAFKA | (kafka or {})}, **sections}).encode()


def _rejected(content: bytes) -> tuple[str, str, str]:
    with pytest.raises(SettingsRejectedError) as caught:
        settings_file.parse(content)
    told = caught.value.rejected
    return told.field, told.value, told.remedy


def test_yaml_and_json_state_the_same():
    """JSON is YAML, so that the operator may write either."""
    content = _file(execution={"max_in_flight": 64})
    as_json = json.dumps(yaml.safe_load(content)).encode()
    assert settings_file.parse(content) == settings_file.parse(as_json)
    assert settings_file.parse(content).execution.max_in_flight == 64


@pytest.mark.parametrize(
    ("content", "field", "value", "told"),
    [
        (_file(execution={"max_in_flight": 0}), "spec.execution.maxInFlight", "0", "greater than or equal to 1"),
        (_file(execution={"max_in_flight": "many"}), "spec.execution.maxInFlight", "many", "valid integer"),
        (_file(execution={"mode": "proces"}), "spec.execution.mode", "proces", "'single', 'async', 'thread'"),
        (_file(execution={"maxInFlight": 5}), "spec.execution.maxInFlight", "5", "allowed are: max_in_flight"),
        (_file(execution={"process": {"batch": 5}}), "spec.execution.process.batch", "5", "allowed are: batch_size"),
        (_file(exection={}), "exection", "{}", "allowed are: generation, source"),
        (_file(retry={"backoff_ms": 9, "max_backoff_ms": 1}), "spec.retry", "{", "backoff_ms 9 must be at most"),
        (_file(dead_letter={"enabled": True}), "spec.deadLetter", "{", "dead_letter.topic is needed"),
        (_file(kafka={"topics": []}), "spec.source.kafka", "{", "either topics or topic_pattern"),
        (_file(kafka={"topics": ["a b"]}), "spec.source.kafka.topics[0]", "a b", "should match pattern"),
        (_file(handler={"entrypoint": "shop"}), "spec.handler.entrypoint", "shop", "should match pattern"),
        (_file(http={"port": 99_999}), "http.port", "99999", "less than or equal to 65535"),
        (b"source: {}", "spec.source.kafka", "{}", "is needed and missing"),
        (b"", "settings file", "None", "must be a mapping"),
        (b"- 1", "settings file", "[1]", "must be a mapping"),
        (b"source: [", "settings file", "", "must be YAML or JSON"),
        (b"\xff\xfe", "settings file", "", "must be UTF-8"),
        (b"when: 2026-99-99", "settings file", "", "must be YAML or JSON"),
        (b"a: 1\na: 2", "settings file", "", "must not state 'a' twice (line 2)"),
        (b"a: !!python/object/apply:os.system [id]", "settings file", "", "must not use YAML tags"),
        (b"{[a]: b}", "settings file", "", "plain words as keys"),
    ],
)
def test_an_error_names_field_value_and_what_is_allowed(content, field, value, told):
    """In the custom resource's spelling, in one sentence, without a traceback."""
    got = _rejected(content)
    assert got[0] == field
    assert got[1].startswith(value)
    assert told in got[2]


def test_further_errors_are_counted():
    """One is told in full, the number of the others with it."""
    assert "(and 2 more)" in _rejected(_file(execution={"max_in_flight": 0, "poll_batch_size": 0, "mode": "x"}))[2]


@pytest.mark.parametrize("field", ["sasl_username", "sasl_password"])
def test_secrets_in_the_file_are_refused_and_not_repeated(field):
    """A ConfigMap is readable by many; so is a log."""
    _, value, told = _rejected(_file(kafka={field: "hunter2"}))
    assert "credentialsSecretRef" in told
    assert "hunter2" not in value + told


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        ({"plugin.library.paths": "x.so"}, "loads or runs code"),
        ({"ssl.ca.location": "/etc/passwd"}, "reads a file"),
        ({"group.id": "other"}, "set by source.kafka.consumer_group"),
        ({"enable.auto.commit": True}, "commits offsets"),
        ({"sasl.password": "x"}, "secrets belong into a Secret"),
        ({"group.protocol": "consumer", "session.timeout.ms": 5}, "the broker decides it"),
        ({"group.protocol": "consumer", "statistics.interval.ms": 0}, "must be 1 to 15000"),
    ],
)
def test_refused_properties_say_why(properties, told):
    """What loads code, reads files, holds a secret or is ours does not pass through."""
    field, _, remedy = _rejected(_file(kafka={"properties": properties}))
    assert field == "spec.source.kafka.properties"
    assert told in remedy


@pytest.mark.parametrize("name", ["sasl.password", "ssl.key.pem", "sasl.oauthbearer.client.secret"])
def test_a_secret_among_the_properties_is_not_repeated(name):
    """Nor beside something else that is wrong."""
    _, value, told = _rejected(_file(kafka={"properties": {name: "hunter2"}, "topic_pattern": "^a"}))
    assert name in told
    assert "hunter2" not in value + told


@pytest.mark.parametrize("value", [None, ["a"], {"a": 1}])
def test_a_property_of_the_wrong_kind_is_told_once(value):
    """Pydantic names each kind that it might have been."""
    field, _, remedy = _rejected(_file(kafka={"properties": {"client.rack": value}}))
    assert (field, remedy) == ("spec.source.kafka.properties.client.rack", "must be a text, a number, true or false")


def test_harmless_properties_pass():
    """The others are librdkafka's affair."""
    given_ = {"client.rack": "a", "fetch.max.bytes": 5, "group.protocol": "consumer", "session.timeout.ms.x": 1}
    assert settings_file.parse(_file(kafka={"properties": given_})).source.kafka.properties == given_


def _bomb() -> bytes:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (_bomb(), "must not use YAML aliases"),
        (b"a: &a [*a]", "must not use YAML aliases"),
        (b"<<: *a", "must not use YAML aliases"),
        (b"[" * 5_000, "nested more than 32 deep"),
        (b"{a: " * 5_000, "nested more than 32 deep"),
        (b"- " * 5_000, "nested more than 32 deep"),
        (b"#" * (BYTES_AT_MOST + 1), "at most 1048576 bytes"),
    ],
    ids=["bomb", "cycle", "merge", "lists", "mappings", "sequences", "size"],
)
def test_hostile_files_are_refused_quickly(content, told):
    """A few bytes that stand for gigabytes, or for a deep recursion, cost nothing."""
    began = time.perf_counter()
    assert told in _rejected(content)[2]
    assert time.perf_counter() - began < 2


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path):
    """With its path."""
    with pytest.raises(SettingsRejectedError) as caught:
        settings_file.read(tmp_path / "absent.yaml")
    failure = caught.value.start_failure()
    assert failure.error.reason is StartReason.INVALID_SETTINGS
    assert "absent.yaml" in failure.error.value
    assert "No such file" in failure.error.remedy


def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path):
    """One byte more than allowed suffices to refuse it."""
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"#" * (3 * BYTES_AT_MOST))
    assert len(settings_file.read_bytes(path)) == BYTES_AT_MOST + 1


_documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_names = st.sampled_from(
    ["source", "kafka", "execution", "retry", "handler", "dead_letter", "http", "topics", "process"]
)
_near_misses = st.recursive(
    _documents, lambda inner: st.dictionaries(_names, inner, max_size=4), max_leaves=12
)  # as real files go wrong: right names, wrong shapes


def _survives(content: bytes) -> None:
    try:
        parsed = settings_file.parse(content)
    except SettingsRejectedError as error:
        parsed = error
    assert isinstance(parsed, RuntimeSettings) or 0 < len(parsed.rejected.remedy) < 5_000


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
@example(b"? a\n: b")
@example(b"{[a]: b}")
@example(b"!!binary x: y")
@example(b"!!int a: y")
@example(b"a: !!timestamp x")
@example(b"a: 0x")
@example(b"a: !!float x")
@example(b"{{}: 1}")
@example(b"1: 2")
def test_no_bytes_raise_anything_else(content):
    """Whatever the file holds, it is settings or a told rejection."""
    _survives(content)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="abk:-{}[],&*!|>'\"%@?#\n 019~<=\t", max_size=60))
def test_no_yaml_text_raises_anything_else(text):
    """Text of YAML's own signs reaches further into the parser than bytes do."""
    _survives(text.encode())


@settings(max_examples=300, deadline=None)
@given(_near_misses)
def test_no_document_raises_anything_else(document):
    """Right names with wrong shapes reach the models."""
    _survives(yaml.safe_dump(document).encode("utf-8", "surrogatepass"))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 100_000), st.integers(0, 1_000), st.sampled_from(["single", "async", "thread", "process"]))
def test_what_is_written_is_read_back(max_in_flight, max_retries, mode):
    """A dump of settings, as the operator writes it, parses to the same settings."""
    wanted = RuntimeSettings.for_kafka(
        "b:1", topics=["t"], consumer_group="g",
        execution={"max_in_flight": max_in_flight, "mode": mode}, retry={"max_retries": max_retries},
    )  # fmt: skip
    assert settings_file.parse(yaml.safe_dump(wanted.model_dump(mode="json", exclude_none=True)).encode()) == wanted
