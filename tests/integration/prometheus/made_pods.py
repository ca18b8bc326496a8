"""Pods that are not there: HTTP servers whose series move at stated rates. Not a test."""

import math
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from consumer_runtime.contract import metrics
from consumer_runtime.contract.metrics import Kind

PER_SECOND = {
    metrics.LIMIT_FULL.name: 0.75,
    metrics.WORKER_BUSY.name: 3.0,
    metrics.CPU_USAGE.name: 0.4,
    metrics.PAUSES.name: 0.0,
    metrics.COMMIT_FAILURES.name: 0.0,
    metrics.REBALANCES.name: 0.0,
}
CONSTANT = {
    metrics.IN_FLIGHT.name: 14.0,
    metrics.QUEUE_DEPTH.name: 5.0,
    metrics.OLDEST_TASK.name: 0.02,
    metrics.BACKPRESSURE.name: 1.0,
    metrics.CONFIG_GENERATION.name: 3.0,
    metrics.POLL_FILL.name: 0.9,
    metrics.CPU_LIMIT.name: 1.0,
    metrics.MEMORY.name: 100e6,
    metrics.MEMORY_LIMIT.name: 400e6,
    metrics.ASSIGNED.name: 2.0,
}
RATE = 100.0
"""Messages per second of each of a pod's two partitions."""
GROWTH = 50.0
"""Messages per second by which the backlog of each partition grows."""
SERVICE = 0.02
RETRIES = 4.0
EPOCH = time.monotonic() - 1_000


class MadePod:
    """One exporter; `partitions` are the two that it holds. `series` may be changed while it runs."""

    def __init__(self, name: str, partitions: tuple[int, int]) -> None:
        self.name = name
        self.partitions = partitions
        self.gauges = dict(CONSTANT)
        self.without: set[str] = set()
        pod = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = pod.text().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()

    def text(self) -> str:
        """The exposition at this moment; every catalogue metric that a quiet pod would have, and no other."""
        elapsed = time.monotonic() - EPOCH
        lines = [f"{name} {rate * elapsed}" for name, rate in PER_SECOND.items()]
        lines += [f"{name} {value}" for name, value in self.gauges.items()]
        lines += [f'{metrics.KNOB.name}{{knob="max_in_flight"}} 16']
        for partition in self.partitions:
            labels = f'topic="orders",partition="{partition}"'
            processed = f'{metrics.PROCESSED.name}{{{labels},status="success"}}'
            lines.append(f"{processed} {RATE * elapsed}")
            lines.append(f"{metrics.BACKLOG.name}{{{labels}}} {GROWTH * elapsed}")
            lines.append(f"{metrics.GAP_COUNT.name}{{{labels}}} 1")
        lines.append(f'{metrics.RETRIES.name}{{reason="error"}} {RETRIES * elapsed}')
        for histogram in (metrics.HANDLER_SECONDS, metrics.PROCESSING_LATENCY):
            assert histogram.kind is Kind.HISTOGRAM
            lines += _histogram(histogram.name, histogram.buckets, 2 * RATE * elapsed)
        return "\n".join(line for line in lines if line.split("{")[0].split(" ")[0] not in self.without) + "\n"


def _histogram(name: str, buckets: tuple[float, ...], count: float) -> list[str]:
    lines = [f'{name}_bucket{{le="{bound}"}} {count if bound >= SERVICE else 0}' for bound in (*buckets, math.inf)]
    lines = [line.replace('le="inf"', 'le="+Inf"') for line in lines]
    return [*lines, f"{name}_sum {count * SERVICE}", f"{name}_count {count}"]
