"""The metrics page: statistics under the names of the catalogue, in one pass for each scrape.

`prometheus_client` does the format; its own metric objects, with a lock and a dictionary per update, stay out of the
data path. Metrics that a handler makes with `prometheus_client` itself are on the page too. In mode process those live
in the workers and are not; those of `user_metrics` are, in every mode.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, TypeVar

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from consumer_runtime.container import Container
from consumer_runtime.contract import metrics
from consumer_runtime.contract.metrics import CATALOGUE, CLIENT_CATALOGUE, Kind, Metric
from consumer_runtime.statistics import Histogram, Snapshot
from consumer_runtime.user_metrics import Series

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_Value = TypeVar("_Value")
Samples = Iterable[tuple[tuple[str, ...], float]]
_MICROSECONDS = 1e-6


def page(snapshot: Callable[[], Snapshot], *, container: Container | None = None) -> bytes:
    """Return the metrics page in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(RuntimeCollector(snapshot, container=container or Container()))
    return generate_latest(registry) + generate_latest(REGISTRY)


class RuntimeCollector(Collector):
    """Turns one snapshot into metric families; register it where a library user's own metrics are."""

    def __init__(self, snapshot: Callable[[], Snapshot], *, container: Container) -> None:
        """Take where the numbers come from; nothing is read before a scrape."""
        self._snapshot = snapshot
        self._container = container

    def describe(self) -> Iterable[Family]:
        """Return nothing, so that registering does not scrape."""
        return ()

    def collect(self) -> Iterator[Family]:
        """Yield every metric of the catalogue, the client's, and the user's counts."""
        now = self._snapshot()
        for metric in CATALOGUE:
            if metric.kind is Kind.HISTOGRAM:
                yield _histogram(metric, HISTOGRAMS[metric.name](now))
            elif metric.name in CONTAINER:
                yield _family(metric, [((), CONTAINER[metric.name](self._container))])
            else:
                yield _family(metric, SERIES[metric.name](now))
        for metric in CLIENT_CATALOGUE:
            yield _family(metric, CLIENT[metric.name](now.librdkafka))
        yield from _user_families(now)


def _family(metric: Metric, samples: Samples) -> Family:
    make = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = make(metric.name.removesuffix("_total"), metric.help, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, histogram: Histogram) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    family.add_metric((), _cumulated(histogram.bounds, histogram.counts), sum_value=histogram.total_seconds)
    return family


def _user_families(now: Snapshot) -> Iterator[Family]:
    for name, keys, series in _by_name(now.user_counts):
        counter = CounterMetricFamily(_exported(name), f"Counted by the handler: {name}.", labels=keys)
        for labels, value in series:
            counter.add_metric([labels.get(key, "") for key in keys], value)
        yield counter
    for name, keys, measured in _by_name(now.user_distributions):
        histogram = HistogramMetricFamily(_exported(name), f"Measured by the handler: {name}.", labels=keys)
        for labels, each in measured:
            values = [labels.get(key, "") for key in keys]
            histogram.add_metric(values, _cumulated(each.bounds, each.counts), sum_value=each.total)
        yield histogram


def _by_name(found: dict[Series, _Value]) -> Iterator[tuple[str, tuple[str, ...], list[tuple[dict[str, str], _Value]]]]:
    """Yield (name, label names, series): all series of a family have the same label names."""
    for name in sorted({name for name, _ in found}):
        series = [(dict(labels), value) for (its, labels), value in found.items() if its == name]
        yield name, tuple(sorted({key for labels, _ in series for key in labels})), series


def _exported(name: str) -> str:
    return "consumer_user_" + re.sub(r"[^a-zA-Z0-9_]", "_", name)


