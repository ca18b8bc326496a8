"""Members as the driver sees them: start one, give it jobs, hear its progress, and end it with all that it started."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from benchmarks.scenarios.errors import MeasureError
from benchmarks.scenarios.job import Job, Outcome
from consumer_runtime import RuntimeSettings

_ROOT = Path(__file__).resolve().parents[2]
_GRACE_SECONDS = 150.0
"""Beyond the job's own seconds: imports, joining the group, draining, leaving."""
_END_SECONDS = 10.0
_TAIL_LINES = 15
_WARNINGS_AT_MOST = 10
_WARNING_WORDS = ("Warning", "Error", "Traceback", "fork", "deadlock")

Told = Callable[[int], None]


def settings(servers: str, topics: list[str], entrypoint: str, **sections: Any) -> dict[str, Any]:
    """Return runtime settings for a group of its own; `sections` are those of RuntimeSettings."""
    handler = {"entrypoint": entrypoint, "log_context": False}
    made = RuntimeSettings.for_kafka(
        servers, topics=topics, consumer_group=f"bench-{uuid.uuid4().hex[:12]}", handler=handler, **sections
    )
    return made.model_dump(mode="json")


class Member:
    """A process for consumers, one after the other: `with Member() as member: member.run(job)`."""

    def __init__(self, environment: Mapping[str, str] | None = None, *, folder: Path | None = None) -> None:
        """Start it; `environment` is added to this one's, modules of `folder` can be imported."""
        path = [str(each) for each in (folder, _ROOT) if each] + [os.environ.get("PYTHONPATH", "")]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the member
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.scenarios.member"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), **(environment or {})},
            start_new_session=True,
        )
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(at_once=kind is not None)

    def run(self, job: Job, told: Told = lambda _: None) -> Outcome:
        """Return what became of a job; `told` hears how many messages are finished.

        Raises MeasureError: the process ended, or did not answer in time.
        """
        deadline = time.monotonic() + job.seconds + _GRACE_SECONDS
        line = json.dumps({"settings": job.settings, "seconds": job.seconds, "messages": job.messages,
                           "retries": job.retries})  # fmt: skip
        try:
            self._input.write(line.encode() + b"\n")
            self._input.flush()
        except OSError as error:
            raise MeasureError(f"the consumer's process ended early:\n{self._tail()}") from error
        while True:
            answer = json.loads(self._line(deadline))
            if "outcome" in answer:
                return Outcome(**{**answer["outcome"], "warnings": self._warnings()})
            told(answer["progress"])

    def close(self, *, at_once: bool = False) -> None:
        """End the process and what it started; `at_once` in the middle of a job."""
        with contextlib.suppress(OSError):
            self._input.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0 if at_once else _END_SECONDS)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(_END_SECONDS)
        self._output.close()
        self._errors.close()

    @property
    def _input(self) -> Any:
        return self._process.stdin

    @property
    def _output(self) -> Any:
        return self._process.stdout

    def _line(self, deadline: float) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(deadline - time.monotonic(), 0)):
                    raise MeasureError(f"the consumer's process did not answer in time:\n{self._tail()}")
                found = os.read(self._output.fileno(), 65_536)
                if not found:
                    raise MeasureError(f"the consumer's process ended:\n{self._tail()}")
                self._buffer += found
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _lines(self) -> list[str]:
        self._errors.seek(0)
        return self._errors.read().splitlines()

    def _tail(self) -> str:
        return "\n".join(self._lines()[-_TAIL_LINES:])

    def _warnings(self) -> list[str]:
        found = [line for line in self._lines() if any(word in line for word in _WARNING_WORDS)]
        return found[:_WARNINGS_AT_MOST]


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM end a run as Ctrl-C does, so that members are closed and results kept."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
