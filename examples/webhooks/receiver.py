"""A receiver of webhooks: a real HTTP server that answers 429 above its rate and 503 now and then."""

import itertools
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ALLOWED_PER_SECOND = 100
UNAVAILABLE_EVERY = 25
SERVICE_SECONDS = 0.010


class Receiver(ThreadingHTTPServer):
    """Counts what it answered in `answers`, by status."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Delivery)
        self.answers: dict[int, int] = {}
        self._requests = itertools.count(1)
        self._lock = threading.Lock()
        self._second, self._in_second = 0, 0

    @property
    def url(self) -> str:
        """Where webhooks are delivered to."""
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def status(self) -> int:
        """Return the answer to the next request."""
        with self._lock:
            second = int(time.monotonic())
            self._in_second = self._in_second + 1 if second == self._second else 1
            self._second = second
            limited = self._in_second > ALLOWED_PER_SECOND
            unavailable = next(self._requests) % UNAVAILABLE_EVERY == 0
            status = 429 if limited else 503 if unavailable else 200
            self.answers[status] = self.answers.get(status, 0) + 1
            return status


class _Delivery(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        """Take a webhook, or not."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        time.sleep(SERVICE_SECONDS)
        status = self.server.status()
        self.send_response(status)
        if status == 429 and self.server.answers[429] % 2:  # noqa: PLR2004 - half of them say when
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing for each request."""


def start() -> tuple[Receiver, dict[str, str]]:
    """Start the server on a free port; return it, and the environment that the handler needs."""
    receiver = Receiver()
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    return receiver, {"WEBHOOK_URL": receiver.url}
