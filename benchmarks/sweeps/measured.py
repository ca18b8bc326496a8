"""What the sweeps measure, point by point."""

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from benchmarks.scenarios.broker import Broker
from benchmarks.scenarios.errors import MeasureError
from benchmarks.scenarios.job import Job, Outcome
from benchmarks.scenarios.measure import Member, settings
from benchmarks.sweeps import handlers

Row = dict[str, Any]
PREFETCH_SIZES = tuple(range(100, 1_301, 200))
PREFETCH_MESSAGES = (2_000, 8_000, 80_000)
POOL_SIZES = (1, 2, 3, 4, 8, 16, 32, 64, 128)
_TIMEOUT_SECONDS = 120.0
_QUEUE = "queued.min.messages"
_MODES = {"inline": ("single", handlers.nothing), "async": ("async", handlers.nothing_async)}


@dataclass(frozen=True)
class Point:
    """One cell of the prefetch table."""

    messages: int
    how: str
    size: int
    repeats: int

    @property
    def key(self) -> str:
        """Under which it is kept."""
        return f"{self.messages}/{self.how}/{self.size}x{self.repeats}"


def prefetch_points(messages: tuple[int, ...], sizes: tuple[int, ...], *, repeats: int) -> list[Point]:
    """Return the table's cells."""
    return [Point(count, how, size, repeats) for count, how, size in product(messages, _MODES, sizes)]


def prefetch(broker: Broker, points: list[Point], *, told: Callable[[Point], None]) -> Iterator[Row]:
    """Yield each cell: seconds of every repeat, and their spread. Raises MeasureError."""
    with Member() as member:
        for point in points:
            topic = broker.filled("prefetch", point.messages)
            told(point)
            seconds = [_drained(member, broker, topic, point).seconds for _ in range(point.repeats)]
            yield {"key": point.key, "messages": point.messages, "how": point.how, "size": point.size,
                   "seconds": [round(each, 3) for each in seconds], **_spread(point.messages, seconds)}  # fmt: skip


def _drained(member: Member, broker: Broker, topic: str, point: Point) -> Outcome:
    mode, handler = _MODES[point.how]
    told = settings(
        broker.servers,
        [topic],
        f"{handlers.__name__}:{handler.__name__}",
        execution={"mode": mode, "ordering": "unordered", "poll_batch_size": point.size, "max_in_flight": 2_000},
    )
    told["source"]["kafka"]["properties"] = {_QUEUE: point.size}
    return _well(member.run(Job(settings=told, seconds=_TIMEOUT_SECONDS, messages=point.messages)), point.messages)


def _spread(messages: int, seconds: list[float]) -> Row:
    rates = [messages / each for each in seconds]
    return {
        "seconds_avg": round(statistics.fmean(seconds), 3),
        "seconds_std": round(statistics.pstdev(seconds), 3),
        "per_second_avg": round(statistics.fmean(rates)),
        "per_second_min": round(min(rates)),
        "per_second_max": round(max(rates)),
    }


def pool(
    broker: Broker, sizes: list[int], *, messages: int, work_ms: float, told: Callable[[int], None]
) -> Iterator[Row]:
    """Yield for each number of threads the seconds that blocking messages took, and the ideal. Raises MeasureError."""
    topic = broker.filled("pool", messages)
    for workers in sizes:
        told(workers)
        ideal = math.ceil(messages / workers) * work_ms / 1e3
        document = DOCUMENT.get(workers) if (messages, work_ms) == (2_000, 100) else None
        execution = {"mode": "thread", "ordering": "unordered", "worker_pool_size": workers, "max_in_flight": 2_000}
        made = settings(broker.servers, [topic], f"{handlers.__name__}:{handlers.wait.__name__}", execution=execution)
        with Member({handlers.SECONDS_VARIABLE: f"{work_ms / 1e3}"}) as member:
            outcome = member.run(Job(settings=made, seconds=2 * ideal + _TIMEOUT_SECONDS, messages=messages))
        seconds = _well(outcome, messages).seconds
        yield {"key": f"{messages}x{work_ms:g}/{workers}", "messages": messages, "workers": workers,
               "work_ms": work_ms, "seconds": round(seconds, 2), "ideal_seconds": round(ideal, 2),
               "share_of_ideal": round(ideal / seconds, 3), "document_seconds": document}  # fmt: skip


DOCUMENT = {1: 201, 2: 100, 3: 67, 8: 25, 16: 13, 32: 9}
"""Seconds that the source document has for 2,000 messages of 100 ms."""


def _well(outcome: Outcome, messages: int) -> Outcome:
    if outcome.error or outcome.succeeded < messages:
        raise MeasureError(outcome.error or f"{outcome.succeeded} of {messages} messages after {outcome.seconds:.0f} s")
    return outcome
