"""What one system is told for one run: JSON in an environment variable, which worker processes inherit.

Standard library only: peers read it in environments of their own.
"""

import json
import os
from dataclasses import asdict, dataclass
from enum import StrEnum

VARIABLE = "COMPARE_JOB"


class Kind(StrEnum):
    """What a handler does with a message."""

    NOOP = "noop"
    IO = "io"
    """Waits, without holding a core."""
    CPU = "cpu"
    """Computes, holding the interpreter."""


class Ordering(StrEnum):
    """Which messages wait for each other."""

    KEY = "key"
    UNORDERED = "unordered"


class Mode(StrEnum):
    """How a system runs its handler; each has those that it has."""

    SINGLE = "single"
    ASYNC = "async"
    THREAD = "thread"
    PROCESS = "process"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of one system."""

    bootstrap_servers: str
    topic: str
    group: str
    mode: Mode
    ordering: Ordering
    kind: Kind
    work_seconds: float
    """Of each I/O call."""
    iterations: int
    """Turns of the computing loop for each CPU call, calibrated by the driver for all systems alike."""
    max_in_flight: int
    batch_size: int
    """Messages asked of the Kafka client at once, and of one batch to a worker process where there is one."""
    workers: int
    marks: str
    """File that every handler marks (`marks`)."""
    bases: tuple[int, ...]
    """Index of the first mark of each partition."""
    process_batch_size: int = 256
    process_queue_size: int = 4_096
    """Of ours in mode process."""
    times: str = ""
    """File that every handler writes its begin and end to (`marks.Times`), where latency is measured."""

    def environment(self) -> dict[str, str]:
        """Return the variable that `of_environment` reads."""
        return {VARIABLE: json.dumps(asdict(self))}


def of_environment() -> Job:
    """Return the job that this process was started for. Raises KeyError when the driver did not start it."""
    given = json.loads(os.environ[VARIABLE])
    given |= {"mode": Mode(given["mode"]), "ordering": Ordering(given["ordering"]), "kind": Kind(given["kind"])}
    return Job(**given | {"bases": tuple(given["bases"])})
