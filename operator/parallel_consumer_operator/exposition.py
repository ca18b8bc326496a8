"""The operator's own metrics, liveness and readiness, over HTTP. Nothing about a consumer is exported here."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

STALE_SECONDS = 180.0
"""Without a sign of life for so long (`freshness` looks for one every 45 s) the process is to be restarted."""


class OperatorMetrics:
    """Metrics of one operator, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.resources = Gauge("pcon_operator_resources", "ParallelConsumers watched.", registry=self.registry)
        self.passes = Counter("pcon_operator_reconciles", "Passes over resources.", ["outcome"], registry=self.registry)
        self.pass_seconds = Histogram(
            "pcon_operator_reconcile_seconds", "Duration of a pass, handshake included.", registry=self.registry
        )
        self.requests = Counter(
            "pcon_operator_api_requests", "Requests to the API server.", ["operation", "kind", "outcome"],
            registry=self.registry,
        )  # fmt: skip
        self.decisions = Counter(
            "pcon_operator_tuning_decisions", "Decisions of the tuner by phase and reason.", ["phase", "reason"],
            registry=self.registry,
        )  # fmt: skip
        self.tune_seconds = Histogram(
            "pcon_operator_tune_cycle_seconds", "Duration of a look of the tuner: asking Prometheus, and deciding.",
            registry=self.registry,
        )  # fmt: skip
        self.queries = Counter(
            "pcon_operator_prometheus_requests", "Queries sent to Prometheus.", ["outcome"], registry=self.registry
        )
        self.apply_seconds = Histogram(
            "pcon_operator_apply_seconds", "From a settings write until every ready pod runs it.",
            registry=self.registry,
        )  # fmt: skip
        self.leader = Gauge("pcon_operator_leader", "1 while this process leads.", registry=self.registry)

    def observe_request(self, operation: str, kind: str, outcome: str) -> None:
        """Count one request to the API server."""
        self.requests.labels(operation=operation, kind=kind, outcome=outcome).inc()

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
