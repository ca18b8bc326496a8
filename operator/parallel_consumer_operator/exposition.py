"""The operator's own metrics, liveness and readiness, over HTTP. Nothing about a consumer is exported here."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from consumer_runtime.contract.metrics import Kind, Metric

STALE_SECONDS = 180.0
"""Without a sign of life for so long (`freshness` looks for one every 45 s) the process is to be restarted."""


RESOURCES = Metric("pcon_operator_resources", Kind.GAUGE, "ParallelConsumers watched.")
PASSES = Metric("pcon_operator_reconciles_total", Kind.COUNTER, "Passes over resources.", ("outcome",))
PASS_SECONDS = Metric("pcon_operator_reconcile_seconds", Kind.HISTOGRAM, "Duration of a pass, handshake included.")
UNDER_WAY = Metric(
    "pcon_operator_reconciles_under_way", Kind.GAUGE,
    "Passes begun and not ended: working, or waiting for their turn.",
)  # fmt: skip
REQUESTS = Metric(
    "pcon_operator_api_requests_total", Kind.COUNTER, "Requests to the API server.", ("operation", "kind", "outcome")
)
DECISIONS = Metric(
    "pcon_operator_tuning_decisions_total", Kind.COUNTER, "Decisions of the tuner by phase and reason.",
    ("phase", "reason"),
)  # fmt: skip
VERDICTS = Metric(
    "pcon_operator_tuning_verdicts_total", Kind.COUNTER, "How the tuner's steps turned out.", ("verdict",)
)
TUNE_SECONDS = Metric(
    "pcon_operator_tune_cycle_seconds", Kind.HISTOGRAM,
    "Duration of a look of the tuner: asking Prometheus, and deciding.",
)  # fmt: skip
QUERIES = Metric("pcon_operator_prometheus_requests_total", Kind.COUNTER, "Queries sent to Prometheus.", ("outcome",))
APPLY_SECONDS = Metric(
    "pcon_operator_apply_seconds", Kind.HISTOGRAM, "From a settings write until every ready pod runs it."
)
LEADER = Metric("pcon_operator_leader", Kind.GAUGE, "1 while this process leads.")
WATCH_SILENT = Metric(
    "pcon_operator_watch_silent_seconds", Kind.GAUGE, "Since the watch of resources was last seen to be up to date."
)
CATALOGUE = (
    RESOURCES, PASSES, PASS_SECONDS, UNDER_WAY, REQUESTS, DECISIONS, VERDICTS, TUNE_SECONDS, QUERIES, APPLY_SECONDS,
    LEADER, WATCH_SILENT,
)  # fmt: skip
"""Every metric of the operator, for the reference page."""


_Family = TypeVar("_Family", Gauge, Counter, Histogram)


class OperatorMetrics:
    """Metrics of one operator, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.resources = self._made(Gauge, RESOURCES)
        self.passes = self._made(Counter, PASSES)
        self.pass_seconds = self._made(Histogram, PASS_SECONDS)
        self.under_way = self._made(Gauge, UNDER_WAY)
        self.requests = self._made(Counter, REQUESTS)
        self.decisions = self._made(Counter, DECISIONS)
        self.verdicts = self._made(Counter, VERDICTS)
        self.tune_seconds = self._made(Histogram, TUNE_SECONDS)
        self.queries = self._made(Counter, QUERIES)
        self.apply_seconds = self._made(Histogram, APPLY_SECONDS)
        self.leader = self._made(Gauge, LEADER)
        self.watch_silent = self._made(Gauge, WATCH_SILENT)

    def _made(self, kind: type[_Family], metric: Metric) -> _Family:
        return kind(metric.name, metric.help, metric.labels, registry=self.registry)

    def observe_request(self, operation: str, kind: str, outcome: str) -> None:
        """Count one request to the API server."""
        self.requests.labels(operation=operation, kind=kind, outcome=outcome).inc()

    def observe_decision(self, phase: str, reason: str, verdict: str | None) -> None:
        """Count one decision of the tuner, and what became of the step before it if that was judged."""
        self.decisions.labels(phase=phase, reason=reason).inc()
        if verdict is not None:
            self.verdicts.labels(verdict=verdict).inc()

    def observe_query(self, outcome: str) -> None:
        """Count one query to Prometheus."""
        self.queries.labels(outcome=outcome).inc()


class Liveness:
    """Knows whether the watch still says anything; `alive` without a watch (a standby) is always true."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard_at: float | None = None

    def heard(self) -> None:
        """Note that the watch is up to date."""
        self._heard_at = self._clock()

    @property
    def silent_seconds(self) -> float:
        """Seconds since the watch was last seen up to date; 0 before the first look."""
        return 0.0 if self._heard_at is None else self._clock() - self._heard_at

    @property
    def alive(self) -> bool:
        """Whether the process should go on."""
        return self.silent_seconds < STALE_SECONDS


@asynccontextmanager
async def serve(metrics: OperatorMetrics, liveness: Liveness, *, host: str, port: int) -> AsyncIterator[int]:
    """Serve `/metrics` and `/healthz` while the block runs; gives the port."""

    async def show_metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def show_health(_request: web.Request) -> web.Response:
        silent = f"the watch has told nothing of what changed for {liveness.silent_seconds:.0f} s"
        return web.Response(status=200 if liveness.alive else 503, text="ok" if liveness.alive else silent)

    application = web.Application()
    application.add_routes(
        [web.get("/metrics", show_metrics), web.get("/healthz", show_health), web.get("/readyz", show_health)]
    )
    runner = web.AppRunner(application, handle_signals=False, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
