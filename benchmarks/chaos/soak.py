"""Ten minutes of one mode without faults from outside: nothing may be lost, and nothing may grow.

The samples and what is concluded from them. The load itself is a case of family calm, run by `runner`.
"""

import contextlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.chaos.plan import Case, Family, Protocol
from benchmarks.chaos.runner import Outcome
from benchmarks.chaos.stage import Stage
from consumer_runtime.contract.settings import Mode, Ordering

SECONDS = 600.0
RATE_PER_SECOND = 500
"""Four soaks run side by side, with their Kafka, on two cores."""
SAMPLE_EVERY_SECONDS = 2.0
WARM_UP_SHARE = 0.25
"""The first quarter is left out: imports, pools and the allocator's arenas fill up."""
RSS_GROWTH_PERCENT_AT_MOST = 3.0
DESCRIPTOR_GROWTH_AT_MOST = 2.0
THREAD_GROWTH_AT_MOST = 1.0
_SHOWN_EVERY = 15
"""Samples; every 30 s one is told."""
_PAGE_BYTES = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The consumers of a case together, with their workers."""

    at_seconds: float
    rss_bytes: int
    descriptors: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How much a straight line through the samples (least squares) rises from its first to its last one."""

    rss_percent: float
    rss_bytes_mean: float
    descriptors: float
    threads: float

    @property
    def failures(self) -> list[str]:
        """Return what grew, in words."""
        limits = (
            ("rss_percent", self.rss_percent, RSS_GROWTH_PERCENT_AT_MOST),
            ("descriptors", self.descriptors, DESCRIPTOR_GROWTH_AT_MOST),
            ("threads", self.threads, THREAD_GROWTH_AT_MOST),
        )
        return [f"{name} grew by {value:.2f}, at most {limit}" for name, value, limit in limits if value > limit]


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakOutcome:
    """What came of a soak."""

    outcome: Outcome
    growth: Growth
    samples: Sequence[Sample] = ()

    @property
    def failures(self) -> list[str]:
        """Return broken promises and growth."""
        return [*self.outcome.verdict.failures, *self.growth.failures]

    def document(self) -> dict[str, Any]:
        """Return what a report of a case has to be told in addition."""
        shown = self.samples[::_SHOWN_EVERY]
        return {
            "growth": asdict(self.growth),
            "rss_mib": [round(each.rss_bytes / 2**20, 1) for each in shown],
            "failures": self.failures,
        }


class Sampler:
    """Called at every tick of a case; takes a sample when one is due."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self._next = 0.0

    def __call__(self, stage: Stage) -> None:
        """Sample the case's processes, every two seconds while messages are sent."""
        now = time.monotonic() - stage.started
        if now >= self._next and stage.load.is_alive():
            self._next = now + SAMPLE_EVERY_SECONDS
            self.samples.append(sample(now, stage.group.pids))


def soak_case(mode: Mode, *, seed: int, seconds: float = SECONDS) -> Case:
    """Return the load of a soak."""
    return Case(
        mode=mode,
        ordering=Ordering.KEY,
        protocol=Protocol.COOPERATIVE,
        families=(Family.CALM,),
        seed=seed,
        messages=int(seconds * RATE_PER_SECOND),
        seconds=seconds,
    )


def sample(at_seconds: float, pids: Iterable[int]) -> Sample:
    """Return what the processes and their descendants use now; one that ends meanwhile counts nothing."""
    tree = [Path(f"/proc/{pid}") for pid in _with_descendants(pids)]
    return Sample(
        at_seconds=at_seconds,
        rss_bytes=sum(_rss_bytes(each) for each in tree),
        descriptors=sum(_entries(each / "fd") for each in tree),
        threads=sum(_entries(each / "task") for each in tree),
    )


def growth(samples: Sequence[Sample]) -> Growth:
    """Return the growth after the warm-up; raises ValueError for fewer than three samples there."""
    first = samples[0].at_seconds + (samples[-1].at_seconds - samples[0].at_seconds) * WARM_UP_SHARE if samples else 0
    warm = [each for each in samples if each.at_seconds >= first]
    if len(warm) < 3:
        raise ValueError(f"{len(warm)} samples after the warm-up are too few for a line")
    times = [each.at_seconds for each in warm]
    mean = sum(each.rss_bytes for each in warm) / len(warm)
    return Growth(
        rss_percent=100.0 * rise(times, [each.rss_bytes for each in warm]) / mean,
        rss_bytes_mean=mean,
        descriptors=rise(times, [each.descriptors for each in warm]),
        threads=rise(times, [each.threads for each in warm]),
    )


def rise(times: Sequence[float], values: Sequence[float]) -> float:
    """Return how much the least-squares line through the points rises from the first time to the last."""
    middle, mean = sum(times) / len(times), sum(values) / len(values)
    spread = sum((at - middle) ** 2 for at in times)
    slope = sum((at - middle) * (value - mean) for at, value in zip(times, values, strict=True)) / spread
    return slope * (times[-1] - times[0])


def _with_descendants(pids: Iterable[int]) -> set[int]:
    found, waiting = set(), list(pids)
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        for task in _listed(Path(f"/proc/{pid}/task")):
            with contextlib.suppress(OSError):
                waiting.extend(map(int, (task / "children").read_text().split()))
    return found


def _rss_bytes(process: Path) -> int:
    with contextlib.suppress(OSError):
        return int((process / "statm").read_text().split()[1]) * _PAGE_BYTES
    return 0


def _entries(folder: Path) -> int:
    return len(_listed(folder))


def _listed(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return list(folder.iterdir())
    return []
