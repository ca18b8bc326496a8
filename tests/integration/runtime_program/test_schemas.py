"""Values by schema, on the real Kafka; the registry is a small one that speaks the real one's REST contract."""

import base64
import io
import json
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import fastavro
import pytest
from google.protobuf import descriptor_pb2, timestamp_pb2

from consumer_runtime.contract.state import StartReason

MONEY = {"type": "record", "name": "shop.Money", "fields": [{"name": "cents", "type": "long"}]}
ORDER = {"type": "record", "name": "Order", "fields": [{"name": "total", "type": "shop.Money"}]}
MONEY_JSON = {"type": "integer", "minimum": 0}
ORDER_JSON = {"type": "object", "required": ["total"], "properties": {"total": {"$ref": "money.json"}}}
LABEL_OPTIONAL, LABEL_STRING, LABEL_MESSAGE = 1, 9, 11

HANDLER = """
from consumer_runtime import Message
from consumer_runtime.results import Result

def total(value):
    if isinstance(value, dict):
        return value["total"]["cents"] if isinstance(value["total"], dict) else value["total"]
    return value.placed.seconds if value.DESCRIPTOR.name == "Placed" else len(value.name.text)

def handle(message):
    return Result(None if message.value is None else b"%d" % total(message.value))

async def handle_async(message):
    return handle(message)
"""


def protobuf_file(name: str, *messages: tuple[str, str, str], imports: tuple[str, ...] = ()) -> str:
    """A file of messages with one field each, (message, field, type), as the registry gives it when serialized."""
    file = descriptor_pb2.FileDescriptorProto(name=name, syntax="proto3", dependency=imports)
    for message, field, kind in messages:
        added = file.message_type.add(name=message).field.add(name=field, number=1, label=LABEL_OPTIONAL)
        added.type = LABEL_MESSAGE if kind else LABEL_STRING
        if kind:
            added.type_name = kind
    return base64.b64encode(file.SerializeToString()).decode()


class Registry:
    """Schemas by path, and what was asked."""

    def __init__(self) -> None:
        named = protobuf_file("named.proto", ("Name", "text", ""))
        order = protobuf_file(
            "order.proto",
            ("Order", "name", ".Name"),
            ("Placed", "placed", ".google.protobuf.Timestamp"),
            imports=("named.proto", "google/protobuf/timestamp.proto"),
        )
        self.answers: dict[str, dict[str, Any]] = {
            "/schemas/ids/1": self.schema(json.dumps(ORDER), "shop.Money", "money"),
            "/subjects/money/versions/3": {"schema": json.dumps(MONEY)},
            "/schemas/ids/2": self.schema(json.dumps(ORDER_JSON), "money.json", "money-json") | {"schemaType": "JSON"},
            "/subjects/money-json/versions/3": {"schema": json.dumps(MONEY_JSON), "schemaType": "JSON"},
            "/schemas/ids/3": self.schema("syntax = ...", "named.proto", "named") | {"schemaType": "PROTOBUF"},
            "/schemas/ids/3?format=serialized": self.schema(order, "named.proto", "named") | {"schemaType": "PROTOBUF"},
            "/subjects/named/versions/3": {"schema": "syntax = ...", "schemaType": "PROTOBUF"},
            "/subjects/named/versions/3?format=serialized": {"schema": named, "schemaType": "PROTOBUF"},
            "/schemas/ids/4": {"schema": "<xml/>", "schemaType": "XSD"},
        }
        self.asked: list[tuple[str, str | None]] = []
        self.is_away = False

    @staticmethod
    def schema(text: str, name: str, subject: str) -> dict[str, Any]:
        """Return a schema with one reference."""
        return {"schema": text, "references": [{"name": name, "subject": subject, "version": 3}]}


@pytest.fixture
def registry() -> Iterator[Registry]:
    """A registry that is served while the test runs; `url` is where."""
    known = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known.asked.append((self.path, self.headers.get("Authorization")))
            found = known.answers.get(self.path)
            code = 503 if known.is_away else 200 if found is not None else 404
            body = json.dumps(found if code == 200 else {"error_code": 40403, "message": "Schema not found"}).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield known
    server.shutdown()
    server.server_close()


def value(number: int, data: bytes) -> bytes:
    """Return data behind the id of its schema."""
    return struct.pack(">BI", 0, number) + data


def avro(cents: int) -> bytes:
    """Return an order as Avro."""
    out = io.BytesIO()
    named: dict[str, Any] = {}
    fastavro.parse_schema(MONEY, named_schemas=named)
    fastavro.schemaless_writer(out, fastavro.parse_schema(ORDER, named_schemas=named), {"total": {"cents": cents}})
    return value(1, out.getvalue())


def started(program: Any, settings_for: Any, registry: Registry, topics: Any, **sections: Any) -> tuple[Any, str, str]:
    """Start a consumer of values by schema; return it with the topics of its results and dead letters."""
    topic, results, dead = (topics.create(partitions=1) for _ in range(3))
    settings = settings_for(
        topic,
        results={"topic": results},
        dead_letter={"enabled": True, "topic": dead},
        retry={"max_retries": 20, "backoff_ms": 100, "max_backoff_ms": 200},
        **sections,
    )
    settings["source"]["kafka"]["schema_registry"] = {"url": registry.url}
    settings["handler"]["value_format"] = "schema_registry"
    made = program(settings)
    (made.folder / "by_schema.py").write_text(HANDLER, encoding="utf-8")
    return made, results, dead


