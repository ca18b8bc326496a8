import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from testbed import readiness
from testbed.host_prometheus import HostPrometheus


class Metrics(http.server.BaseHTTPRequestHandler):
    """One gauge."""

    def do_GET(self) -> None:
        """Answer as any exporter does."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(b"orders_open 42\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the parent's name)
        """Say nothing."""


@pytest.fixture
def exporter() -> Iterator[str]:
    """Address of a program with metrics."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metrics)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def value(prometheus: HostPrometheus, query: str) -> str | None:
    """The value of the only series that answers the query."""
    address = prometheus.url.removeprefix("http://")
    answer = readiness.fetch(address, f"/api/v1/query?query={quote(query)}") or b'{"data": {"result": []}}'
    found = json.loads(answer)["data"]["result"]
    return found[0]["value"][1] if len(found) == 1 else None


def test_targets_of_a_file_are_scraped(exporter: str, tmp_path: Path):
    """A target that appears in the file while Prometheus runs is scraped within seconds, with the file's labels."""
    targets = tmp_path / "targets.json"
    targets.write_text("[]")
    with HostPrometheus(targets, scrape_interval="1s") as prometheus:
        draft = tmp_path / "draft"
        draft.write_text(json.dumps([{"targets": [exporter], "labels": {"pod": "one"}}]))
        draft.replace(targets)
        readiness.wait("sample", lambda: value(prometheus, 'orders_open{pod="one"}') == "42", seconds=30)
    assert not readiness.listening("127.0.0.1", int(prometheus.url.rpartition(":")[2]))
