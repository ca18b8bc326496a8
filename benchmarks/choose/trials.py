"""The handler in every mode, each at a ladder of concurrencies. Not here: what follows from it (`advice`)."""

import os
from dataclasses import dataclass

from benchmarks.scenarios.errors import MeasureError
from benchmarks.scenarios.job import Job, Outcome
from benchmarks.scenarios.measure import Member, settings
from consumer_runtime.contract.settings import Mode, Ordering

CORES = len(os.sched_getaffinity(0))
POLL_BATCH_SIZE = 500
_TASK_TIMEOUT_MS = 60_000


POOLED = frozenset({Mode.THREAD, Mode.PROCESS})


@dataclass(frozen=True)
class Trial:
    """A mode at one concurrency: in flight for async, workers for thread and process."""

    mode: Mode
    at_once: int

    @property
    def execution(self) -> dict[str, object]:
        """The section of RuntimeSettings; workers get a few messages ahead each."""
        ahead = {Mode.THREAD: 4, Mode.PROCESS: 64}.get(self.mode, 1)
        pool = {"worker_pool_size": self.at_once} if self.mode in POOLED else {}
        return {
            "mode": self.mode,
            "max_in_flight": self.at_once * ahead if self.mode is not Mode.SINGLE else 256,
            **pool,
            "poll_batch_size": POLL_BATCH_SIZE,
            "task_timeout_ms": _TASK_TIMEOUT_MS,
            "shutdown_grace_seconds": 5,
        }


@dataclass(frozen=True)
class Tried:
    """What a trial gave."""

    trial: Trial
    rate: float
    """Messages per second that succeeded."""
    handler_ms_p99: float
    """Of the handler alone, interpolated within the runtime's buckets."""
    cpu_share: float
    """CPU seconds per second, over all processes: 1 is one core."""
    rss_mb: float
    failed: int = 0
    succeeded: int = 0
    reason_not: str = ""
    """Why the mode cannot run this handler."""


def ladders(*, is_async: bool, cores: int = CORES) -> dict[Mode, list[Trial]]:
    """Return what to try: coroutines only where the handler is one, up to 256 threads, up to twice the cores."""
    steps = {
        Mode.SINGLE: [1],
        Mode.ASYNC: [1, 16, 64, 256, 1_024] if is_async else [],
        Mode.THREAD: [] if is_async else [1, 4, 16, 64, 256],
        Mode.PROCESS: sorted({1, max(cores // 2, 1), cores, 2 * cores}),
    }
    return {mode: [Trial(mode, each) for each in numbers] for mode, numbers in steps.items() if numbers}


def tried(
    servers: str, topic: str, trial: Trial, *, entrypoint: str, messages: int, seconds: float, ordering: Ordering
) -> Tried:
    """Return what a trial gives in so many seconds, or until the messages are used up."""
    execution = {**trial.execution, "ordering": ordering}
    made = settings(servers, [topic], entrypoint, execution=execution, retry={"max_retries": 0})
    try:
        with Member() as member:
            return _of(trial, member.run(Job(settings=made, seconds=seconds, messages=messages)))
    except MeasureError as error:
        return Tried(trial, 0, 0, 0, 0, reason_not=str(error))


def _of(trial: Trial, outcome: Outcome) -> Tried:
    seconds = max(outcome.seconds, 1e-9)
    return Tried(
        trial,
        rate=outcome.succeeded / seconds,
        handler_ms_p99=outcome.handler_ms.get("p99", 0.0),
        cpu_share=outcome.cpu_share,
        rss_mb=outcome.rss_peak_mb,
        failed=outcome.failed + outcome.dead_lettered,
        succeeded=outcome.succeeded,
        reason_not=outcome.error,
    )
