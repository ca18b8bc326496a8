import asyncio
import threading
import time
from contextvars import ContextVar

import pytest

from consumer_runtime.contract.settings import ExecutionSettings
from consumer_runtime.engines.async_ import AsyncEngine
from consumer_runtime.engines.engine import Completions, FailureKind
from consumer_runtime.errors import Reject, RetryAfter, StartFailure
from consumer_runtime.handler import batch, wrap
from consumer_runtime.message import Message


def message(offset: int, value: bytes = b"") -> Message:
    """Return a message without an assignment."""
    return Message("orders", 0, offset, None, value)


def collect(engine: AsyncEngine, count: int, seconds: float = 5.0) -> Completions:
    """Wait for so many completions."""
    found, deadline = Completions(), time.monotonic() + seconds
    while len(found.done) + len(found.failures) < count:
        assert time.monotonic() < deadline, found
        engine.wait(0.05)
        more = engine.collect()
        if more is not None:
            found.done += more.done
            found.failures += more.failures
    return found


def test_calls_that_wait_leave_room_and_calls_that_cannot_begin_do_not(make_async):
    """Any number runs at once; what the loop has not got to yet is bounded, by batches where those are asked for."""
    release = threading.Event()
    running = 0

    async def work(each: Message) -> None:
        nonlocal running
        running += 1
        if each.value == b"block":
            release.wait(20)
        await asyncio.sleep(20)

    engine = make_async(work)
    most = engine.room()
    for begun in range(0, 3 * most, most):
        engine.submit([message(offset) for offset in range(begun, begun + most)])
        until(lambda wanted=begun + most: running == wanted and engine.room() == most)
    engine.submit([message(3 * most, b"block")])
    until(lambda: running == 3 * most + 1)
    engine.submit([message(offset) for offset in range(most)])
    assert engine.room() == 0
    release.set()
    until(lambda: engine.room() == most)
    assert make_async(batch(size=1_000)(handle_batch)).room() == 1_000 * most


async def handle_batch(messages: list[Message]) -> None:
    """Take a batch."""


def until(condition, seconds: float = 20.0) -> None:
    """Wait."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_every_outcome_says_what_happened(make_async):
    """Success, errors with their classes and parents, RetryAfter's seconds, Reject."""

    class OrderMissingError(KeyError):
        pass

    async def work(each: Message) -> None:
        outcomes = {
            b"error": OrderMissingError("7"),
            b"later": RetryAfter(3.0),
            b"never": Reject("bad"),
            b"exit": SystemExit(1),
        }
        if each.value in outcomes:
            raise outcomes[each.value]

    engine = make_async(work)
    values = [b"fine", b"error", b"later", b"never", b"exit"]
    engine.submit([message(offset, value) for offset, value in enumerate(values)])
    found = collect(engine, 5)
    assert [each.value for each in found.done] == [b"fine"]
    failures = {each.message.value: each for each in found.failures}
    assert failures[b"error"].error_class.endswith("OrderMissingError")
    assert "builtins:KeyError" in failures[b"error"].error_classes
    assert failures[b"error"].kind is FailureKind.ERROR
    assert (failures[b"later"].kind, failures[b"later"].retry_after_seconds) == (FailureKind.RETRY_AFTER, 3.0)
    assert failures[b"never"].kind is FailureKind.REJECT
    assert failures[b"exit"].kind is FailureKind.ERROR
    assert engine.statistics().handler_seconds.count == 5


def test_timeouts_of_the_standard_library_work_in_handlers(make_async):
    """Handlers run in real tasks: `asyncio.timeout`, `current_task` and task groups are theirs to use."""

    async def work(each: Message) -> None:
        assert asyncio.current_task() is not None
        async with asyncio.timeout(1):
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(0))

    engine = make_async(work)
    engine.submit([message(offset) for offset in range(20)])
    assert len(collect(engine, 20).done) == 20


def test_an_attempt_past_its_timeout_is_given_up_and_counted_as_that(make_async):
    """The call is cancelled; what the timeout was is in the text; calls started later go on."""

    async def work(each: Message) -> None:
        await asyncio.sleep(60 if each.value == b"hang" else 0.4)

    engine = make_async(work, task_timeout_ms=250)
    engine.submit([message(0, b"hang")])
    (failure,) = collect(engine, 1).failures
    assert failure.kind is FailureKind.TIMEOUT
    assert "0.25 s" in failure.error_text
    assert 0.25 <= failure.finished_at - failure.started_at < 1.0


def test_a_call_that_ignores_its_cancellation_is_not_completed_until_it_returns(make_async):
    """Its outcome is then what it says."""
    release = []

    async def work(each: Message) -> None:
        while not release:
            try:
                await asyncio.sleep(0.02)
            except asyncio.CancelledError:
                continue

    engine = make_async(work, task_timeout_ms=100)
    engine.submit([message(0)])
    time.sleep(0.4)
    assert engine.collect() is None
    release.append(True)
    assert len(collect(engine, 1).done) == 1


