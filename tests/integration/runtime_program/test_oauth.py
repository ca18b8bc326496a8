import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from consumer_runtime.contract.state import StartReason
from testbed import parts
from testbed.kafka import LOOPBACK, Kafka, Security
from testbed.layout import Instance, Part
from testbed.progress import Progress

INSTANCE = 6
LOGIN = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required"
TOKENS = """
import base64, json, time

from consumer_runtime.results import Result

asked = []

def _part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

def token(lifetime=4):
    asked.append(1)
    print("token asked for", flush=True)
    now = time.time()
    claims = {"sub": "shop", "iat": now, "exp": now + lifetime}
    return f"{_part({'alg': 'none'})}.{_part(claims)}.", now + lifetime

def no_token():
    raise RuntimeError("the token service is away")

def handle(message):
    return Result(message.value)
"""


@pytest.fixture(scope="module")
def secured() -> Iterator[tuple[Kafka, str]]:
    """A broker of its own that takes unsigned tokens, and the address where it asks for them."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        address = f"{LOOPBACK}:{probe.getsockname()[1]}"
    security = Security(
        listeners={"TOKEN": address},
        protocols={"TOKEN": "SASL_PLAINTEXT"},
        properties={
            "listener.name.token.sasl.enabled.mechanisms": "OAUTHBEARER",
            "listener.name.token.oauthbearer.sasl.jaas.config": f'{LOGIN} unsecuredLoginStringClaim_sub="admin";',
            "listener.name.token.oauthbearer.connections.max.reauth.ms": "3000",
        },
    )
    broker = Kafka(Instance(number=INSTANCE), security=security)
    broker.start()
    try:
        for topic in ("orders", "results"):
            broker.create_topic(topic, partitions=2)
        yield broker, address
    finally:
        parts.remove([Part.KAFKA], broker.instance, Progress())


def _program(program: Any, settings_for: Any, address: str, token: str, **sections: Any) -> Any:
    settings = settings_for("orders", servers=address, handler={"entrypoint": "tokens:handle"}, **sections)
    settings["source"]["kafka"] |= {
        "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "OAUTHBEARER", "oauth_token": token,
    }  # fmt: skip
    made = program(settings)
    (made.folder / "tokens.py").write_text(TOKENS, encoding="utf-8")
    return made


@pytest.mark.parametrize("mode", ["single", "process"])
def test_tokens_come_from_the_users_function_and_are_renewed(secured, program, settings_for, eventually, mode):
    """For the consumer and for the producer of results, in a worker process too; a new one before the old one ends."""
    broker, address = secured
    running = _program(
        program, settings_for, address, "tokens:token", execution={"mode": mode}, results={"topic": "results"}
    ).start()
    _produce(broker, 20)
    assert eventually(40, lambda: (running.metric("consumer_processed_total") or 0) >= 20), running.stderr
    asked = running.stderr.count("token asked for")
    assert eventually(20, lambda: running.stderr.count("token asked for") > asked + 1)
    before = running.metric("consumer_processed_total")
    _produce(broker, 20)
    assert eventually(30, lambda: running.metric("consumer_processed_total") == before + 20), running.stderr
    assert running.stop() == 0


def test_a_function_that_gives_no_token_is_a_login_that_fails(secured, program, settings_for):
    """Its own words are in the log, and the consumer says that it cannot log in."""
    _, address = secured
    failing = _program(program, settings_for, address, "tokens:no_token", execution={"mode": "single"}).start()
    assert failing.exit_code(within_seconds=60) == 17
    assert "the token service is away" in failing.stderr
    assert failing.message().reason is StartReason.AUTHENTICATION_FAILED


@pytest.mark.parametrize(
    ("token", "reason", "code"),
    [("no.such:token", StartReason.HANDLER_NOT_FOUND, 11), ("tokens:asked", StartReason.HANDLER_UNSUITABLE, 13)],
)
def test_a_function_that_is_not_there_is_told(program, settings_for, token, reason, code):
    """With the settings' field, not the handler's."""
    failed = _program(program, settings_for, "127.0.0.1:1", token).start()
    assert failed.exit_code() == code
    assert (failed.message().reason, failed.message().field) == (reason, "spec.source.kafka.oauthToken")


def test_oauthbearer_without_a_source_of_tokens_is_refused(program, settings_for):
    """Before anything connects."""
    settings = settings_for("orders")
    settings["source"]["kafka"] |= {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}
    failed = program(settings).start()
    assert failed.exit_code() == 10
    assert "oauth_token" in failed.message().remedy


class TokenEndpoint:
    """A small OpenID provider: the client credentials grant of OAuth 2, for one client."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        """Authorization and body of each request."""
        self.login = basic("shop:secret")
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                endpoint.asked.append((self.headers.get("Authorization", ""), body))
                is_known = self.headers.get("Authorization") == endpoint.login
                answer = {"access_token": _unsigned_token(5), "token_type": "Bearer", "expires_in": 5}
                content = json.dumps(answer if is_known else {"error": "invalid_client"}).encode()
                self.send_response(200 if is_known else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/token"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def basic(login: str) -> str:
    """Return what a client with this id and secret sends."""
    return "Basic " + base64.b64encode(login.encode()).decode()


def openid(settings: dict[str, Any], endpoint: TokenEndpoint) -> dict[str, Any]:
    """Return the settings with tokens from an endpoint."""
    settings["source"]["kafka"] |= {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "OAUTHBEARER",
        "properties": {"sasl.oauthbearer.method": "oidc", "sasl.oauthbearer.token.endpoint.url": endpoint.url},
    }
    return settings


def mounted(folder: Path, password: str) -> Path:
    """Write the client's id and secret as a mounted Secret has them; return the folder above."""
    credentials = folder / "secrets" / "credentials"
    credentials.mkdir(parents=True, exist_ok=True)
    (credentials / "username").write_text("shop", encoding="utf-8")
    (credentials / "password").write_text(password, encoding="utf-8")
    return credentials.parent


