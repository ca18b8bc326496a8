"""A small HTTP server on a thread of its own: GET only, bounded, and never a traceback to a client.

Knows nothing of what it serves: routes are functions. Not for the open internet; a pod's port is reached by the
kubelet, Prometheus and the operator.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6, socket
from socketserver import TCPServer
from typing import Any
from urllib.parse import urlsplit

import structlog

from consumer_runtime.contract.settings import HttpSettings
from consumer_runtime.contract.state import StartReason
from consumer_runtime.errors import StartFailure

REQUEST_TIMEOUT_SECONDS = 5.0
CONNECTIONS_AT_MOST = 32
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Response:
    """What a route answers."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = "text/plain; charset=utf-8"


Routes = Mapping[str, Callable[[], Response]]


class HttpServer:
    """Serves routes until `stop`."""

    def __init__(self, settings: HttpSettings, routes: Routes) -> None:
        """Bind the port. Raises StartFailure (InvalidSettings) when it is taken or not ours to take."""
        try:
            self._server = _BoundedServer(settings, routes)
        except OSError as error:
            raise StartFailure.because(
                StartReason.INVALID_SETTINGS,
                field="http.port",
                value=f"{settings.host}:{settings.port}",
                remedy=f"cannot be listened on: {error.strerror or error}; choose another, 0 takes a free one",
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)

    @property
    def port(self) -> int:
        """The port in use; of interest when the settings say 0."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and give the port back; answers under way are cut off."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=1.0)


class _BoundedServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = CONNECTIONS_AT_MOST

    def __init__(self, settings: HttpSettings, routes: Routes) -> None:
        self.address_family = AF_INET6 if ":" in settings.host else AF_INET
        self.routes = routes
        self._free = threading.BoundedSemaphore(CONNECTIONS_AT_MOST)
        super().__init__((settings.host, settings.port), _Request)

    def server_bind(self) -> None:
        """Skip HTTPServer's own, which asks DNS for the host's name: seconds, where there is no DNS."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, or close it when too many are open."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started: this connection is lost, the server is not
            self._free.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """Say nothing: a client that goes away in the middle of an answer is no event."""


class _Request(BaseHTTPRequestHandler):
    server: _BoundedServer
    timeout = REQUEST_TIMEOUT_SECONDS
    protocol_version = "HTTP/1.1"
    server_version = "parallel-consumer"
    sys_version = ""

    def do_GET(self) -> None:
        response = self._answer()
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    do_HEAD = do_GET  # noqa: N815 - http.server looks methods up by this name

    def _answer(self) -> Response:
        route = self.server.routes.get(urlsplit(self.path).path)
        if route is None:
            known = ", ".join(self.server.routes)
            return Response(f"not found; there are {known}\n".encode(), HTTPStatus.NOT_FOUND)
        try:
            return route()
        except Exception:  # noqa: BLE001 - whatever fails behind a route is logged here and must not reach the client
            _log.exception("a page could not be made", path=self.path)
            return Response(b"internal error; see the log\n", HTTPStatus.INTERNAL_SERVER_ERROR)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the parent's signature
        """Say nothing: probes and scrapes would be most of the log."""
