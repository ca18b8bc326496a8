"""One figure with its target, and one way to start a system for it."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.compare import marks, process_tree
from benchmarks.compare.errors import RunFailedError
from benchmarks.compare.job import Kind, Mode
from benchmarks.compare.measure import job_of, memory_folder, started
from benchmarks.compare.process_tree import Usage
from benchmarks.compare.topics import Contents, Topic, filled
from benchmarks.compare.works import System, Work
from testbed.kafka import Kafka

_START_SECONDS = 60.0
_LOOK_SECONDS = 0.02
HANGING = Work(name="hanging", mode=Mode.ASYNC, kind=Kind.IO, seconds=3_600.0)
"""Work that does not end while anything is measured."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured number, and the bound that it must keep."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    points: dict[str, float] = field(default_factory=dict)
    """What the value was made of."""

    @property
    def is_met(self) -> bool:
        """Return whether the bounds are kept."""
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )

    def document(self) -> dict[str, Any]:
        """Return the figure as plain values."""
        return asdict(self) | {"is_met": self.is_met}


class Bench:
    """The broker, and ours as a process on it."""

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka

    def topic(self, contents: Contents) -> Topic:
        """Return a filled topic. Raises CompareError."""
        return filled(self.kafka, contents)

    @contextlib.contextmanager
    def member(
        self, work: Work, topic: Topic, *, system: System = System.OURS, shared: dict[str, str] | None = None
    ) -> "Iterator[Member]":
        """Run a system for as long as this lasts; `shared` is of another member of the same group."""
        with tempfile.TemporaryDirectory(prefix="figures-", dir=memory_folder()) as folder:
            file, log = Path(folder) / "marks", Path(folder) / "log"
            marks.create(file, topic.messages)
            job = job_of(work, topic, servers=self.kafka.bootstrap_servers, iterations=0, file=file)
            job = replace(job, group=shared["group"], marks=shared["marks"]) if shared else job
            with started(system, work, job, log) as process:
                yield Member(pid=process.pid, shared={"group": job.group, "marks": job.marks}, kill=process.kill)


@dataclass(frozen=True, kw_only=True)
class Member:
    """A running process of ours."""

    pid: int
    shared: dict[str, str]
    """What another member of the same group is given."""
    kill: Callable[[], None]

    def usage(self) -> Usage:
        """Return what it and its workers have used."""
        return process_tree.usage(self.pid)

    def seen(self) -> int:
        """Return how many messages have been run, by all members."""
        return marks.progress(marks.mapped(self.shared["marks"]))

    def until(self, condition: Callable[[], bool], what: str, seconds: float = _START_SECONDS) -> None:
        """Wait. Raises RunFailedError when the time is up."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise RunFailedError(f"{what}: not within {seconds:g} s, {self.seen()} messages done")
            time.sleep(_LOOK_SECONDS)

    def rate(self, seconds: float) -> float:
        """Return messages per second from now on."""
        before, begun = self.seen(), time.monotonic()
        time.sleep(seconds)
        return (self.seen() - before) / (time.monotonic() - begun)

    def cpu_percent(self, seconds: float) -> float:
        """Return the share of one core that it uses from now on."""
        before, begun = self.usage().cpu_seconds, time.monotonic()
        time.sleep(seconds)
        return 100 * (self.usage().cpu_seconds - before) / (time.monotonic() - begun)