def test_a_blocked_loop_is_told_with_its_cause(make_async):
    """A blocking call in a coroutine stops every other: the control thread notices, although the loop cannot."""

    async def work(each: Message) -> None:
        time.sleep(1.6)  # noqa: ASYNC251 - the mistake under test

    engine = make_async(work, task_timeout_ms=500)
    engine.submit([message(0)])
    deadline = time.monotonic() + 3.0
    told = None
    while told is None and time.monotonic() < deadline:
        time.sleep(0.05)
        told = engine.trouble(time.monotonic())
    assert told is not None
    assert "blocked the event loop" in told
    collect(engine, 1)


def test_a_handler_of_batches_gets_lists_and_fails_whole(make_async):
    """`@batch(3)`: lists of at most three; an exception is the failure of each message in its list."""
    sizes = []

    @batch(3)
    async def work(messages: list[Message]) -> None:
        sizes.append(len(messages))
        if any(each.value == b"bad" for each in messages):
            raise ValueError("bad batch")

    engine = make_async(work)
    engine.submit([message(offset, b"bad" if offset == 4 else b"") for offset in range(7)])
    found = collect(engine, 7)
    assert sizes == [3, 3, 1]
    assert sorted(each.message.offset for each in found.failures) == [3, 4, 5]


def test_open_and_close_run_in_the_handlers_loop(make_async):
    """Clients opened there can be used by the calls, and closed in the same loop."""

    class Handler:
        def __init__(self) -> None:
            self.loops: list[asyncio.AbstractEventLoop] = []
            seen.append(self.loops)

        async def open(self) -> None:
            self.loops.append(asyncio.get_running_loop())

        async def handle(self, _: Message) -> None:
            self.loops.append(asyncio.get_running_loop())

        async def close(self) -> None:
            self.loops.append(asyncio.get_running_loop())

    seen: list[list] = []
    engine = make_async(Handler)
    engine.submit([message(0)])
    collect(engine, 1)
    engine.stop(1.0)
    (loops,) = [each for each in seen if each]
    assert len(loops) == 3
    assert len(set(map(id, loops))) == 1


def test_a_plain_function_is_refused():
    """It would block the loop; the remedy names the modes that fit."""
    with pytest.raises(StartFailure, match="use mode thread"):
        AsyncEngine(wrap(print), ExecutionSettings())


def test_context_of_one_call_is_not_seen_by_the_next(make_async):
    """What a handler binds, such as a logger's context, is gone for the next message, whether or not it waits."""
    bound: ContextVar[int | None] = ContextVar("bound", default=None)
    seen = []

    async def work(each: Message) -> None:
        seen.append(bound.get())
        bound.set(each.offset)
        if each.offset % 2:
            await asyncio.sleep(0)

    engine = make_async(work)
    engine.submit([message(offset) for offset in range(20)])
    collect(engine, 20)
    assert seen == [None] * 20


def test_values_that_refuse_to_be_compared_harm_nobody(make_async):
    """A context may hold anything, such as an array."""

    class Incomparable:
        def __eq__(self, other: object) -> bool:
            raise ValueError("ambiguous")

        __hash__ = None

    bound: ContextVar[object] = ContextVar("bound", default=None)
    bound.set(Incomparable())

    async def work(each: Message) -> None:
        bound.set(Incomparable())

    engine = make_async(work)
    engine.submit([message(offset) for offset in range(5)])
    assert len(collect(engine, 5).done) == 5


def test_calls_that_wait_stop_nobody_behind_them(make_async):
    """All of a batch run at once, in whichever order those that wait and those that do not stand."""
    gate = asyncio.Event()
    started = []

    async def work(each: Message) -> None:
        started.append(each.offset)
        if each.offset % 3 == 0:
            await gate.wait()
        if each.offset == 29:
            gate.set()

    engine = make_async(work)
    engine.submit([message(offset) for offset in range(30)])
    assert len(collect(engine, 30).done) == 30
    assert sorted(started) == list(range(30))


def test_calls_that_wait_have_tasks_of_their_own(make_async):
    """What is left behind in a task, such as a cancellation to come, is never another message's."""
    tasks = []

    async def work(each: Message) -> None:
        tasks.append(asyncio.current_task())
        await asyncio.sleep(0)

    engine = make_async(work)
    engine.submit([message(offset) for offset in range(10)])
    collect(engine, 10)
    engine.submit([message(offset) for offset in range(10)])
    collect(engine, 10)
    assert len({id(task) for task in tasks}) == 20
