"""What it costs to tune many resources: PrometheusTuner over made series in a real Prometheus, no cluster in between.

`python -m benchmarks.tuning_cycles --resources 200`. Not a benchmark of consumers, and nothing about reconciling.
"""

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Annotated, Any
from urllib.parse import quote

import structlog
import typer

from consumer_runtime.contract import metrics
from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator.port import Key
from parallel_consumer_operator.prometheus import Prometheus
from parallel_consumer_operator.resource.names import METRIC_LABEL
from parallel_consumer_operator.resource.tuning import TuningSpec
from parallel_consumer_operator.resource.tuning_status import KnobValues, TuningStatus
from parallel_consumer_operator.tune import PrometheusTuner
from parallel_consumer_operator.tune_seam import TuneSubject
from parallel_consumer_operator.tuning.observation import Circumstances
from testbed import readiness
from testbed.host_prometheus import HostPrometheus

GAUGES = {
    metrics.IN_FLIGHT: 14.0, metrics.QUEUE_DEPTH: 5.0, metrics.OLDEST_TASK: 0.02, metrics.BACKPRESSURE: 1.0,
    metrics.CONFIG_GENERATION: 1.0, metrics.POLL_FILL: 0.9, metrics.CPU_LIMIT: 1.0, metrics.MEMORY: 1e8,
    metrics.MEMORY_LIMIT: 4e8, metrics.ASSIGNED: 8.0,
}  # fmt: skip
PER_SECOND = {
    metrics.LIMIT_FULL: 0.75, metrics.WORKER_BUSY: 3.0, metrics.CPU_USAGE: 0.4, metrics.PAUSES: 0.0,
    metrics.COMMIT_FAILURES: 0.0, metrics.REBALANCES: 0.0,
}  # fmt: skip
PARTITIONS = 8
SERVICE_SECONDS, RATE = 0.02, 100.0
START = KnobValues(max_in_flight=16, poll_batch_size=100)
SCRAPE_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Cost:
    """What tuning so many resources took."""

    resources: int
    seconds: float
    cycles: int
    measured: int
    """Cycles that had figures to decide upon."""
    recommended: int
    """Resources with a recommendation at the end."""
    tune_cycle_seconds_p99: float
    tune_cycle_seconds_p50: float
    queries: int
    queries_per_minute: float
    cycles_per_resource_and_minute: float


def measure(resources: int, seconds: float, *, window_seconds: int = 16, namespaces: int = 10) -> Cost:
    """Tune so many made resources in mode Recommend for so many seconds; each looks at times of its own.

    The windows are short, so that a look is due every `window_seconds / 8`; queries scale with the windows, not with
    the resources.
    """
    with tempfile.TemporaryDirectory(prefix="tuning-cycles-") as folder, _pods(resources, namespaces) as targets:
        listed = Path(folder) / "targets.json"
        listed.write_text(json.dumps(targets))
        with HostPrometheus(listed, scrape_interval=f"{SCRAPE_SECONDS}s") as server:
            time.sleep(window_seconds)
            readiness.wait("a full window", lambda: _is_full(server.url, window_seconds, resources), seconds=120)
            names = [(target["labels"]["namespace"], target["labels"][METRIC_LABEL]) for target in targets]
            with _logged_to_nowhere():
                return asyncio.run(_tune(server.url, names, seconds, window_seconds))


def _is_full(address: str, window: int, resources: int) -> bool:
    """Whether every pod has a sample from before the window, and a new one."""
    earlier = f"{metrics.CONFIG_GENERATION.name} offset {window}s"
    query = quote(f"count({metrics.CONFIG_GENERATION.name} and {earlier})")
    answer = readiness.fetch(address.removeprefix("http://"), f"/api/v1/query?query={query}") or b"{}"
    found = json.loads(answer).get("data", {}).get("result", [])
    return bool(found) and int(found[0]["value"][1]) == resources


@contextmanager
def _logged_to_nowhere() -> Iterator[None]:
    """Decisions are put into JSON as the operator does, and not shown."""
    with Path(os.devnull).open("w") as nowhere:
        structlog.configure(
            processors=[structlog.processors.JSONRenderer()], logger_factory=structlog.WriteLoggerFactory(nowhere)
        )
        yield
    structlog.reset_defaults()