@pytest.mark.parametrize(("mode", "name"), [("async", "handle_async"), ("process", "handle")])
def test_values_come_by_their_schema_and_what_does_not_decode_is_a_dead_letter(
    topics, program, settings_for, eventually, registry, tmp_path, mode, name
):
    """Avro, JSON and Protobuf side by side, with references; the undecodable keep their own bytes."""
    placed = timestamp_pb2.Timestamp(seconds=77).SerializeToString()
    good = {
        b"250": avro(250),
        b"9": value(2, b'{"total": 9}'),
        b"4": value(3, b"\x00" + b"\x0a\x06" + b"\x0a\x04abcd"),  # the first message, of one field, whose one is text
        b"77": value(3, b"\x02\x02" + b"\x0a" + bytes([len(placed)]) + placed),  # a path of one: the second message
    }
    bad = {
        "too short": b"\x00\x00",
        "instead of 0": b'{"total": 1}',
        "knows no such schema": value(99, b"x"),
        "does not fit its Avro schema": value(1, b""),
        "does not fit its JSON schema": value(2, b'{"total": -1}'),
        "is no JSON": value(2, b"{"),
        "does not fit its Protobuf schema": value(3, b"\x00\x0a\xff"),
        "kind XSD": value(4, b""),
    }
    secrets = tmp_path / "secrets" / "credentials"
    secrets.mkdir(parents=True)
    (secrets / "schema-registry-username").write_text("shop\n", encoding="utf-8")
    (secrets / "schema-registry-password").write_text("secret", encoding="utf-8")
    execution = {"mode": mode, "worker_pool_size": 1}
    made, results, dead = started(
        program, settings_for, registry, topics, handler={"entrypoint": f"by_schema:{name}"}, execution=execution
    )
    topics.produce(made_topic(made), [*good.values(), *bad.values()])
    made.start(CONSUMER_SECRETS_DIR=str(secrets.parent))
    assert eventually(60, lambda: made.metric("consumer_processed_total") == len(good) + len(bad)), made.stderr
    assert sorted(topics.values(results, len(good))) == sorted(good)
    letters = {letter.value(): dict(letter.headers())["x-error-reason"].decode() for letter in topics.read(dead, 8)}
    assert set(letters) == set(bad.values())
    for why, data in bad.items():
        assert why in letters[data]
    login = "Basic " + base64.b64encode(b"shop:secret").decode()
    assert {authorization for _, authorization in registry.asked} == {login}
    assert sum(path == "/schemas/ids/1" for path, _ in registry.asked) == 1, "a schema never changes: asked for once"


def test_the_registrys_login_may_change_while_it_runs(topics, program, settings_for, eventually, registry, tmp_path):
    """A password that is replaced is in the next question; a schema that is known needs none."""
    folder = tmp_path / "secrets" / "credentials"
    folder.mkdir(parents=True)
    (folder / "schema-registry-username").write_text("shop", encoding="utf-8")
    (folder / "schema-registry-password").write_text("old", encoding="utf-8")
    made, results, _ = started(
        program, settings_for, registry, topics, handler={"entrypoint": "by_schema:handle_async"}
    )
    made.start(CONSUMER_SECRETS_DIR=str(folder.parent))
    topics.produce(made_topic(made), [avro(5)])
    assert topics.values(results, 1) == [b"5"]
    (folder / "schema-registry-password").write_text("new\n", encoding="utf-8")
    topics.produce(made_topic(made), [avro(6), value(2, b'{"total": 9}')])
    assert sorted(topics.values(results, 3)) == [b"5", b"6", b"9"]
    logins = {path: base64.b64decode((login or "").removeprefix("Basic ")) for path, login in registry.asked}
    assert logins["/schemas/ids/1"] == b"shop:old"
    assert logins["/schemas/ids/2"] == b"shop:new"


def made_topic(made: Any) -> str:
    """The topic that a program consumes."""
    import yaml

    return str(yaml.safe_load(made.config.read_text(encoding="utf-8"))["source"]["kafka"]["topics"][0])


def test_while_the_registry_is_away_nothing_is_lost(topics, program, settings_for, eventually, registry):
    """Attempts fail and come back, since the message is good; the error names the registry's address."""
    made, results, _ = started(
        program, settings_for, registry, topics, handler={"entrypoint": "by_schema:handle_async"}
    )
    registry.is_away = True
    topics.produce(made_topic(made), [avro(5)])
    made.start()
    assert eventually(30, lambda: (made.metric("consumer_retries_total") or 0) >= 1), made.stderr
    registry.is_away = False
    assert eventually(30, lambda: made.metric("consumer_processed_total") == 1), made.stderr
    assert topics.values(results, 1) == [b"5"]


@pytest.mark.parametrize(
    ("stated", "field", "words"),
    [
        (None, "spec.handler", "needs source.kafka.schema_registry.url"),
        ({"url": "ftp://registry"}, "spec.source.kafka.schemaRegistry.url", "pattern"),
        ({"url": "http://me:secret@registry"}, "spec.source.kafka.schemaRegistry.url", "pattern"),
        ({"url": "http://r", "password": "s"}, "spec.source.kafka.schemaRegistry.password", "credentialsSecretRef"),
    ],
)
def test_a_registry_that_is_stated_wrongly_is_told(program, settings_for, stated, field, words):
    """Before anything connects."""
    settings = settings_for("orders")
    settings["handler"]["value_format"] = "schema_registry"
    if stated is not None:
        settings["source"]["kafka"]["schema_registry"] = stated
    failed = program(settings).start()
    assert failed.exit_code() == 10
    told = failed.message()
    assert told.reason is StartReason.INVALID_SETTINGS
    assert told.field.startswith(field)
    assert words in told.remedy
