"""What users would do instead, as controllers of the simulated world: profiles, in-process limits, replicas by lag.

Formulas are those that the projects publish, with their defaults; each sees the same measurements as the tuner. Nothing
here is part of the product.
"""

import math
from dataclasses import dataclass, field

from benchmarks.simulator.workload import Knobs, Workload
from benchmarks.simulator.world import World
from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator.resource.tuning import Knob
from parallel_consumer_operator.tuning.decision import Decision
from parallel_consumer_operator.tuning.observation import Measurement

Answer = tuple[Knobs, Decision | None]


def profile_start(workload: Workload) -> Knobs:
    """Return the lower ends of the profile that the runbook gives a mode, within the workload's bounds."""
    cpus = max(1, math.ceil(workload.pods.cpu))
    values = {
        Mode.PROCESS: (2_000, 1_000, cpus),
        Mode.THREAD: (128, 200, max(1, math.ceil(cpus / 2))),
    }.get(workload.mode, (256, 200, workload.start[Knob.WORKER_POOL_SIZE]))
    return {knob: _inside(workload, knob, value) for knob, value in zip(Knob, values, strict=True)}


def _inside(workload: Workload, knob: Knob, value: float) -> int:
    low, high = workload.bounds[knob]
    return max(low, min(high, round(value)))


@dataclass(slots=True)
class Profile:
    """A profile's values, and nothing more."""

    workload: Workload

    def knobs(self, world: World, measured: Measurement | None, missing: str) -> Answer:
        """Return the profile's knobs, whatever happens."""
        del world, measured, missing
        return profile_start(self.workload), None


@dataclass(slots=True)
class _Limit:
    """Root of what moves maxInFlight alone."""

    workload: Workload

    def knobs(self, world: World, measured: Measurement | None, missing: str) -> Answer:
        """Return the knobs with another limit."""
        del missing
        limit = float(world.knobs[Knob.MAX_IN_FLIGHT])
        wanted = limit if measured is None else self.limit(world, measured, limit)
        return {**world.knobs, Knob.MAX_IN_FLIGHT: _inside(self.workload, Knob.MAX_IN_FLIGHT, wanted)}, None

    def limit(self, world: World, seen: Measurement, limit: float) -> float:
        """Return the next limit."""
        raise NotImplementedError


@dataclass(slots=True)
class PyrallelBackpressure(_Limit):
    """pyrallel-consumer's AdaptiveBackpressureController, defaults: 16 down when paused or slow, 16 up when quick."""

    step: int = 16
    low_ms: float = 25.0
    high_ms: float = 100.0

    def limit(self, world: World, seen: Measurement, limit: float) -> float:
        """Lower on a pause or from 100 ms on; raise with lag, nothing queued and at most 25 ms."""
        latency = (seen.service_seconds or 0.0) * 1_000
        paused = any(pod.paused for pod in world.pods)
        if paused or latency >= self.high_ms:
            return max(1.0, limit - self.step)
        return limit + self.step if seen.queued < 1 and latency <= self.low_ms else limit


@dataclass(slots=True)
class PyrallelConcurrency(_Limit):
    """pyrallel-consumer's AdaptiveConcurrencyController, defaults: 64 down when more is held than the limit, 32 up."""

    def limit(self, world: World, seen: Measurement, limit: float) -> float:
        """Lower on a pause or a load beyond the limit; raise when the lag is the limit or more, and nothing queued."""
        load = (seen.in_flight + seen.queued) / max(1, seen.pods)
        least = max(1.0, self.workload.bounds[Knob.MAX_IN_FLIGHT][1] / 4)
        if any(pod.paused for pod in world.pods) or load > limit:
            return max(least, limit - 64)
        return limit + 32 if seen.backlog >= limit and seen.queued < 1 else limit


@dataclass(slots=True)
class Aimd(_Limit):
    """Netflix AIMDLimit, defaults: x 0.9 on a failure or beyond 5 s, else + 1 while half of the limit is in use."""

    def limit(self, world: World, seen: Measurement, limit: float) -> float:
        """Add one, or take a tenth away."""
        del world
        if seen.error_ratio > 0 or (seen.service_seconds or 0.0) > 5:
            return limit * 0.9
        return limit + 1 if 2 * seen.in_flight / max(1, seen.pods) >= limit else limit


