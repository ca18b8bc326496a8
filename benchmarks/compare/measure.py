"""One run: start a system, watch its marks until it is warm, then for a window; end it and see that it was right."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.compare import marks, process_tree
from benchmarks.compare.environments import ROOT, launch
from benchmarks.compare.errors import RunFailedError
from benchmarks.compare.job import Job, Kind
from benchmarks.compare.marks import Tally
from benchmarks.compare.process_tree import Usage
from benchmarks.compare.topics import Topic
from benchmarks.compare.works import Size, System, Work

_SAMPLE_SECONDS = 0.25
"""A look costs 1 to 5 ms of a core that the systems want too: 20 a second were 2 to 10 % of it."""
_SHORT_SAMPLE_SECONDS = 0.005
_START_SECONDS = 60.0
_STILL_SECONDS = 20.0
_END_SECONDS = 45.0
_WARM_SHARE_AT_MOST = 0.4


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long one run takes, in seconds."""

    warm: float
    warm_java: float
    window: float
    latency: float = 10.0
    """Of an open loop at half load."""

    def warm_of(self, system: System) -> float:
        """Return what is discarded at the beginning: the JVM compiles for half a minute."""
        return self.warm_java if system in (System.JAVA, System.JAVA_DEFAULT) else self.warm


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A moment of a run."""

    at: float
    seen: int
    usage: Usage


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """One run. `messages` and `cpu_seconds` are of the window, `tally` and `rss_mb` of the whole run."""

    messages: int
    seconds: float
    msgs_per_second: float
    cpu_seconds: float
    rss_mb: float
    seen: int
    missing: int
    twice: int
    is_whole: bool
    """Whether the topic was consumed to its end, so that nothing may be missing."""


class _Watched:
    """A running system and what it has done so far."""

    def __init__(self, process: "subprocess.Popen[bytes]", file: Path, log: Path) -> None:
        self.process = process
        self.marks = marks.mapped(file)
        self.log = log
        self.peak_rss = 0

    def sample(self) -> Sample:
        usage = process_tree.usage(self.process.pid)
        self.peak_rss = max(self.peak_rss, usage.rss_bytes)
        return Sample(at=time.monotonic(), seen=marks.progress(self.marks), usage=usage)

    def require_running(self, what: str) -> None:
        if self.process.poll() is not None:
            tail = self.log.read_text(errors="replace")[-800:]
            raise RunFailedError(f"{what} ended by itself with code {self.process.returncode}: {tail}")


def run(system: System, work: Work, topic: Topic, *, servers: str, iterations: int, pace: Pace) -> RunResult:
    """Run a system on a topic once. Raises RunFailedError, PeerUnavailableError."""
    what = f"{system.value} on {work.title}"
    with tempfile.TemporaryDirectory(prefix="compare-", dir=memory_folder()) as folder:
        file, log = Path(folder) / "marks", Path(folder) / "log"
        marks.create(file, topic.messages)
        job = job_of(work, topic, servers=servers, iterations=iterations, file=file)
        with started(system, work, job, log) as process:
            watched = _Watched(process, file, log)
            first, last = _window(watched, system, work, topic, pace, what)
            ended(watched.process, what)
            found = marks.tally(watched.marks, topic.messages)
        return _judged(found, first, last, watched, topic, work, what)


def memory_folder() -> str | None:
    """Return where files are memory, or None for the usual place of temporary files."""
    shared = Path("/dev/shm")  # noqa: S108 - marks belong into memory; the folder inside has a name of its own
    return str(shared) if os.access(shared, os.W_OK) else None


def job_of(work: Work, topic: Topic, *, servers: str, iterations: int, file: Path, times: Path | None = None) -> Job:
    """Return the job of one run, with a group of its own."""
    return Job(
        bootstrap_servers=servers,
        topic=topic.name,
        group=f"compare-{os.getpid()}-{time.monotonic_ns()}",
        mode=work.mode,
        ordering=work.ordering,
        kind=work.kind,
        work_seconds=work.seconds,
        iterations=iterations,
        max_in_flight=work.max_in_flight,
        batch_size=work.batch_size,
        workers=work.workers,
        process_batch_size=work.process_batch_size,
        process_queue_size=work.process_queue_size,
        marks=str(file),
        bases=topic.bases,
        times=str(times or ""),
    )


@contextlib.contextmanager
def started(system: System, work: Work, job: Job, log: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a system for as long as this lasts, then end all of it. Raises PeerUnavailableError, RunFailedError."""
    launched = launch(system, work, job)
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                launched.command, env={**os.environ, **launched.environment}, cwd=ROOT, stdout=output, stderr=output
            )
        except OSError as error:
            raise RunFailedError(f"{system.value} on {work.title} cannot be started: {error}") from error
        try:
            yield process
        finally:
            end_tree(process)


