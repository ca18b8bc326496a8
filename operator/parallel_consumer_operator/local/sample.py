"""What one look at a running ParallelConsumer shows, and the run's summary computed from many looks. Pure."""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PodLook:
    """One pod: its identity, its restarts, and the messages that it finished since its start."""

    uid: str
    restarts: int
    processed: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. `second` counts from the start of the run, `backlog` is in messages, None while unknown."""

    second: float
    pods: tuple[PodLook, ...]
    backlog: int | None
    knobs: dict[str, int] = field(default_factory=dict)
    applied_steps: int = 0
    decision: str = ""
    message: str = ""

    @property
    def processed(self) -> int:
        """Messages finished by all pods together."""
        return sum(pod.processed for pod in self.pods)


@dataclass(frozen=True, slots=True)
class Summary:
    """The run in figures; rates are messages per second, `apply_seconds_max` is the slowest hand-over of a step."""

    messages_offered: int
    messages_processed: int
    lost: int
    steps_applied: int
    apply_seconds_max: float
    pod_restarts: int
    pod_uids_changed: bool
    rate_before: float
    rate_after: float
    backlog_end: int


def rates(samples: Sequence[Sample]) -> list[float]:
    """Return messages per second between each two neighbouring samples (one fewer than samples)."""
    return [
        (later.processed - earlier.processed) / max(later.second - earlier.second, 1e-9)
        for earlier, later in itertools.pairwise(samples)
    ]


def summarize(samples: Sequence[Sample], *, offered: int, backlog_end: int, apply_seconds: Sequence[float]) -> Summary:
    """Return the summary of a run of at least two samples.

    `rate_before` is the median rate while no step was applied and messages were waiting; `rate_after` the median once
    the last step was applied and while messages were waiting: the handler's limit, not the producer's, in both cases.
    """
    processed = samples[-1].processed
    steps = max(sample.applied_steps for sample in samples)
    return Summary(
        messages_offered=offered,
        messages_processed=processed,
        lost=max(0, offered - processed),
        steps_applied=steps,
        apply_seconds_max=round(max(apply_seconds, default=0.0), 3),
        pod_restarts=max(sum(pod.restarts for pod in sample.pods) for sample in samples),
        pod_uids_changed=_uids_changed(samples),
        rate_before=round(_busy_rate(samples, applied_steps=0), 1),
        rate_after=round(_busy_rate(samples, applied_steps=steps), 1),
        backlog_end=backlog_end,
    )


def shortfalls(summary: Summary, *, minimum_steps: int = 2, minimum_gain: float = 4.0) -> list[str]:
    """Return in words what a run missed of what the tuner promises; empty when it kept every promise."""
    checks = {
        f"{summary.lost} messages were lost": summary.lost > 0,
        f"{summary.backlog_end} messages were left": summary.backlog_end > 0,
        f"{summary.steps_applied} steps were applied, {minimum_steps} expected": summary.steps_applied < minimum_steps,
        f"a step took {summary.apply_seconds_max} s to reach all pods, 2 allowed": summary.apply_seconds_max >= 2,  # noqa: PLR2004
        f"pods restarted {summary.pod_restarts} times": summary.pod_restarts > 0,
        "pods were replaced": summary.pod_uids_changed,
        f"the rate went from {summary.rate_before} to {summary.rate_after}, {minimum_gain} x expected": (
            summary.rate_after < minimum_gain * summary.rate_before
        ),
    }
    return [text for text, missed in checks.items() if missed]


def _busy_rate(samples: Sequence[Sample], *, applied_steps: int) -> float:
    busy = [
        rate
        for (earlier, later), rate in zip(itertools.pairwise(samples), rates(samples), strict=True)
        if earlier.applied_steps == later.applied_steps == applied_steps and earlier.processed and later.backlog
    ]
    return statistics.median(busy) if busy else 0.0


def _uids_changed(samples: Sequence[Sample]) -> bool:
    seen: set[str] = set()
    for sample in samples:
        current = {pod.uid for pod in sample.pods}
        if not seen <= current:
            return True
        seen = current
    return False
