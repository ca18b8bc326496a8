"""Threads: parallel blocking calls, order by the control loop, hung calls, resizing, handlers of their own."""

import asyncio
import random
import threading
import time
from collections import defaultdict
from typing import Any

import pytest

from consumer_runtime import Reject, StartFailure, batch
from consumer_runtime.contract.settings import ExecutionSettings, Ordering
from consumer_runtime.engines.engine import FailureKind
from consumer_runtime.engines.thread import HUNG_SECONDS_AT_MOST, ThreadEngine
from consumer_runtime.handler import wrap

_KEYS = [b"%d" % n for n in range(20)]


def handler_threads() -> int:
    """Return how many threads of ours are alive."""
    return sum(thread.name.startswith("handler-") for thread in threading.enumerate())


@pytest.mark.parametrize("threads", [1, 3, 16, 128])
def test_as_many_blocking_calls_run_at_once_as_there_are_threads(drive: Any, threads: int) -> None:
    """Each call waits at a barrier until all threads are at one: with one thread less at work it would break."""
    barrier = threading.Barrier(threads)
    driving = drive(ThreadEngine, lambda _: barrier.wait(20) >= 0, worker_pool_size=threads, max_in_flight=1_000)
    driving.offer(*[(b"%d" % n, b"") for n in range(threads * 3)])
    driving.until_done(threads * 3, 40)
    assert not barrier.broken


@pytest.mark.parametrize("ordering", list(Ordering))
def test_order_holds_with_faults_and_resizes(drive: Any, ordering: Ordering) -> None:
    """Exceptions drawn per message and attempt, a pool that changes its size: all done once, each shard in order."""
    done: dict[Any, list[int]] = defaultdict(list)
    running: set[Any] = set()
    overlaps = []
    lock = threading.Lock()

    def handle(message: Any) -> None:
        shard = message.key if ordering is Ordering.KEY else message.partition
        with lock:
            if shard in running:
                overlaps.append(shard)
            running.add(shard)
        draw = random.Random(f"{message.partition}/{message.offset}/{message.attempt}").random()
        time.sleep(draw / 1_000)
        with lock:
            running.discard(shard)
            if draw > 0.2 or message.attempt > 2:
                done[message.partition if ordering is Ordering.PARTITION else (message.partition, message.key)].append(
                    message.offset
                )
                return
        raise ValueError("drawn")

    driving = drive(ThreadEngine, handle, worker_pool_size=4, ordering=ordering)
    for partition in range(3):
        keys = [b"%d/%d" % (partition, n * n % 17) for n in range(300)]
        driving.offer(*[(key, b"") for key in keys], partition=partition)
    for size in (1, 8, 2, 5):
        driving.apply(worker_pool_size=size)
        driving.until_done(len(driving.done) + 150)
    driving.until_done(900)
    assert len(driving.failures) > 100
    assert sum(map(len, done.values())) == 900
    if ordering is not Ordering.UNORDERED:
        assert overlaps == []
        assert {shard: offsets for shard, offsets in done.items() if offsets != sorted(offsets)} == {}


def test_a_hung_call_is_replaced_and_its_key_waits(drive: Any) -> None:
    """The pool keeps its strength, other keys go on; the hung key goes on when, and only when, the call returns."""
    release = threading.Event()
    ran: list[int] = []

    def handle(message: Any) -> None:
        if message.value == b"hang":
            release.wait(30)
        ran.append(message.offset)

    driving = drive(ThreadEngine, handle, worker_pool_size=1, task_timeout_ms=100)
    driving.offer((b"a", b"hang"), (b"a", b""), *[(key, b"") for key in _KEYS])
    driving.until_done(20)
    driving.for_seconds(0.2)
    assert 0 not in ran
    assert 1 not in ran
    assert driving.failures == [], "an attempt that may still write is neither failed nor retried"
    assert driving.engine.oldest_started_at() < time.monotonic() - 0.2
    assert handler_threads() == 2
    release.set()
    driving.until_done(22)
    assert ran[-2:] == [0, 1]
    driving.until(lambda: handler_threads() == 1)


def test_hung_calls_beyond_a_bound_are_trouble(drive: Any) -> None:
    """More of them than the pool has threads, or one for a minute past its timeout: the process has to go."""
    release = threading.Event()
    driving = drive(ThreadEngine, lambda _: release.wait(30), worker_pool_size=2, task_timeout_ms=50)
    driving.offer((b"a", b""))
    driving.for_seconds(0.3)
    assert driving.engine.trouble(time.monotonic()) is None
    assert "has not returned" in driving.engine.trouble(time.monotonic() + HUNG_SECONDS_AT_MOST + 1)
    driving.offer((b"b", b""), (b"c", b""))
    driving.until(lambda: driving.engine.trouble(time.monotonic()))
    assert "worker_pool_size=2" in driving.engine.trouble(time.monotonic())
    release.set()
    driving.until_done(3)
    assert driving.engine.trouble(time.monotonic()) is None