def _unsigned_token(lifetime: float) -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    now = time.time()
    return f"{part({'alg': 'none'})}.{part({'sub': 'shop', 'iat': int(now), 'exp': int(now + lifetime)})}."


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    """An endpoint that is served while the test runs."""
    made = TokenEndpoint()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.mark.parametrize("is_known", [True, False])
def test_tokens_come_from_an_openid_provider(secured, program, settings_for, eventually, endpoint, tmp_path, is_known):
    """The Secret's user name and password are the client's; a refused client is a login that fails, and is told."""
    broker, address = secured
    settings = openid(settings_for("orders", servers=address), endpoint)
    settings["source"]["kafka"]["consumer_group"] = f"oidc-{is_known}"
    secrets = mounted(tmp_path, "secret" if is_known else "guess")
    running = program(settings).start(CONSUMER_SECRETS_DIR=str(secrets))
    if not is_known:
        assert running.exit_code(within_seconds=60) == 17
        assert running.message().reason is StartReason.AUTHENTICATION_FAILED
        assert running.message().field == "spec.source.kafka.credentialsSecretRef"
    else:
        _produce(broker, 10)
        assert eventually(40, lambda: (running.metric("consumer_processed_total") or 0) >= 10), running.stderr
        asked = len(endpoint.asked)
        assert eventually(20, lambda: len(endpoint.asked) > asked), "a token that ends is renewed"
        assert running.stop() == 0
    assert {body.split("&")[0] for _, body in endpoint.asked} == {"grant_type=client_credentials"}


def test_the_secret_of_an_openid_client_is_rotated(secured, program, settings_for, eventually, endpoint, tmp_path):
    """The old one is good no more, and no token lasts longer than 5 s: the group is joined with the new one."""
    broker, address = secured
    settings = openid(settings_for("orders", servers=address), endpoint)
    settings["source"]["kafka"]["consumer_group"] = "oidc-rotated"
    running = program(settings).start(CONSUMER_SECRETS_DIR=str(mounted(tmp_path, "secret")))
    _produce(broker, 10)
    assert eventually(40, lambda: (running.metric("consumer_processed_total") or 0) >= 10), running.stderr
    endpoint.login = basic("shop:second")
    mounted(tmp_path, "second")
    assert eventually(20, lambda: any(login == endpoint.login for login, _ in endpoint.asked)), running.stderr
    time.sleep(6)
    before = running.metric("consumer_processed_total") or 0
    _produce(broker, 10)
    assert eventually(40, lambda: (running.metric("consumer_processed_total") or 0) >= before + 10), running.stderr
    assert running.stop() == 0


def _produce(broker: Kafka, count: int) -> None:
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    for number in range(count):
        producer.produce("orders", b"%d" % number)
    assert producer.flush(20) == 0