@dataclass(slots=True)
class Vegas(_Limit):
    """Netflix VegasLimit, defaults: the queue is limit x (1 - least / present time); thresholds grow with log10."""

    least: float = math.inf

    def limit(self, world: World, seen: Measurement, limit: float) -> float:
        """Raise while the estimated queue is short, lower when it is long."""
        del world
        present, unit = seen.service_seconds, math.log10(max(10.0, limit))
        if not present:
            return limit
        self.least = min(self.least, present)
        queue = math.ceil(limit * (1 - self.least / present))
        if seen.error_ratio > 0:
            return limit - unit
        if 2 * seen.in_flight / max(1, seen.pods) < limit:
            return limit
        if queue <= unit:
            return limit + 6 * unit
        if queue < 3 * unit:
            return limit + unit
        return limit - unit if queue > 6 * unit else limit


@dataclass(slots=True)
class Gradient2(_Limit):
    """Netflix Gradient2Limit, defaults: tolerance 1.5, queue 4, smoothing 0.2, a long average over 600 samples."""

    usual: float = 0.0
    samples: int = 0

    def limit(self, world: World, seen: Measurement, limit: float) -> float:
        """Follow the gradient of the usual over the present time."""
        del world
        present = seen.service_seconds
        if not present:
            return limit
        self.samples += 1
        share = 1 / self.samples if self.samples <= 10 else 2 / 601
        self.usual += (present - self.usual) * share
        if self.usual / present > 2:
            self.usual *= 0.95
        if seen.in_flight / max(1, seen.pods) < limit / 2:
            return limit
        gradient = max(0.5, min(1.0, 1.5 * self.usual / present))
        return max(1.0, limit * 0.8 + (limit * gradient + 4) * 0.2)


@dataclass(slots=True)
class _Replicas:
    """Root of what moves the number of pods: every 15 s, down only to the most wanted in the last 300 s."""

    workload: Workload
    wanted: list[tuple[float, int]] = field(default_factory=list)
    looked_at: float = -math.inf

    def knobs(self, world: World, measured: Measurement | None, missing: str) -> Answer:
        """Scale, and leave the knobs."""
        del missing
        if measured is not None and world.now - self.looked_at >= 15:
            self.looked_at = world.now
            present = world.replicas
            most = min(self.workload.partitions, max(2 * present, present + 4))
            self.wanted.append((world.now, max(self.workload.pods.count, min(most, self.replicas(measured, present)))))
            self.wanted = [each for each in self.wanted if each[0] > world.now - 300]
            world.scale(max(count for _, count in self.wanted))
        return dict(world.knobs), None

    def replicas(self, seen: Measurement, present: int) -> int:
        """Return how many are wanted."""
        raise NotImplementedError


@dataclass(slots=True)
class HpaOnLag(_Replicas):
    """HorizontalPodAutoscaler, an External metric by Value: ceil(replicas x lag / 10,000), tolerance 10 %."""

    def replicas(self, seen: Measurement, present: int) -> int:
        """Scale in proportion to the lag."""
        ratio = seen.backlog / 10_000
        return present if abs(ratio - 1) <= 0.1 else math.ceil(present * ratio)


@dataclass(slots=True)
class KedaLag(_Replicas):
    """KEDA's Kafka scaler: ceil(lag / lagThreshold), at most one pod for each partition; lagThreshold 1,000."""

    def replicas(self, seen: Measurement, present: int) -> int:
        """Divide the lag by what one pod is trusted with."""
        del present
        return math.ceil(seen.backlog / 1_000)


def started(workload: Workload, rival: type) -> Knobs:
    """Return the knobs that a controller begins with: pyrallel's begin at the configured limit, the most allowed."""
    if rival is Profile:
        return profile_start(workload)
    if rival in {PyrallelBackpressure, PyrallelConcurrency}:
        return {**workload.start, Knob.MAX_IN_FLIGHT: workload.bounds[Knob.MAX_IN_FLIGHT][1]}
    return dict(workload.start)