def _cumulated(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    named = [*map(repr, bounds), "+Inf"]
    return list(zip(named, map(float, accumulate(counts)), strict=True))


def _alone(value: float) -> Samples:
    return [((), value)]


def _by_partition(now: Snapshot, field: str) -> Samples:
    found = ((key, getattr(each, field)) for key, each in now.partitions.items())
    return [((topic, str(partition)), value) for (topic, partition), value in found if value is not None]


SERIES: dict[str, Callable[[Snapshot], Samples]] = {
    metrics.PROCESSED.name: lambda now: [((t, str(p), status.value), n) for (t, p, status), n in now.processed.items()],
    metrics.IN_FLIGHT.name: lambda now: _alone(now.in_flight),
    metrics.PARALLEL_LAG.name: lambda now: _by_partition(now, "parallel_lag"),
    metrics.GAP_COUNT.name: lambda now: _by_partition(now, "gaps"),
    metrics.BACKLOG.name: lambda now: _by_partition(now, "backlog"),
    metrics.QUEUE_DEPTH.name: lambda now: _alone(now.queue_depth),
    metrics.OLDEST_TASK.name: lambda now: _alone(now.oldest_task_seconds),
    metrics.BACKPRESSURE.name: lambda now: _alone(now.backpressure_active),
    metrics.METADATA_SIZE.name: lambda now: _by_partition(now, "metadata_bytes"),
    metrics.KNOB.name: lambda now: [((name,), value) for name, value in now.knobs.items()],
    metrics.CONFIG_GENERATION.name: lambda now: _alone(now.config_generation),
    metrics.CONFIG_REJECTED.name: lambda now: _alone(now.config_rejected),
    metrics.POLL_FILL.name: lambda now: _alone(now.poll_fill_ratio),
    metrics.WORKER_BUSY.name: lambda now: _alone(now.worker_busy_seconds),
    metrics.LIMIT_FULL.name: lambda now: _alone(now.limit_full_seconds),
    metrics.PAUSES.name: lambda now: _alone(now.pauses),
    metrics.RETRIES.name: lambda now: [((reason.value,), count) for reason, count in now.retries.items()],
    metrics.DEAD_LETTER.name: lambda now: [((each.value,), count) for each, count in now.dead_letters.items()],
    metrics.COMMIT_FAILURES.name: lambda now: _alone(now.commit_failures),
    metrics.REBALANCES.name: lambda now: _alone(now.rebalances),
    metrics.ASSIGNED.name: lambda now: _alone(len(now.partitions)),
    metrics.CIRCUIT_OPEN.name: lambda now: _alone(now.circuit_open),
    metrics.LOOP_SECONDS.name: lambda now: [((stage.value,), value) for stage, value in now.loop_seconds.items()],
}
"""Each counter and gauge of the catalogue that the statistics hold."""

HISTOGRAMS: dict[str, Callable[[Snapshot], Histogram]] = {
    metrics.PROCESSING_LATENCY.name: lambda now: now.processing_latency,
    metrics.HANDLER_SECONDS.name: lambda now: now.handler_seconds,
}

CONTAINER: dict[str, Callable[[Container], float]] = {
    metrics.CPU_USAGE.name: Container.cpu_usage_seconds,
    metrics.CPU_LIMIT.name: Container.cpu_limit_cores,
    metrics.MEMORY.name: Container.memory_bytes,
    metrics.MEMORY_LIMIT.name: Container.memory_limit_bytes,
}
"""Those that the operating system knows."""


def _brokers(report: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Only brokers with an address: bootstrap and logical ones have node id -1 and no traffic worth a series."""
    return [(name, each) for name, each in report.get("brokers", {}).items() if each.get("nodeid", -1) >= 0]


def _by_broker(report: dict[str, Any], value: Callable[[dict[str, Any]], float]) -> Samples:
    return [((name,), value(each)) for name, each in _brokers(report)]


def _fetch_queue(report: dict[str, Any], field: str) -> Samples:
    parts = [part for topic in report.get("topics", {}).values() for part in topic.get("partitions", {}).values()]
    return _alone(sum(part.get(field, 0) for part in parts)) if report else []


CLIENT: dict[str, Callable[[dict[str, Any]], Samples]] = {
    metrics.CLIENT_CONNECTED.name: lambda report: _by_broker(report, lambda each: each.get("state") == "UP"),
    metrics.CLIENT_ROUND_TRIP.name: lambda report: _by_broker(
        report, lambda each: each.get("rtt", {}).get("p99", 0) * _MICROSECONDS
    ),
    metrics.CLIENT_THROTTLE.name: lambda report: _by_broker(
        report, lambda each: each.get("throttle", {}).get("avg", 0) / 1_000
    ),
    metrics.CLIENT_REQUEST_ERRORS.name: lambda report: _by_broker(
        report, lambda each: each.get("txerrs", 0) + each.get("rxerrs", 0) + each.get("req_timeouts", 0)
    ),
    metrics.CLIENT_RECEIVED.name: lambda report: _by_broker(report, lambda each: each.get("rxbytes", 0)),
    metrics.CLIENT_FETCH_QUEUE.name: lambda report: _fetch_queue(report, "fetchq_cnt"),
    metrics.CLIENT_FETCH_QUEUE_BYTES.name: lambda report: _fetch_queue(report, "fetchq_size"),
}
"""From librdkafka's statistics report (STATISTICS.md of librdkafka 2.16); empty until the first one came."""
