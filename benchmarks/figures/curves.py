"""Whether cost grows with size: CPU microseconds a message (or a byte) along each axis, all else equal.

No-op work in mode async with key order, from the first message to the last, so that nothing is hidden by a warm-up.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate

from rich.table import Table

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
_BYTE_SIZES = (100, 1_000, 3_000, 10_000)
_SYSTEMS = (System.OURS, System.RAW)
_ROUNDS = 2
BYTES = "bytes"

Point = tuple[str, Contents, Work, float]
"""Label, topic, work, and by what the cost of a message is divided."""


def along(name: str) -> Callable[[Bench], Iterator[Figure]]:
    """Return what measures one axis of `AXES`, ours and the raw loop: what grows in both is the client's.

    The value is the highest cost over the lowest; of bytes how far the cost of one rises from a size to a larger one,
    since what a message costs beside its bytes makes those of small ones dear.
    """

    def figures(bench: Bench) -> Iterator[Figure]:
        points = AXES[name]()
        found = {point[0]: _costs(bench, point) for point in points}
        for system in _SYSTEMS:
            yield _figure(name, system, {label: costs[system] for label, costs in found.items()})

    return figures


def _figure(name: str, system: System, costs: dict[str, float]) -> Figure:
    in_bytes, is_ours = name == BYTES, system is System.OURS
    grown = rise(list(costs.values())) if in_bytes else spread(list(costs.values()))
    return Figure(
        name=f"cost over {name}" if is_ours else f"cost over {name}, {system.value}",
        value=grown,
        unit="rise of CPU time a byte" if in_bytes else "highest over lowest CPU time a message",
        at_most=SPREAD_AT_MOST if is_ours else None,
        points={label: round(cost, 5) for label, cost in costs.items()},
    )


def spread(costs: Sequence[float]) -> float:
    """Return the highest over the lowest."""
    return max(costs) / min(costs)


def rise(costs: Sequence[float]) -> float:
    """Return the highest ratio of a cost to one before it; 1 when none is higher."""
    lowest = accumulate(costs, min)
    return max(cost / before for cost, before in zip(costs, lowest, strict=True))


def tables(found: Iterable[Figure]) -> Iterator[Table]:
    """Yield each curve among the figures, ours beside the raw loop's."""
    figures = {each.name: each for each in found}
    for name in AXES:
        ours, raw = figures.get(f"cost over {name}"), figures.get(f"cost over {name}, raw")
        if ours is None or raw is None:
            continue
        table = Table(name, "ours, us", "raw loop, us", "beside it, us", title=ours.name)
        for label, cost in ours.points.items():
            table.add_row(label, *(f"{each:.4g}" for each in (cost, raw.points[label], cost - raw.points[label])))
        table.add_row("grown", f"{ours.value:.2f}", f"{raw.value:.2f}", "")
        yield table


def _costs(bench: Bench, point: Point) -> dict[System, float]:
    """Return microseconds of CPU a unit; the better of interleaved runs, since noise only adds."""
    _, contents, work, unit = point
    topic, servers = bench.topic(contents), bench.kafka.bootstrap_servers
    found: dict[System, list[float]] = {system: [] for system in _SYSTEMS}
    for _ in range(_ROUNDS):
        for system, costs in found.items():
            result = run(system, work, topic, servers=servers, iterations=0, pace=_WHOLE)
            costs.append(1e6 * result.cpu_seconds / result.messages / unit)
    return {system: min(costs) for system, costs in found.items()}


def _sized(size: int) -> Contents:
    return replace(_BASE, value_bytes=size, messages=min(_BASE.messages, _BYTES_AT_MOST // size))


AXES: dict[str, Callable[[], list[Point]]] = {
    "messages": lambda: [(f"{n:,}", replace(_BASE, messages=n), _WORK, 1) for n in (200_000, 1_000_000, 5_000_000)],
    "partitions": lambda: [(str(n), replace(_BASE, partitions=n), _WORK, 1) for n in (1, 8, 64)],
    "keys": lambda: [(f"{n:,}", replace(_BASE, key_count=n), _WORK, 1) for n in (10, 1_000, 100_000, 1_000_000)],
    BYTES: lambda: [(f"{n:,}", _sized(n), _WORK, n) for n in _BYTE_SIZES],
    "in-flight": lambda: [(f"{n:,}", _BASE, replace(_WORK, max_in_flight=n), 1) for n in (256, 2_000, 20_000)],
}
