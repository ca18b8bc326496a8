"""What ours costs while it does nothing: CPU and memory when idle, with all paused, per message held, per worker."""

import time
from collections.abc import Iterator
from dataclasses import replace

from benchmarks.compare import process_tree
from benchmarks.compare.job import Kind, Mode
from benchmarks.compare.topics import Contents
from benchmarks.compare.works import System, Work
from benchmarks.figures.figure import HANGING, Bench, Figure

_SETTLE_SECONDS = 6.0
_WATCH_SECONDS = 15.0
_MANY_PARTITIONS = Contents(messages=64_000, partitions=64)
_HELD = Contents(messages=200_000)
_FEW, _MANY = 1_000, 20_000
_NOOP = Work(name="noop", mode=Mode.ASYNC, kind=Kind.NOOP)


def figures(bench: Bench) -> Iterator[Figure]:
    """Measure one after the other."""
    yield from _idle(bench)
    yield _paused(bench)
    yield _held(bench)
    yield _worker(bench)


def _idle(bench: Bench) -> Iterator[Figure]:
    topic = bench.topic(_MANY_PARTITIONS)
    with bench.member(_NOOP, topic) as member:
        member.until(lambda: member.seen() == topic.messages, "idle")
        time.sleep(_SETTLE_SECONDS)
        percent = member.cpu_percent(_WATCH_SECONDS)
    yield Figure(name="idle CPU, 64 partitions", value=percent, unit="% of a core", at_most=1.0)
    empty = bench.topic(Contents(messages=8))
    with bench.member(_NOOP, empty) as member:
        member.until(lambda: member.seen() == empty.messages, "idle")
        time.sleep(_SETTLE_SECONDS)
        size = member.usage().rss_bytes / 1e6
    yield Figure(name="idle memory, mode async", value=size, unit="MB", at_most=60.0)


def _paused(bench: Bench) -> Figure:
    work = replace(HANGING, max_in_flight=64, batch_size=100)
    with bench.member(work, bench.topic(_MANY_PARTITIONS)) as member:
        time.sleep(2 * _SETTLE_SECONDS)
        percent = member.cpu_percent(_WATCH_SECONDS)
    return Figure(name="CPU with 64 partitions paused", value=percent, unit="% of a core", at_most=1.0)


def _held(bench: Bench) -> Figure:
    """Compare two windows, less what the bare loop takes for the same: the handler's coroutine, task and timer."""
    whole, bare = (_growth(bench, system) for system in (System.OURS, System.BARE))
    return Figure(
        name="memory a message in flight, look-ahead included", value=whole - bare, at_most=1_024.0,
        unit="bytes beside those of a plain task and its payload", points={"whole": whole, "bare": bare},
    )  # fmt: skip


def _growth(bench: Bench, system: System) -> float:
    """Return bytes for each further call in flight; what the client fetched ahead is the same in both windows."""
    sizes = {}
    for count in (_FEW, _MANY):
        work = replace(HANGING, max_in_flight=count)
        with bench.member(work, bench.topic(_HELD), system=system) as member:
            time.sleep(2 * _SETTLE_SECONDS)
            sizes[count] = member.usage().rss_bytes
    return (sizes[_MANY] - sizes[_FEW]) / (_MANY - _FEW)


def _worker(bench: Bench) -> Figure:
    work = Work(name="noop", mode=Mode.PROCESS, kind=Kind.NOOP, workers=2)
    topic = bench.topic(_HELD)
    with bench.member(work, topic) as member:
        member.until(lambda: member.seen() == topic.messages, "worker processes")
        largest = max(process_tree.usage(each).rss_bytes for each in process_tree.children(member.pid))
    return Figure(name="memory of a worker process", value=largest / 1e6, unit="MB", at_most=30.0)
