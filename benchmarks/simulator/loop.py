"""Runs one workload in virtual time under a controller, and keeps what there is to report. Decides nothing itself."""

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

from benchmarks.percentile import percentile
from benchmarks.simulator.telemetry import Telemetry
from benchmarks.simulator.workload import Knobs, Workload
from benchmarks.simulator.world import World
from consumer_runtime.contract.metrics import LATENCY_BUCKETS
from parallel_consumer_operator.resource.tuning import Freeze, Knob, TunedKnobs, TuningMode, TuningSpec
from parallel_consumer_operator.resource.tuning_status import KnobValues, TuningStatus
from parallel_consumer_operator.tuning.decision import Decision, Rollback, Step
from parallel_consumer_operator.tuning.observation import Circumstances, Measurement, Window
from parallel_consumer_operator.tuning.policy import Bounds, Policy
from parallel_consumer_operator.tuning.tuner import decide

T = TypeVar("T")

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""Virtual time 0."""
LOOKS_PER_WINDOW = 8
TASK_TIMEOUT_MS = 30_000


@dataclass(frozen=True, slots=True)
class Look:
    """One controller cycle: what was seen, and the knobs wanted after it."""

    second: float
    measured: Measurement | None
    missing: str
    knobs: Knobs
    decision: Decision | None = None


@dataclass(slots=True)
class Run:
    """Everything that one run leaves behind."""

    workload: Workload
    looks: list[Look] = field(default_factory=list)
    completed: list[tuple[float, int]] = field(default_factory=list)
    """(second, messages finished since the start)."""
    latency: list[tuple[float, tuple[int, ...]]] = field(default_factory=list)
    """(second, latency buckets since the start, over all pods)."""
    lag_seconds: list[tuple[float, float]] = field(default_factory=list)
    backlog: list[tuple[float, float]] = field(default_factory=list)
    """(second, messages that have come and are not committed)."""
    replicas: list[int] = field(default_factory=list)
    """Pods at each moment."""

    def rate(self, since: float, until: float) -> float:
        """Return messages finished per second between two moments."""
        first, last = _nearest(self.completed, since), _nearest(self.completed, until)
        return (last[1] - first[1]) / (last[0] - first[0]) if last[0] > first[0] else 0.0

    def rate_at_most(self, since: float, until: float) -> float:
        """Return the rate of a run that had finished everything: what came in that time, and what was left before."""
        left = _nearest(self.backlog, until)[1]
        return self.rate(since, until) + left / (until - since)

    def latency_p99(self, since: float, until: float) -> float | None:
        """Return the 99th percentile from admission to completion between two moments, seconds."""
        first, last = _nearest(self.latency, since)[1], _nearest(self.latency, until)[1]
        grown = [after - before for before, after in zip(first, last, strict=True)]
        return percentile(LATENCY_BUCKETS, grown, 0.99)

    @property
    def knobs(self) -> Knobs:
        """The knobs at the end."""
        return self.looks[-1].knobs if self.looks else self.workload.start


def _nearest(points: list[tuple[float, T]], second: float) -> tuple[float, T]:
    """Return the point at a moment, or the next one there is; points are in order of time."""
    return points[min(bisect_left(points, second, key=lambda point: point[0]), len(points) - 1)]


class Controller(Protocol):
    """Something that turns what was measured into knobs."""

    def knobs(self, world: World, measured: Measurement | None, missing: str) -> tuple[Knobs, Decision | None]:
        """Return the knobs wanted from now on, and the decision where there is such a thing."""
        ...


class Static:
    """What people do without a controller."""

    def knobs(self, world: World, measured: Measurement | None, missing: str) -> tuple[Knobs, Decision | None]:
        """Return the knobs as they are."""
        del measured, missing
        return world.knobs, None


class Ours:
    """The tuner itself, with its memory."""

    def __init__(self, workload: Workload, memory: TuningStatus | None = None) -> None:
        self.policy = policy_of(workload)
        self.memory = memory or TuningStatus()
        self._starts = KnobValues(**{knob.runtime_name: value for knob, value in workload.start.items()})
        self._mode = workload.mode

    def knobs(self, world: World, measured: Measurement | None, missing: str) -> tuple[Knobs, Decision | None]:
        """Decide as the operator would."""
        window = Window(circumstances=self.circumstances(world), measured=measured, missing=missing)
        now = EPOCH + timedelta(seconds=math.floor(world.now))
        decision = decide(self.policy, window, self.memory, now)
        self.memory = decision.memory
        tuned = {knob: value for knob in Knob if (value := decision.memory.knobs.of(knob)) is not None}
        return {**world.workload.start, **tuned}, decision

    def circumstances(self, world: World) -> Circumstances:
        """Return what the operator would know."""
        killed = world.out_of_memory_at
        return Circumstances(
            mode=self._mode,
            current=KnobValues(**{knob.runtime_name: value for knob, value in world.knobs.items()}),
            starts=self._starts,
            ready_replicas=sum(pod.alive_from <= world.now for pod in world.pods),
            desired_replicas=len(world.pods),
            applied=world.now >= world.applied_at,
            out_of_memory_at=EPOCH + timedelta(seconds=math.floor(killed)) if killed is not None else None,
            task_timeout_ms=TASK_TIMEOUT_MS,
        )


def policy_of(workload: Workload) -> Policy:
    """Return the tuner's policy for a workload."""
    spec = TuningSpec(
        mode=TuningMode.AUTO, objective=workload.objective, behavior=workload.bench.behavior, knobs=TunedKnobs(),
        verify=workload.bench.verification, freeze=Freeze(),
    )  # fmt: skip
    return Policy(spec=spec, bounds={knob: Bounds(min=low, max=high) for knob, (low, high) in workload.bounds.items()})


