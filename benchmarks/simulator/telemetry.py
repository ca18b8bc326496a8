"""Measures the simulated world as Prometheus would: scrapes at an interval, rates and means over two windows.

What is known is only what was scraped; faults of the metrics themselves are here too. The figures are the tuner's own
`Measurement`, so that nothing but the world is simulated.
"""

from collections import deque
from dataclasses import dataclass

from benchmarks.percentile import percentile
from benchmarks.simulator.pod import Pod
from benchmarks.simulator.workload import FaultKind
from benchmarks.simulator.world import World
from consumer_runtime.contract.metrics import LATENCY_BUCKETS
from parallel_consumer_operator.tuning.observation import Measurement

FLAP_SECONDS = 15.0
"""Flapping metrics are there, and gone, for so long each."""
COUNTED = ("processed", "failed", "retries", "handled", "handler_seconds", "busy_seconds", "cpu_seconds", "pauses")
"""Counters whose rates are figures; `limit_full` and `rebalances` are taken by hand."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One scrape of one pod."""

    at: float
    counters: dict[str, float]
    service: tuple[int, ...]
    latency: tuple[int, ...]
    limit_full: float
    rebalances: int
    polled: int
    asked: int
    in_flight: int
    queued: int
    busy: int
    paused: bool
    memory: float


