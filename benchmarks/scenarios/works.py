"""What a job does: one handler for each workload, in the forms that the strategies need.

Seconds of work come from the environment, so that worker processes know them too. CPU work counts the CPU time of its
own thread: a loop until a time of the clock would let ten threads that share one core all claim to have worked.
"""

import asyncio
import contextlib
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from benchmarks.scenarios.model import Strategy, Workload
from consumer_runtime import Message, cpu_bound, io_bound

SECONDS_VARIABLE = "SCENARIO_WORK_SECONDS"
_FILE_BYTES = 65_536
_THREADS = 2
_TURNS = 2_000
_MASK = 0x7FFFFFFF
_POOL = ThreadPoolExecutor(256)
"""Its threads start when they are needed; asyncio's own pool would let 6 at a time through on 2 cores."""


def entrypoint(strategy: Strategy, workload: Workload) -> str:
    """Return where the handler is. Mode auto gets one that gives a hint: `async def`, or a decorator."""
    if strategy is Strategy.AUTO:
        return f"{__name__}:{_HINTED[workload]}"
    return f"{__name__}:{workload}_{'awaited' if strategy is Strategy.ASYNC else 'called'}"


def _seconds() -> float:
    return float(os.environ.get(SECONDS_VARIABLE, "0"))


def compute(seconds: float) -> None:
    """Keep a core busy for so many seconds of this thread's CPU time."""
    ends, value = time.thread_time() + seconds, 1
    while time.thread_time() < ends:
        for __ in range(_TURNS):
            value = (value * 1_103_515_245 + 12_345) & _MASK


def cpu_called(_: Message) -> None:
    """Compute."""
    compute(_seconds())


async def cpu_awaited(_: Message) -> None:
    """Compute on the event loop, which nothing else can use meanwhile."""
    compute(_seconds())


@cpu_bound
def cpu_hinted(_: Message) -> None:
    """Compute, and say so."""
    compute(_seconds())


@contextlib.contextmanager
def _file() -> Iterator[float]:
    """Write a file and read it again; yield the seconds that are left of the work, for which the device is waited."""
    ends = time.monotonic() + _seconds()
    with tempfile.TemporaryFile() as file:
        file.write(bytes(_FILE_BYTES))
        file.seek(0)
        if len(file.read()) != _FILE_BYTES:
            raise OSError(f"the file does not have the {_FILE_BYTES} bytes that were written")
        yield max(ends - time.monotonic(), 0.0)


def io_called(_: Message) -> None:
    """Write, read, and wait for the rest of the time."""
    with _file() as left:
        time.sleep(left)


async def io_awaited(_: Message) -> None:
    """Write, read, and await the rest of the time."""
    with _file() as left:
        await asyncio.sleep(left)


def _sleep() -> list[str]:
    return ["sleep", f"{_seconds():g}"]


def subprocess_called(_: Message) -> None:
    """Run `sleep`."""
    subprocess.run(_sleep(), check=True)


async def subprocess_awaited(_: Message) -> None:
    """Run `sleep` and await its end."""
    process = await asyncio.create_subprocess_exec(*_sleep())
    if status := await process.wait():
        raise subprocess.CalledProcessError(status, _sleep())


def subprocess_threaded_called(_: Message) -> None:
    """Run `sleep` from two threads of the job's own at once."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            subprocess_called(_)
        except (OSError, subprocess.SubprocessError) as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for __ in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@io_bound
def subprocess_threaded_hinted(_: Message) -> None:
    """Run `sleep` from two threads, and say that it waits."""
    subprocess_threaded_called(_)


async def subprocess_threaded_awaited(_: Message) -> None:
    """Await two threads that run `sleep`."""
    run = asyncio.get_running_loop().run_in_executor
    await asyncio.gather(*(run(_POOL, subprocess_called, _) for __ in range(_THREADS)))


_HINTED = {
    Workload.CPU: cpu_hinted.__name__,
    Workload.IO: io_awaited.__name__,
    Workload.SUBPROCESS: subprocess_awaited.__name__,
    Workload.SUBPROCESS_THREADED: subprocess_threaded_hinted.__name__,
}
