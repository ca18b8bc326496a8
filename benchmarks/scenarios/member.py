"""`python -m benchmarks.scenarios.member`: one consumer's process; a JSON job per line in, JSON lines out.

Standard output belongs to the answers; what a handler prints goes to standard error. Not for people.
"""

import contextlib
import json
import logging
import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

import structlog

from benchmarks.compare.process_tree import usage
from benchmarks.percentile import percentile
from benchmarks.scenarios.job import MEGABYTE, Job, Outcome
from benchmarks.scenarios.latency import Latencies
from consumer_runtime import ConsumerError, ParallelConsumer, RuntimeSettings
from consumer_runtime.contract.metrics import Status
from consumer_runtime.statistics import Histogram, Statistics

_LOOK_SECONDS = 0.002
_TELL_SECONDS = 0.25
_ASSIGNED_WITHIN_SECONDS = 60.0
_IMPORTED_AT = time.clock_gettime(time.CLOCK_BOOTTIME)


def _import_seconds() -> float:
    """Return how long ago, at the end of the imports, this process was started."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return _IMPORTED_AT - ticks / os.sysconf("SC_CLK_TCK")


class _Watch(threading.Thread):
    """Looks at a consumer from beside, tells how far it is, and stops it at the job's end."""

    def __init__(self, job: Job, consumer: ParallelConsumer, answers: TextIO) -> None:
        super().__init__(daemon=True)
        self.reached = False
        self.seconds = self.cpu_seconds = self.join_seconds = 0.0
        self.peak_bytes = self.end_bytes = 0
        self.timeline: list[list[float]] = []
        self.mode, self.mode_reason = "", ""
        self._job, self._consumer, self._answers = job, consumer, answers
        self._told_at = 0.0

    def run(self) -> None:
        """Look until the job is done, or until nobody listens any more: a killed driver leaves no consumer behind."""
        try:
            self._look()
        except BrokenPipeError:
            pass
        finally:
            self._consumer.stop()

    def _look(self) -> None:
        called_at = time.monotonic()
        if self._await_partitions(called_at):
            started = time.monotonic()
            self.join_seconds = started - called_at
            cpu_before = usage(os.getpid()).cpu_seconds
            # Looking costs one percent of a core: too much beside an idle consumer, which ends by time alone.
            pause = _TELL_SECONDS if self._job.messages is None and self._job.retries is None else _LOOK_SECONDS
            while not self._is_done(time.monotonic() - started):
                time.sleep(pause)
            self.seconds = time.monotonic() - started
            self._tell(self.seconds, at_once=True)
            self.cpu_seconds = usage(os.getpid()).cpu_seconds - cpu_before
            state = self._consumer.state()
            self.mode, self.mode_reason = str(state.mode), state.mode_reason

    def _await_partitions(self, called_at: float) -> bool:
        while not self._consumer.state().assigned_partitions:
            if time.monotonic() - called_at > _ASSIGNED_WITHIN_SECONDS:
                return False
            time.sleep(0.001)
        return True

    def _is_done(self, elapsed: float) -> bool:
        statistics, job = self._consumer.statistics, self._job
        finished = sum(statistics.processed.copy().values())
        by_messages = job.messages is not None and finished >= job.messages
        by_retries = job.retries is not None and sum(statistics.retries.values()) >= job.retries
        self.reached = by_messages or by_retries
        self._tell(elapsed)
        return self.reached or elapsed >= job.seconds

    def _tell(self, elapsed: float, *, at_once: bool = False) -> None:
        if not at_once and elapsed - self._told_at < _TELL_SECONDS and self.timeline:
            return
        self._told_at = elapsed
        snapshot = self._consumer.statistics.snapshot()
        used = usage(os.getpid())
        self.end_bytes = used.rss_bytes
        self.peak_bytes = max(self.peak_bytes, self.end_bytes)
        self.timeline.append([round(elapsed, 3), snapshot.finished(), snapshot.retried, used.cpu_seconds])
        _answer(self._answers, {"progress": snapshot.finished()})


def _answer(answers: TextIO, value: dict[str, object]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


def perform(job: Job, answers: TextIO) -> Outcome:
    """Run the consumer of a job and return what was seen."""
    before = usage(os.getpid()).rss_bytes
    called_at = time.monotonic()
    latencies = Latencies()
    try:
        settings = RuntimeSettings.model_validate(job.settings)
        consumer = ParallelConsumer(settings, statistics=Statistics(processing_latency=latencies))
        init_seconds = time.monotonic() - called_at
        watch = _Watch(job, consumer, answers)
        watch.start()
        consumer.run()
        watch.join()
    except (ConsumerError, ValueError) as error:
        return Outcome(seconds=0.0, reached=False, error=str(error))
    counts = consumer.statistics.snapshot()
    return Outcome(
        seconds=latencies.seconds or watch.seconds,
        reached=watch.reached,
        error="" if watch.seconds else f"no partitions within {_ASSIGNED_WITHIN_SECONDS:g} s",
        succeeded=counts.finished(Status.SUCCESS),
        failed=counts.finished(Status.FAILED),
        dead_lettered=counts.finished(Status.DEAD_LETTERED),
        retried=counts.retried,
        latency_ms=latencies.summary_ms(),
        handler_ms=_handler_ms(counts.handler_seconds),
        mode=watch.mode,
        mode_reason=watch.mode_reason,
        import_seconds=_import_seconds(),
        init_seconds=init_seconds,
        join_seconds=watch.join_seconds,
        cpu_seconds=watch.cpu_seconds,
        cpu_share=watch.cpu_seconds / max(watch.seconds, 1e-9),
        rss_before_mb=before / MEGABYTE,
        rss_peak_mb=max(watch.peak_bytes, before) / MEGABYTE,
        rss_end_mb=watch.end_bytes / MEGABYTE,
        max_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEGABYTE,
        pauses=counts.pauses,
        timeline=watch.timeline,
    )


def _handler_ms(found: Histogram) -> dict[str, float]:
    p99 = percentile(found.bounds, found.counts, 0.99)
    return {} if p99 is None else {"average": 1e3 * found.total_seconds / found.count, "p99": 1e3 * p99}


def main() -> None:
    """Answer jobs until standard input ends."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with contextlib.suppress(BrokenPipeError):
        for line in sys.stdin:
            outcome = perform(Job(**json.loads(line)), answers)
            _answer(answers, {"outcome": outcome.as_json()})


if __name__ == "__main__":
    main()
