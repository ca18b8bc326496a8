import contextlib
import http.client
import socket
import time
from collections.abc import Iterator

import pytest

from consumer_runtime import StartFailure
from consumer_runtime.contract.settings import HttpSettings
from consumer_runtime.http_server import CONNECTIONS_AT_MOST, HttpServer, Response

LOOPBACK = HttpSettings(host="127.0.0.1", port=0)


def _fail() -> Response:
    raise RuntimeError("the secret inner detail")


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """Serve one good page and one that fails."""
    running = HttpServer(LOOPBACK, {"/page": lambda: Response(b"hello\n"), "/broken": _fail})
    running.start()
    yield running
    running.stop()


def _get(server: HttpServer, path: str, method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request(method, path)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_pages_are_served(server):
    """By path, whatever query follows it; HEAD gives the status alone."""
    assert _get(server, "/page") == (200, b"hello\n")
    assert _get(server, "/page?match[]=x") == (200, b"hello\n")
    assert _get(server, "/page", "HEAD") == (200, b"")


def test_what_is_not_there_is_answered_with_what_is(server):
    """A mistyped path tells the right ones."""
    status, body = _get(server, "/metric")
    assert status == 404
    assert b"/page" in body


def test_a_fault_behind_a_page_does_not_reach_the_client(server):
    """500 without a word of the exception, and the server goes on."""
    status, body = _get(server, "/broken")
    assert status == 500
    assert b"secret" not in body
    assert b"Traceback" not in body
    assert _get(server, "/page")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(server, method):
    """GET and HEAD are all there is."""
    assert _get(server, "/page", method)[0] == 501


@pytest.mark.parametrize("sent", [b"\x00\xff\x00\xff\r\n\r\n", b"GET /" + b"a" * 70_000, b"GET /page HTTP/9.9\r\n\r\n"])
def test_garbage_ends_its_connection_only(server, sent):
    """Whatever arrives, the next client is served."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        assert b"Traceback" not in client.recv(65_536)
    assert _get(server, "/page")[0] == 200


def test_idle_connections_are_bounded_and_give_their_places_back(server):
    """Clients that connect and say nothing cannot take every thread for good."""
    idle = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(CONNECTIONS_AT_MOST + 8)]
    time.sleep(0.2)
    for client in idle:
        client.close()
    assert _served_within(server, seconds=5)


def _served_within(server: HttpServer, *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionError, http.client.HTTPException):
            return _get(server, "/page")[0] == 200
        time.sleep(0.05)
    return False


def test_a_port_in_use_is_told_with_field_and_value(server):
    """Not a traceback of the socket module."""
    with pytest.raises(StartFailure) as caught:
        HttpServer(HttpSettings(host="127.0.0.1", port=server.port), {})
    assert caught.value.error.field == "http.port"
    assert str(server.port) in caught.value.error.value


def test_after_stop_the_port_is_free_again():
    """Another server can take it at once."""
    first = HttpServer(LOOPBACK, {})
    first.start()
    port = first.port
    first.stop()
    second = HttpServer(HttpSettings(host="127.0.0.1", port=port), {})
    second.start()
    second.stop()
