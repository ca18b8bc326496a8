"""Whether cost grows with size: CPU microseconds a message (or a byte) along each axis, all else equal.

No-op work in mode async with key order, from the first message to the last, so that nothing is hidden by a warm-up.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from benchmarks.compare.job import Kind, Mode, Ordering
from benchmarks.compare.measure import Pace, run
from benchmarks.compare.topics import Contents
from benchmarks.compare.works import System, Work
from benchmarks.figures.figure import Bench, Figure

SPREAD_AT_MOST = 1.15
_WHOLE = Pace(warm=0.0, warm_java=0.0, window=600.0)
_BASE = Contents(messages=1_000_000)
_WORK = Work(name="noop-key", mode=Mode.ASYNC, kind=Kind.NOOP, ordering=Ordering.KEY, max_in_flight=2_000)
_BYTES_AT_MOST = 800_000_000
_BYTE_SIZES = (1_000, 3_000, 10_000)
"""Below them the cost is by the message; 100 B is the base of all other axes."""

Point = tuple[str, Contents, Work, float]
"""Label, topic, work, and by what the cost of a message is divided."""


def along(name: str) -> Callable[[Bench], Iterator[Figure]]:
    """Return what measures one axis of `AXES`; the value is the highest cost over the lowest."""

    def figures(bench: Bench) -> Iterator[Figure]:
        yield _axis(bench, name, AXES[name]())

    return figures


def _axis(bench: Bench, name: str, points: list[Point]) -> Figure:
    costs = {label: _cost(bench, contents, work) / unit for label, contents, work, unit in points}
    return Figure(
        name=f"cost over {name}",
        value=max(costs.values()) / min(costs.values()),
        unit="highest over lowest CPU time" + (" a byte" if name == "bytes" else " a message"),
        at_most=None if name == "bytes" else SPREAD_AT_MOST,
        points={label: round(cost, 5) for label, cost in costs.items()},
    )


def _cost(bench: Bench, contents: Contents, work: Work) -> float:
    """Return microseconds of CPU a message; the better of two runs, since noise only adds."""
    topic = bench.topic(contents)
    servers = bench.kafka.bootstrap_servers
    found = [run(System.OURS, work, topic, servers=servers, iterations=0, pace=_WHOLE) for _ in range(2)]
    return min(1e6 * each.cpu_seconds / each.messages for each in found)


def _sized(size: int) -> Contents:
    return replace(_BASE, value_bytes=size, messages=min(_BASE.messages, _BYTES_AT_MOST // size))


AXES: dict[str, Callable[[], list[Point]]] = {
    "messages": lambda: [(f"{n:,}", replace(_BASE, messages=n), _WORK, 1) for n in (200_000, 1_000_000, 5_000_000)],
    "partitions": lambda: [(str(n), replace(_BASE, partitions=n), _WORK, 1) for n in (1, 8, 64)],
    "keys": lambda: [(f"{n:,}", replace(_BASE, key_count=n), _WORK, 1) for n in (10, 1_000, 100_000, 1_000_000)],
    "bytes": lambda: [(f"{n:,}", _sized(n), _WORK, n) for n in _BYTE_SIZES],
    "in-flight": lambda: [(f"{n:,}", _BASE, replace(_WORK, max_in_flight=n), 1) for n in (256, 2_000, 20_000)],
}