def end_tree(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and all below it: workers left by a failed system would take cores from those measured later."""
    left = process_tree.tree(process.pid)
    process.kill()
    process.wait()
    for pid in left[1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _window(
    watched: _Watched, system: System, work: Work, topic: Topic, pace: Pace, what: str
) -> tuple[Sample, Sample]:
    """Return the moments between which is measured; the whole run for a work that ends with its last message."""
    is_short = work.size is Size.SHORT
    begun = _until_first(watched, what)
    warm_until = 0.0 if is_short else begun.at + pace.warm_of(system)
    sample = begun
    while sample.at < warm_until and sample.seen < topic.messages * _WARM_SHARE_AT_MOST:
        sample = _next(watched, sample, what, _pause(begun, sample, topic))
    first = sample
    while sample.seen < topic.messages and (is_short or sample.at < first.at + pace.window):
        sample = _next(watched, sample, what, _SHORT_SAMPLE_SECONDS if is_short else _pause(begun, sample, topic))
    return first, sample


def _pause(begun: Sample, last: Sample, topic: Topic) -> float:
    """Return how long to look away: not past a quarter of what is left of the topic, at the rate so far."""
    rate = (last.seen - begun.seen) / max(last.at - begun.at, 1e-9)
    left = (topic.messages - last.seen) / rate if rate else 0.0
    return min(max(left / 4, _SHORT_SAMPLE_SECONDS), _SAMPLE_SECONDS)


def _until_first(watched: _Watched, what: str) -> Sample:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        sample = watched.sample()
        if sample.seen:
            return sample
        watched.require_running(what)
        if sample.at > deadline:
            raise RunFailedError(f"{what} finished nothing within {_START_SECONDS:g} s of its start")
        time.sleep(_SHORT_SAMPLE_SECONDS)


def _next(watched: _Watched, before: Sample, what: str, seconds: float) -> Sample:
    """Return the next sample with progress."""
    deadline = before.at + _STILL_SECONDS
    while True:
        time.sleep(seconds)
        sample = watched.sample()
        watched.require_running(what)
        if sample.seen > before.seen:
            return sample
        if sample.at > deadline:
            raise RunFailedError(f"{what} stands still at {sample.seen} messages for {_STILL_SECONDS:g} s")


def ended(process: "subprocess.Popen[bytes]", what: str) -> None:
    """Let a system come to its end. Raises RunFailedError."""
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise RunFailedError(f"{what} did not end within {_END_SECONDS:g} s of SIGTERM") from error


def _judged(
    found: Tally, first: Sample, last: Sample, watched: _Watched, topic: Topic, work: Work, what: str
) -> RunResult:
    is_whole = last.seen >= topic.messages
    if found.twice or (is_whole and found.missing):
        raise RunFailedError(f"{what}: {found.missing} messages missing, {found.twice} run twice: void")
    is_short = work.size is Size.SHORT
    # A short work begins with its first dispatch: one unit of work before its first mark.
    messages = last.seen if is_short else last.seen - first.seen
    seconds = last.at - first.at + (work.seconds if is_short else 0.0)
    cpu = last.usage.cpu_seconds - (0.0 if is_short else first.usage.cpu_seconds)
    _require_work(work, messages, cpu, what)
    return RunResult(
        messages=messages,
        seconds=seconds,
        msgs_per_second=messages / max(seconds, 1e-9),
        cpu_seconds=cpu,
        rss_mb=watched.peak_rss / 1_048_576,
        seen=found.seen,
        missing=found.missing,
        twice=found.twice,
        is_whole=is_whole,
    )


def _require_work(work: Work, messages: int, cpu_seconds: float, what: str) -> None:
    """Refuse a run that cannot have computed what it says: half of the calibrated time is beyond any clock's error."""
    if work.kind is Kind.CPU and cpu_seconds < 0.5 * messages * work.seconds:
        raise RunFailedError(f"{what}: {cpu_seconds:.1f} s of CPU cannot have done the work of {messages} messages")