class Telemetry:
    """Scrapes, and answers for one moment."""

    def __init__(self, world: World, *, window: float, long_window: float, scrape: float) -> None:
        self._world = world
        self._window = window
        self._long_window = long_window
        self._keep = int(long_window / scrape) + 2
        self._samples: list[deque[Sample]] = [deque(maxlen=self._keep) for _ in world.pods]
        self._pods: list[Pod] = list(world.pods)
        self._backlogs: deque[tuple[float, list[float]]] = deque(maxlen=self._keep)

    def scrape(self) -> None:
        """Take one sample of each pod that is there; a pod that was replaced begins anew."""
        world = self._world
        for pod in world.pods[len(self._pods) :]:
            self._pods.append(pod)
            self._samples.append(deque(maxlen=self._keep))
        for index, pod in enumerate(world.pods):
            if pod is not self._pods[index]:
                self._pods[index] = pod
                self._samples[index].clear()
            if pod.alive_from <= world.now:
                self._samples[index].append(self._sample(pod))
        self._backlogs.append((world.now, list(world.seen_backlog)))

    def missing(self) -> str:
        """Return why nothing is to be had at this moment; empty when it is."""
        world = self._world
        if world.is_active(FaultKind.METRICS_MISSING):
            return "metrics are missing"
        if world.is_active(FaultKind.METRICS_FLAP) and (world.now // FLAP_SECONDS) % 2:
            return "metrics flap"
        ready = [samples for samples, pod in zip(self._samples, world.pods, strict=True) if pod.alive_from <= world.now]
        if not ready or any(len(_within(samples, world.now, self._window)) < 2 for samples in ready):
            return "some pod has not two samples in the window"
        return ""

    def measure(self) -> Measurement:
        """Return the figures of this moment; call only when nothing is `missing`."""
        now = self._world.now
        short = [_within(samples, now, self._window) for samples in self._samples]
        long = [_within(samples, now, self._long_window) for samples in self._samples]
        short = [each for each in short if len(each) > 1]
        long = [each for each in long if len(each) > 1]
        backlogs = [each for each in self._backlogs if each[0] > now - self._window]
        slope = _slope([(at, sum(parts)) for at, parts in backlogs])
        current = backlogs[-1][1]
        return Measurement(
            pods=len(short), backlog=sum(current), backlog_slope=slope,
            backlog_peak_long=sum(max(parts[1][place] for parts in self._backlogs) for place in range(len(current))),
            arrivals=max(0.0, sum(_rate(each, "processed") for each in short) + slope),
            hottest_partition=f"simulated/{current.index(max(current))}",
            hottest_share=min(1.0, max(current) / sum(current)) if sum(current) > 0 else 0.0,
            partitions=len(current), age_seconds=now - short[0][-1].at,
            **_over_short(short), **_over_long(long), **self._now(short),
        )  # fmt: skip

    def _now(self, short: list[list[Sample]]) -> dict[str, float]:
        world = self._world
        stuck = [world.now - pod.oldest_stuck for pod in world.pods if pod.oldest_stuck is not None]
        return {
            "gaps": float(len(stuck) + sum(partition.stuck_at is not None for partition in world.partitions)),
            "gaps_slope": 0.0,
            "oldest_task_seconds": max(stuck, default=0.0),
            "memory_ratio": max(samples[-1].memory for samples in short) / world.workload.pods.memory_mb,
            "cpu_limit_cores": world.workload.pods.cpu * len(short),
        }

    def _sample(self, pod: Pod) -> Sample:
        counters, world = pod.counters, self._world
        return Sample(
            at=world.now, counters={name: getattr(counters, name) for name in COUNTED},
            service=tuple(counters.service), latency=tuple(counters.latency),
            limit_full=pod.limit_full_seconds(world.now), rebalances=counters.rebalances, polled=counters.polled,
            asked=counters.asked, in_flight=pod.in_flight, queued=pod.queued, busy=min(pod.busy, pod.in_flight),
            paused=pod.paused, memory=world.memory_mb(pod),
        )  # fmt: skip


def _over_short(short: list[list[Sample]]) -> dict[str, float | None]:
    handled = sum(_rate(each, "handled") for each in short)
    rate, retried = sum(_rate(each, "processed") for each in short), sum(_rate(each, "retries") for each in short)
    errors = sum(_rate(each, "failed") for each in short) + retried
    asked = sum(each[-1].asked - each[0].asked for each in short)
    return {
        "rate": rate,
        "service_seconds": sum(_rate(each, "handler_seconds") for each in short) / handled if handled > 0 else None,
        "service_seconds_p99": _percentile(short, "service"),
        "latency_seconds_p99": _percentile(short, "latency"),
        "error_ratio": min(1.0, errors / (rate + retried)) if rate + retried > 0 else 0.0,
        "dead_letter_failed_ratio": 0.0,
        "commit_failed_ratio": 0.0,
        "limit_full": _mean([_growth(each, "limit_full") for each in short]),
        "limit_full_most": max(_growth(each, "limit_full") for each in short),
        "backpressure": _mean([_mean([float(sample.paused) for sample in each]) for each in short]),
        "in_flight": sum(_mean([float(sample.in_flight) for sample in each]) for each in short),
        "queued": sum(_mean([float(sample.queued) for sample in each]) for each in short),
        "busy": sum(_rate(each, "busy_seconds") for each in short),
        "cpu_cores": sum(_rate(each, "cpu_seconds") for each in short),
        "poll_fill": min(1.0, sum(each[-1].polled - each[0].polled for each in short) / asked) if asked else 0.0,
        "pauses_per_second": max(_rate(each, "pauses") for each in short),
        "rebalances": float(max(each[-1].rebalances - each[0].rebalances for each in short)),
    }


def _over_long(long: list[list[Sample]]) -> dict[str, float | None]:
    handled = sum(_rate(each, "handled") for each in long)
    return {
        "rate_long": sum(_rate(each, "processed") for each in long),
        "service_seconds_long": sum(_rate(each, "handler_seconds") for each in long) / handled if handled > 0 else None,
        "limit_full_long": _mean([_growth(each, "limit_full") for each in long]),
        "in_flight_peak_long": float(max(sample.in_flight for each in long for sample in each)),
        "busy_long": sum(_rate(each, "busy_seconds") for each in long),
        "rebalances_long": float(max(each[-1].rebalances - each[0].rebalances for each in long)),
    }


def _within(samples: deque[Sample], now: float, window: float) -> list[Sample]:
    return [sample for sample in samples if sample.at > now - window]


def _rate(samples: list[Sample], name: str) -> float:
    elapsed = samples[-1].at - samples[0].at
    return (samples[-1].counters[name] - samples[0].counters[name]) / elapsed


def _growth(samples: list[Sample], name: str) -> float:
    elapsed = samples[-1].at - samples[0].at
    return min(1.0, float(getattr(samples[-1], name) - getattr(samples[0], name)) / elapsed)


def _percentile(pods: list[list[Sample]], name: str, share: float = 0.99) -> float | None:
    """Return a percentile of a histogram's growth, within its bucket by proportion, as Prometheus does."""
    grown = [
        sum(getattr(each[-1], name)[place] - getattr(each[0], name)[place] for each in pods)
        for place in range(len(LATENCY_BUCKETS) + 1)
    ]
    return percentile(LATENCY_BUCKETS, grown, share)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _slope(points: list[tuple[float, float]]) -> float:
    """Return the growth per second by least squares, as `deriv` does."""
    if len(points) < 2:
        return 0.0
    middle_x, middle_y = _mean([x for x, _ in points]), _mean([y for _, y in points])
    spread: float = sum((x - middle_x) ** 2 for x, _ in points)
    return float(sum((x - middle_x) * (y - middle_y) for x, y in points) / spread)