def test_a_resize_is_in_force_at_once(drive: Any) -> None:
    """Twenty threads run twenty calls; one thread runs one."""
    at_once: list[int] = []
    running = threading.Semaphore(1_000)

    def handle(message: Any) -> None:
        with running:
            time.sleep(0.03)
            at_once.append(1_000 - running._value)

    driving = drive(ThreadEngine, handle, worker_pool_size=1)
    driving.offer(*[(b"%d" % n, b"") for n in range(100)])
    driving.until_done(3)
    driving.apply(worker_pool_size=20)
    driving.until_done(60)
    assert max(at_once) == 20
    driving.apply(worker_pool_size=1)
    driving.until_done(85)
    at_once.clear()
    driving.until_done(100)
    assert max(at_once) == 1
    driving.until(lambda: handler_threads() == 1)


def test_each_thread_opens_a_handler_of_its_own(drive: Any) -> None:
    """`open` once in each thread before its first message, `close` in the same thread at the end."""
    opened, closed, used = [], [], []

    class Client:
        def open(self) -> None:
            self.thread = threading.get_ident()
            opened.append(self.thread)

        def handle(self, _: Any) -> None:
            used.append(self.thread == threading.get_ident())
            time.sleep(0.01)

        def close(self) -> None:
            closed.append(threading.get_ident())

    driving = drive(ThreadEngine, Client, worker_pool_size=3)
    driving.offer(*[(b"%d" % n, b"") for n in range(30)])
    driving.until_done(30)
    assert len(set(opened)) == 3
    assert all(used)
    driving.engine.stop(2.0)
    assert sorted(closed) == sorted(opened)
    assert handler_threads() == 0


def test_a_handler_that_does_not_open_fails_the_start() -> None:
    """The failure carries the error and the user's traceback; no thread is left."""

    class Broken:
        def open(self) -> None:
            raise ConnectionError("no database here")

        def handle(self, message: Any) -> None: ...

    engine = ThreadEngine(wrap(Broken), ExecutionSettings(worker_pool_size=2))
    with pytest.raises(StartFailure, match="no database here") as raised:
        engine.start()
    assert "test_thread.py" in raised.value.detail
    deadline = time.monotonic() + 2
    while handler_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert handler_threads() == 0


def test_errors_fail_their_message_alone(drive: Any) -> None:
    """An exception, a Reject and even `sys.exit` are failures of a message; the thread goes on."""
    errors = {b"0": ValueError("no"), b"1": Reject("never"), b"2": SystemExit(3)}

    def handle(message: Any) -> None:
        raise errors[message.key]

    driving = drive(ThreadEngine, handle, worker_pool_size=1, max_retries=0)
    driving.offer((b"0", b""), (b"1", b""), (b"2", b""))
    driving.until(lambda: len(driving.failures) == 3)
    assert [(each.kind, each.error_class) for each in driving.failures] == [
        (FailureKind.ERROR, "builtins:ValueError"),
        (FailureKind.REJECT, "consumer_runtime.errors:Reject"),
        (FailureKind.ERROR, "builtins:SystemExit"),
    ]
    assert handler_threads() == 1


def test_a_coroutine_handler_runs_in_its_threads_loop(drive: Any) -> None:
    """`async def` works in mode thread: one loop for each thread."""
    loops = set()

    async def handle(message: Any) -> None:
        await asyncio.sleep(0.001)
        loops.add(id(asyncio.get_running_loop()))

    driving = drive(ThreadEngine, handle, worker_pool_size=2)
    driving.offer(*[(b"%d" % n, b"") for n in range(50)])
    driving.until_done(50)
    assert len(loops) == 2


def test_batches_hold_what_waits_and_no_more_than_asked(drive: Any) -> None:
    """A handler of batches gets lists; each message is in one of them."""
    sizes: list[int] = []

    @batch(10)
    def handle(messages: list[Any]) -> None:
        sizes.append(len(messages))
        time.sleep(0.01)

    driving = drive(ThreadEngine, handle, worker_pool_size=2)
    driving.offer(*[(b"%d" % n, b"") for n in range(95)])
    driving.until_done(95)
    assert sum(sizes) == 95
    assert max(sizes) == 10


def test_messages_of_a_closed_assignment_are_handed_back(drive: Any) -> None:
    """After a revoke nothing of the partition is begun any more."""
    ran: list[int] = []

    def handle(message: Any) -> None:
        time.sleep(0.1)
        ran.append(message.offset)

    driving = drive(ThreadEngine, handle, worker_pool_size=1)
    driving.offer(*[(b"%d" % n, b"") for n in range(50)])
    driving.turn()
    driving.turn()
    driving.assignments[0].is_open = False
    driving.until(lambda: driving.in_flight == 0)
    assert len(ran) <= 2
    assert driving.bounced >= 48


def test_statistics_count_the_handlers_time(drive: Any) -> None:
    """Busy seconds and the histogram are of the handler alone, without the queue."""
    driving = drive(ThreadEngine, lambda _: time.sleep(0.02), worker_pool_size=1)
    driving.offer(*[(b"%d" % n, b"") for n in range(10)])
    driving.turn()
    assert driving.engine.statistics().queued >= 8
    driving.until_done(10)
    statistics = driving.engine.statistics()
    assert statistics.handler_seconds.count == 10
    assert 0.2 <= statistics.busy_seconds < 0.4
    assert (statistics.queued, statistics.workers) == (0, 1)