def run(
    workload: Workload,
    controller: Controller,
    *,
    begin: float = 0.0,
    end: float | None = None,
    knobs: Knobs | None = None,
) -> Run:
    """Let a workload happen under a controller; return what there is to report."""
    world = World(workload, knobs or workload.start, begin=begin)
    behavior, scrape = workload.bench.behavior, workload.bench.scrape_seconds
    telemetry = Telemetry(
        world, window=behavior.window_seconds, long_window=behavior.long_window_seconds, scrape=scrape
    )
    kept, gone = Run(workload), Gone(world)
    look_every = max(1.0, behavior.window_seconds / LOOKS_PER_WINDOW)
    look_at = begin + look_every
    for now in _moments(begin, end if end is not None else workload.seconds, scrape):
        world.advance(now)
        world.check_memory()
        telemetry.scrape()
        _keep(kept, world, gone)
        if now >= look_at:
            look_at = now + look_every
            _look(kept, world, telemetry, controller)
    return kept


def _moments(begin: float, end: float, step: float) -> Iterator[float]:
    for count in range(int((end - begin) / step) + 1):
        yield begin + count * step


def _look(kept: Run, world: World, telemetry: Telemetry, controller: Controller) -> None:
    missing = telemetry.missing()
    measured = None if missing else telemetry.measure()
    wanted, decision = controller.knobs(world, measured, missing)
    if wanted != world.knobs:
        world.change(wanted)
    kept.looks.append(Look(world.now, measured, missing, dict(wanted), decision))


class Gone:
    """Totals of pods that were replaced, so that what was done does not go with them."""

    def __init__(self, world: World) -> None:
        self._pods = list(world.pods)
        self._completed = 0
        self._latency = [0] * len(world.pods[0].counters.latency)

    def totals(self, world: World) -> tuple[int, tuple[int, ...]]:
        """Return messages finished and latency buckets since the start."""
        self._pods += world.pods[len(self._pods) :]
        for index, pod in enumerate(world.pods):
            old = self._pods[index]
            if old is not pod:
                self._completed += old.counters.processed
                self._latency = [a + b for a, b in zip(self._latency, old.counters.latency, strict=True)]
                self._pods[index] = pod
        buckets = [
            sum(column) for column in zip(self._latency, *(pod.counters.latency for pod in world.pods), strict=True)
        ]
        return self._completed + sum(pod.counters.processed for pod in world.pods), tuple(buckets)


def _keep(kept: Run, world: World, gone: Gone) -> None:
    completed, latency = gone.totals(world)
    kept.completed.append((world.now, completed))
    kept.latency.append((world.now, latency))
    kept.replicas.append(world.replicas)
    window = kept.workload.bench.behavior.window_seconds
    rate = kept.rate(world.now - window, world.now) if len(kept.completed) > 1 else 0.0
    backlog = sum(partition.backlog for partition in world.partitions)
    kept.backlog.append((world.now, backlog))
    kept.lag_seconds.append((world.now, backlog / rate if rate > 0 else 0.0))


def steps(kept: Run) -> list[tuple[float, Step | Rollback]]:
    """Return the changes that the tuner made, with their moments."""
    return [
        (look.second, look.decision.action)
        for look in kept.looks
        if look.decision is not None and isinstance(look.decision.action, Step | Rollback)
    ]
