"""PromQL for everything that one cycle measures, generated from the runtime's metric catalogue, and its answers read.

All figures of all resources of all namespaces come back from three questions: each figure is labelled with its name,
and they are joined by `or`. Pure: the question is text, the answer is rows; `prometheus.py` carries both.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from consumer_runtime.contract import metrics
from consumer_runtime.contract.metrics import Metric, Status
from parallel_consumer_operator.errors import MetricsUnavailableError
from parallel_consumer_operator.resource.names import METRIC_LABEL
from parallel_consumer_operator.tuning.observation import Measurement

NAMESPACE_LABEL = "namespace"
POD_LABEL = "pod"
FIGURE_LABEL = "figure"
RESOURCE = f"{NAMESPACE_LABEL}, {METRIC_LABEL}"
PARTITION = f"{RESOURCE}, topic, partition"
QUESTION_CHARACTERS = 3_500
"""Longest question. The client puts it into the address, where proxies commonly allow 8 KiB; escaping doubles it."""
NAMED_CHARACTERS = 200
"""Namespaces are named in a query up to so many characters; for more, every namespace is asked for."""
COMMITS_PER_SECOND = 5.0
"""Commits of one pod at most: one every 200 ms (runtime design)."""
PATIENCE = 0.5
"""Samples older than this share of the short window are stale."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose series, over which windows in seconds: every ParallelConsumer of some namespaces, or of all."""

    namespaces: tuple[str, ...]
    """Empty: every namespace that the server knows."""
    window: int
    long_window: int

    def matchers(self, more: str = "") -> str:
        """Return the label matchers of every query, values escaped."""
        own = f'{self._of_namespaces()}{METRIC_LABEL}!=""'
        return f"{{{own},{more}}}" if more else f"{{{own}}}"

    def _of_namespaces(self) -> str:
        """Name them while that is short: each query names them a dozen times, and extra answers do no harm."""
        if len(self.namespaces) == 1:
            return f'{NAMESPACE_LABEL}="{escape(self.namespaces[0])}",'
        either = "|".join(map(literal, self.namespaces))
        if not either or len(either) > NAMED_CHARACTERS:
            return ""
        return f'{NAMESPACE_LABEL}=~"{escape(either)}",'


def literal(value: str) -> str:
    """Return a text as a regular expression (RE2) that matches nothing else."""
    return "".join(f"\\{sign}" if sign in r"\.+*?()|[]{}^$" else sign for sign in value)


