"""The one handler of each work, for every Python system: does the work, then marks the message.

`handle` is for systems that call functions, `handle_async` for those that await coroutines; both take any object with
`partition` and `offset`, and are made for the job in this process's environment when they are first asked for. A mark
costs about 70 ns, the same for all.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.compare import job as jobs
from benchmarks.compare import marks
from benchmarks.compare.job import Job, Kind

_SHORTEST_WAIT_SECONDS = 0.001
"""Loops count in milliseconds: uvloop rounds 0.5 ms to nothing, and asyncio's own makes 1 ms of it. So a shorter wait
is one of 1 ms; and who came too early all the same waits as much again, since a wait of what is left would be a spin of
every call in flight, which is no I/O."""
_MULTIPLIER, _ADDEND, _MASK = 1_103_515_245, 12_345, 0x7FFFFFFF


def compute(iterations: int) -> int:
    """Run a generator of pseudo-random numbers: work that cannot be left out without its result being wrong."""
    value = 1
    for _ in range(iterations):
        value = (value * _MULTIPLIER + _ADDEND) & _MASK
    return value


def iterations_of(seconds: float) -> int:
    """Calibrate: turns of `compute` in `seconds` of a core of this machine; the best of five, by CPU time."""
    probe = 200_000
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        compute(probe)
        best = min(best, time.process_time() - started)
    return max(int(seconds * probe / best), 1)


def made(job: Job) -> Callable[[Any], None]:
    """Return the function that does this job's work."""
    marked, bases = marks.mapped(job.marks), job.bases
    seconds, iterations = job.work_seconds, job.iterations
    expected = compute(iterations) if job.kind is Kind.CPU else 0

    def noop(message: Any) -> None:
        marked[bases[message.partition] + message.offset] += 1

    def wait(message: Any) -> None:
        time.sleep(seconds)
        marked[bases[message.partition] + message.offset] += 1

    def calculate(message: Any) -> None:
        if compute(iterations) == expected:
            marked[bases[message.partition] + message.offset] += 1

    handle = {Kind.NOOP: noop, Kind.IO: wait, Kind.CPU: calculate}[job.kind]
    return _timed(job, handle) if job.times else handle


def made_async(job: Job) -> Callable[[Any], Awaitable[None]]:
    """Return the coroutine function that does this job's work."""
    marked, bases, seconds = marks.mapped(job.marks), job.bases, job.work_seconds
    clock, pause = time.monotonic, max(seconds, _SHORTEST_WAIT_SECONDS)

    async def noop(message: Any) -> None:
        marked[bases[message.partition] + message.offset] += 1

    async def wait(message: Any) -> None:
        ends = clock() + seconds
        await asyncio.sleep(pause)
        while clock() < ends:  # noqa: ASYNC110 - a clock has no event
            await asyncio.sleep(_SHORTEST_WAIT_SECONDS)
        marked[bases[message.partition] + message.offset] += 1

    handle = wait if job.kind is Kind.IO else noop
    return _timed_async(job, handle) if job.times else handle


def _timed(job: Job, handle: Callable[[Any], None]) -> Callable[[Any], None]:
    times, bases, clock = marks.times(job.times), job.bases, time.time

    def timed(message: Any) -> None:
        place = 2 * (bases[message.partition] + message.offset)
        times[place] = clock()
        handle(message)
        times[place + 1] = clock()

    return timed


def _timed_async(job: Job, handle: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
    times, bases, clock = marks.times(job.times), job.bases, time.time

    async def timed(message: Any) -> None:
        place = 2 * (bases[message.partition] + message.offset)
        times[place] = clock()
        await handle(message)
        times[place + 1] = clock()

    return timed


def __getattr__(name: str) -> Any:
    """Make `handle` or `handle_async` for the job in the environment; once."""
    makers: dict[str, Callable[[Job], Any]] = {"handle": made, "handle_async": made_async}
    if name not in makers:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    handler = makers[name](jobs.of_environment())
    globals()[name] = handler
    return handler