async def _tune(address: str, names: list[tuple[str, str]], seconds: float, window: int) -> Cost:
    queries: Counter[str] = Counter()
    prometheus = Prometheus(lambda outcome: queries.update([outcome]))
    tuner, took, outcomes = PrometheusTuner(prometheus, default_address=address), [], {}
    loop = asyncio.get_running_loop()
    begun = loop.time()
    measured = 0

    async def keep_on(number: int, where: tuple[str, str]) -> None:
        nonlocal measured
        memory, spec = TuningStatus(), _spec(window)
        await asyncio.sleep(number / len(names) * window / 8)
        while loop.time() - begun < seconds:
            asked = loop.time()
            outcome = await tuner(_subject(where, spec, memory), now=datetime.now(UTC))
            took.append(loop.time() - asked)
            measured += outcome.measured
            memory, outcomes[where] = outcome.status, outcome
            await asyncio.sleep(outcome.requeue_after_seconds)

    try:
        await asyncio.gather(*(keep_on(number, where) for number, where in enumerate(names)))
    finally:
        prometheus.close()
    lasted = loop.time() - begun
    return Cost(
        resources=len(names),
        seconds=round(lasted, 1),
        cycles=len(took),
        measured=measured,
        recommended=sum(outcome.status.recommendation is not None for outcome in outcomes.values()),
        tune_cycle_seconds_p99=round(statistics.quantiles(took, n=100)[98], 4),
        tune_cycle_seconds_p50=round(statistics.median(took), 4),
        queries=queries.total(),
        queries_per_minute=round(queries.total() * 60 / lasted, 1),
        cycles_per_resource_and_minute=round(len(took) / len(names) * 60 / lasted, 1),
    )


def _spec(window: int) -> TuningSpec:
    behavior = {"windowSeconds": window, "longWindowSeconds": 4 * window}
    return TuningSpec.model_validate({"mode": "Recommend", "behavior": behavior})


def _subject(where: tuple[str, str], spec: TuningSpec, memory: TuningStatus) -> TuneSubject:
    known = Circumstances(
        mode=Mode.ASYNC, current=START, starts=START, ready_replicas=1, desired_replicas=1, applied=True
    )
    return TuneSubject(
        key=Key(*where), spec=spec, circumstances=known, profile={}, memory=memory, pods=frozenset({f"{where[1]}-a"})
    )


@contextmanager
def _pods(resources: int, namespaces: int) -> Iterator[list[dict[str, Any]]]:
    """Serve one page for every pod; gives Prometheus' targets, each with the labels that a PodMonitor gives."""
    begun = time.monotonic() - 1_000

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Show the series of this moment."""
            body = page(time.monotonic() - begun).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(BrokenPipeError):  # Prometheus did not wait any longer
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{server.server_port}"
    names = [(f"shop-{number % namespaces}", f"orders-{number}") for number in range(resources)]
    yield [
        {
            "targets": [address],
            "labels": {
                "namespace": namespace, METRIC_LABEL: name, "pod": f"{name}-a", "__metrics_path__": f"/{name}",
            },
        }
        for namespace, name in names
    ]  # fmt: skip
    server.shutdown()
    server.server_close()


def page(elapsed: float) -> str:
    """Return the exposition of a busy pod whose limit of 16 in flight binds, so many seconds into its life."""
    lines = [f"{metric.name} {value}" for metric, value in GAUGES.items()]
    lines += [f"{metric.name} {rate * elapsed}" for metric, rate in PER_SECOND.items()]
    for partition in range(PARTITIONS):
        labels = f'topic="orders",partition="{partition}"'
        lines.append(f'{metrics.PROCESSED.name}{{{labels},status="success"}} {RATE * elapsed}')
        lines.append(f"{metrics.BACKLOG.name}{{{labels}}} {RATE * elapsed}")
        lines.append(f"{metrics.GAP_COUNT.name}{{{labels}}} 1")
    for histogram in (metrics.HANDLER_SECONDS, metrics.PROCESSING_LATENCY):
        lines += _histogram(histogram, PARTITIONS * RATE * elapsed)
    return "\n".join(lines) + "\n"


def _histogram(metric: metrics.Metric, count: float) -> list[str]:
    name = metric.name
    lines = [f'{name}_bucket{{le="{bound}"}} {count if bound >= SERVICE_SECONDS else 0}' for bound in metric.buckets]
    return [
        *lines,
        f'{name}_bucket{{le="+Inf"}} {count}',
        f"{name}_sum {count * SERVICE_SECONDS}",
        f"{name}_count {count}",
    ]


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog="Example: python -m benchmarks.tuning_cycles --resources 200")
def main(
    resources: Annotated[int, typer.Option(min=2, max=5_000, help="Resources in mode Recommend.")] = 200,
    seconds: Annotated[float, typer.Option(min=5, help="For how long.")] = 30,
    window_seconds: Annotated[int, typer.Option(min=8, max=3_600, help="spec.tuning.behavior.windowSeconds.")] = 16,
) -> None:
    """Print what tuning made resources costs, as JSON."""
    print(json.dumps(asdict(measure(resources, seconds, window_seconds=window_seconds)), indent=2))


if __name__ == "__main__":
    app()