def escape(value: str) -> str:
    """Return a label value as it stands between double quotes in PromQL."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def figures(scope: Scope) -> dict[str, str]:
    """Return the PromQL of each figure by its name."""
    return {**_of_flow(scope), **_of_time(scope), **_of_failure(scope), **_of_limits(scope), **_of_pods(scope)}


def questions(scope: Scope) -> tuple[str, ...]:
    """Return the queries that ask for every figure, as few as their length allows."""
    parts = [f'label_replace({text}, "{FIGURE_LABEL}", "{name}", "", "")' for name, text in figures(scope).items()]
    packed: list[str] = []
    for part in parts:
        joined = f"{packed[-1]} or {part}" if packed else part
        if packed and len(joined) <= QUESTION_CHARACTERS:
            packed[-1] = joined
        else:
            packed.append(part)
    return tuple(packed)


def _of_flow(scope: Scope) -> dict[str, str]:
    short, long, backlog = scope.window, scope.long_window, metrics.BACKLOG
    return {
        "rate": _sum(_rate(scope, metrics.PROCESSED, short)),
        "rate_long": _sum(_rate(scope, metrics.PROCESSED, long)),
        "backlog": _sum(_per_partition(_now(scope, backlog))),
        "backlog_peak_long": _sum(_per_partition(_over(scope, "max_over_time", backlog, long))),
        "backlog_slope": _sum(_per_partition(_over(scope, "deriv", backlog, short))),
        "backlog_partitions": f"count by ({RESOURCE}) ({_per_partition(_now(scope, backlog))})",
        "hottest": f"topk by ({RESOURCE}) (1, {_per_partition(_now(scope, backlog))})",
        "partitions": _sum(_now(scope, metrics.ASSIGNED)),
        "gaps": _sum(_per_partition(_now(scope, metrics.GAP_COUNT))),
        "gaps_slope": _sum(_per_partition(_over(scope, "deriv", metrics.GAP_COUNT, short))),
        "poll_fill": _mean(_over(scope, "avg_over_time", metrics.POLL_FILL, short)),
    }


def _of_time(scope: Scope) -> dict[str, str]:
    short, long, handler = scope.window, scope.long_window, metrics.HANDLER_SECONDS
    return {
        "service_sum": _sum(_rate(scope, handler, short, part="_sum")),
        "service_count": _sum(_rate(scope, handler, short, part="_count")),
        "service_sum_long": _sum(_rate(scope, handler, long, part="_sum")),
        "service_count_long": _sum(_rate(scope, handler, long, part="_count")),
        "service_seconds_p99": _p99(scope, handler),
        "latency_seconds_p99": _p99(scope, metrics.PROCESSING_LATENCY),
        "oldest_task_seconds": _max(_now(scope, metrics.OLDEST_TASK)),
    }


def _of_failure(scope: Scope) -> dict[str, str]:
    short, dead = scope.window, metrics.DEAD_LETTER
    unsuccessful = f'status=~"{Status.FAILED}|{Status.DEAD_LETTERED}"'
    return {
        "failed": _sum(_rate(scope, metrics.PROCESSED, short, more=unsuccessful)),
        "retried": _sum(_rate(scope, metrics.RETRIES, short)),
        "dead_lettered": _sum(_rate(scope, dead, short)),
        "dead_letter_failed": _sum(
            _rate(scope, dead, short, more=f'outcome="{metrics.DeadLetterOutcome.FAILED}"'),
        ),
        "commit_failures": _max(_rate(scope, metrics.COMMIT_FAILURES, short)),
    }


def _of_limits(scope: Scope) -> dict[str, str]:
    short, long = scope.window, scope.long_window
    memory = f"{_now(scope, metrics.MEMORY)} / ({_now(scope, metrics.MEMORY_LIMIT)} > 0)"
    return {
        "limit_full": _mean(_rate(scope, metrics.LIMIT_FULL, short)),
        "limit_full_most": _max(_rate(scope, metrics.LIMIT_FULL, short)),
        "limit_full_long": _mean(_rate(scope, metrics.LIMIT_FULL, long)),
        "backpressure": _mean(_over(scope, "avg_over_time", metrics.BACKPRESSURE, short)),
        "in_flight": _sum(_over(scope, "avg_over_time", metrics.IN_FLIGHT, short)),
        "in_flight_peak_long": _max(_over(scope, "max_over_time", metrics.IN_FLIGHT, long)),
        "queued": _sum(_over(scope, "avg_over_time", metrics.QUEUE_DEPTH, short)),
        "busy": _sum(_rate(scope, metrics.WORKER_BUSY, short)),
        "busy_long": _sum(_rate(scope, metrics.WORKER_BUSY, long)),
        "cpu_cores": _sum(_rate(scope, metrics.CPU_USAGE, short)),
        "cpu_limit_cores": _sum(_now(scope, metrics.CPU_LIMIT)),
        "memory_ratio": _max(memory),
        "pauses_per_second": _max(_rate(scope, metrics.PAUSES, short)),
    }


def _of_pods(scope: Scope) -> dict[str, str]:
    age = f"time() - timestamp({_now(scope, metrics.CONFIG_GENERATION)})"
    # A rate over a window of which only the end was scraped is too low: there has to be a sample from before it.
    whole = (
        f"{_rate(scope, metrics.CPU_USAGE, scope.window)} and {_now(scope, metrics.CPU_USAGE)} offset {scope.window}s"
    )
    rated = f"max by ({RESOURCE}, {POD_LABEL}) ({whole})"
    return {
        "age": f"max by ({RESOURCE}, {POD_LABEL}) ({age})",
        "pods_rated": f"count by ({RESOURCE}) ({rated})",
        "rebalances": _max(_over(scope, "increase", metrics.REBALANCES, scope.window)),
        "rebalances_long": _max(_over(scope, "increase", metrics.REBALANCES, scope.long_window)),
    }


def _p99(scope: Scope, histogram: Metric) -> str:
    buckets = _rate(scope, histogram, scope.window, part="_bucket")
    return f"histogram_quantile(0.99, sum by ({RESOURCE}, le) ({buckets}))"


def _now(scope: Scope, metric: Metric) -> str:
    return f"{metric.name}{scope.matchers()}"


def _rate(scope: Scope, metric: Metric, window: int, *, part: str = "", more: str = "") -> str:
    return f"rate({metric.name}{part}{scope.matchers(more)}[{window}s])"


def _over(scope: Scope, function: str, metric: Metric, window: int) -> str:
    return f"{function}({metric.name}{scope.matchers()}[{window}s])"


def _sum(text: str) -> str:
    return f"sum by ({RESOURCE}) ({text})"


def _max(text: str) -> str:
    return f"max by ({RESOURCE}) ({text})"


def _mean(text: str) -> str:
    return f"avg by ({RESOURCE}) ({text})"


def _per_partition(text: str) -> str:
    """While a partition moves, two pods report it: the larger value is the newer or the safer one."""
    return f"max by ({PARTITION}) ({text})"


@dataclass(slots=True)
class Answer:
    """What came back for one resource."""

    figures: dict[str, float] = field(default_factory=dict)
    ages: dict[str, float] = field(default_factory=dict)
    """Seconds since the newest sample, by pod."""
    hottest: str = ""


def read(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Answer]:
    """Return the answers by (namespace, resource) from Prometheus' instant vectors.

    Raises MetricsUnavailableError for rows that are not of that form.
    """
    answers: dict[tuple[str, str], Answer] = defaultdict(Answer)
    for row in rows:
        try:
            labels, value = row["metric"], float(row["value"][1])
            answer, name = answers[labels[NAMESPACE_LABEL], labels[METRIC_LABEL]], labels[FIGURE_LABEL]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise MetricsUnavailableError(f"an answer of Prometheus cannot be read: {str(row)[:200]}") from error
        if name == "age":
            answer.ages[labels.get(POD_LABEL, "")] = value
        else:
            answer.figures[name] = value
        if name == "hottest":
            answer.hottest = f"{labels.get('topic', '')}/{labels.get('partition', '')}"
    return dict(answers)


_ABSENT_IS_NONE = frozenset(
    {"rate", "rate_long", "failed", "retried", "dead_lettered", "dead_letter_failed", "gaps", "gaps_slope"}
)
"""Series with labels of their own begin to exist with the first event. That the pod's other series, of the same scrape,
are there is checked first: then, and only then, absent means that nothing has happened."""
_ABSENT_WITHOUT_PARTITIONS = frozenset({"backlog", "backlog_peak_long", "backlog_slope", "hottest"})
_ABSENT_WITHOUT_LIMIT = "memory_ratio"


def measurement(answer: Answer | None, *, pods: Collection[str], window: int) -> Measurement:
    """Return the figures of one resource, complete and fresh.

    Args:
        answer: what came back, None when nothing did.
        pods: names of the ready pods; each has to be covered.
        window: the short window in seconds.

    Raises MetricsUnavailableError naming what is missing, stale, not a number, negative or partial.
    """
    if answer is None or not answer.ages:
        raise MetricsUnavailableError("Prometheus has no series of this resource: is its PodMonitor selected?")
    _require_coverage(answer, pods, window)
    value = _Figures(answer.figures)
    rate, slope = value.amount("rate"), value.number("backlog_slope")
    attempts = rate + value.amount("retried")
    backlog = value.amount("backlog")
    return Measurement(
        pods=len(pods),
        rate=rate,
        rate_long=value.amount("rate_long"),
        arrivals=max(0.0, rate + slope),
        backlog=backlog,
        backlog_peak_long=value.amount("backlog_peak_long"),
        backlog_slope=slope,
        hottest_partition=answer.hottest,
        hottest_share=_share(value.amount("hottest"), backlog),
        partitions=round(value.amount("partitions")),
        service_seconds=_mean_of(value.amount("service_sum"), value.amount("service_count")),
        service_seconds_long=_mean_of(value.amount("service_sum_long"), value.amount("service_count_long")),
        service_seconds_p99=value.percentile("service_seconds_p99"),
        latency_seconds_p99=value.percentile("latency_seconds_p99"),
        error_ratio=_share(value.amount("failed") + value.amount("retried"), attempts),
        dead_letter_failed_ratio=_share(value.amount("dead_letter_failed"), value.amount("dead_lettered")),
        commit_failed_ratio=_share(value.amount("commit_failures"), COMMITS_PER_SECOND),
        limit_full=min(1.0, value.amount("limit_full")),
        limit_full_most=min(1.0, value.amount("limit_full_most")),
        limit_full_long=min(1.0, value.amount("limit_full_long")),
        backpressure=min(1.0, value.amount("backpressure")),
        poll_fill=min(1.0, value.amount("poll_fill")),
        gaps=value.amount("gaps"),
        gaps_slope=value.number("gaps_slope"),
        age_seconds=max(0.0, *(answer.ages[pod] for pod in pods)) if pods else 0.0,
        **{name: value.amount(name) for name in _AS_THEY_ARE},
    )


_AS_THEY_ARE = (
    "in_flight", "in_flight_peak_long", "queued", "busy", "busy_long", "cpu_cores", "cpu_limit_cores",
    "pauses_per_second", "oldest_task_seconds", "memory_ratio", "rebalances", "rebalances_long",
)  # fmt: skip


def _require_coverage(answer: Answer, pods: Collection[str], window: int) -> None:
    absent = sorted(set(pods) - set(answer.ages))
    if absent:
        text = f"{len(absent)} of {len(pods)} ready pods have no series, {absent[0]} for one"
        raise MetricsUnavailableError(text)
    stale = [pod for pod in pods if answer.ages[pod] > max(PATIENCE * window, 5.0)]
    if stale:
        age = answer.ages[stale[0]]
        raise MetricsUnavailableError(f"the newest sample of pod {stale[0]} is {age:.0f} s old: is it still scraped?")
    rated = answer.figures.get("pods_rated", 0.0)
    if rated < len(pods):
        text = f"{rated:.0f} of {len(pods)} pods have been scraped for the whole window of {window} s"
        raise MetricsUnavailableError(f"{text}: wait, or make windowSeconds at least four scrape intervals")
    measured, assigned = answer.figures.get("backlog_partitions", 0.0), answer.figures.get("partitions", 0.0)
    if measured < assigned:
        text = f"the backlog of {assigned - measured:.0f} of {assigned:.0f} partitions is unknown"
        raise MetricsUnavailableError(text)


class _Figures:
    """Figures by name, each checked as it is taken."""

    def __init__(self, figures: Mapping[str, float]) -> None:
        self._figures = figures

    def number(self, name: str) -> float:
        value = self._figures.get(name)
        if value is None and (name in _ABSENT_IS_NONE or name == _ABSENT_WITHOUT_LIMIT):
            return 0.0
        if value is None and name in _ABSENT_WITHOUT_PARTITIONS and not self._figures.get("partitions"):
            return 0.0
        if value is None:
            raise MetricsUnavailableError(f"{name} is missing")
        if not math.isfinite(value):
            raise MetricsUnavailableError(f"{name} is {value}")
        return value

    def amount(self, name: str) -> float:
        value = self.number(name)
        if value < 0:
            raise MetricsUnavailableError(f"{name} is negative: {value}")
        return value

    def percentile(self, name: str) -> float | None:
        """Return a percentile; it is not a number where nothing happened."""
        value = self._figures.get(name, math.nan)
        return value if math.isfinite(value) and value >= 0 else None


def _share(part: float, whole: float) -> float:
    return min(1.0, part / whole) if whole > 0 else 0.0


def _mean_of(total: float, count: float) -> float | None:
    return total / count if count > 0 else None
