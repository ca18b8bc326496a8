import threading
import time
from typing import Any

import pytest

from consumer_runtime.contract.settings import ExecutionSettings
from consumer_runtime.engines.engine import FailureKind
from consumer_runtime.engines.single import SingleEngine
from consumer_runtime.handler import batch, wrap
from consumer_runtime.message import Message


def messages(count: int) -> list[Message]:
    """Return messages with consecutive offsets."""
    return [Message("orders", 0, offset, None, b"") for offset in range(count)]


def engine(handler, **options: Any) -> SingleEngine:
    """Return an engine of a handler; `execution` are its settings."""
    execution = ExecutionSettings.model_validate({"mode": "single"} | options.pop("execution", {}))
    return SingleEngine(wrap(handler), execution, **options)


def test_a_run_ends_at_the_first_failure():
    """What succeeded before it is counted, the failure is told, and nothing after it was attempted."""
    called = []

    def work(message: Message) -> None:
        called.append(message.offset)
        if message.offset == 3:
            raise ValueError("three")

    single = engine(work)
    assert single.run(messages(10)) == 3
    completions = single.collect()
    assert called == [0, 1, 2, 3]
    assert [each.message.offset for each in completions.failures] == [3]
    assert completions.failures[0].kind is FailureKind.ERROR
    assert single.collect() is None


def test_submitted_messages_are_all_attempted():
    """They belong to different shards: one failure is no reason to leave the others."""

    def work(message: Message) -> None:
        if message.offset % 4 == 0:
            raise ValueError

    single = engine(work)
    single.submit(messages(10))
    completions = single.collect()
    assert [each.offset for each in completions.done] == [1, 2, 3, 5, 6, 7, 9]
    assert [each.message.offset for each in completions.failures] == [0, 4, 8]


def test_a_failing_batch_fails_whole_and_the_next_goes_on():
    """`@batch(4)` over ten messages: the list with the bad one fails, the others succeed."""

    @batch(4)
    def work(together: list[Message]) -> None:
        if any(each.offset == 5 for each in together):
            raise ValueError

    single = engine(work)
    single.submit(messages(10))
    completions = single.collect()
    assert [each.message.offset for each in completions.failures] == [4, 5, 6, 7]
    assert [each.offset for each in completions.done] == [0, 1, 2, 3, 8, 9]


def test_a_coroutine_function_runs_in_a_loop_of_its_own():
    """`async def` in mode single is awaited, one message after the other."""
    done = []

    async def work(message: Message) -> None:
        done.append(message.offset)

    single = engine(work)
    single.start()
    assert single.run(messages(3)) == 3
    single.stop(1.0)
    assert done == [0, 1, 2]


def test_turns_are_as_long_as_the_handler_is_fast():
    """A slow handler is given few messages at a time, so that commits, polls and retries keep their times."""
    slow, fast = engine(lambda _: time.sleep(0.02)), engine(lambda _: None)
    for _ in range(8):
        slow.run(messages(min(slow.room(), 5)))
        fast.run(messages(fast.room()))
    assert slow.room() <= 3
    assert fast.room() > 1_000


@pytest.mark.parametrize("limit", ["timeout", "broker"])
def test_the_watchdog_gives_up_on_a_call_that_hangs(limit: str):
    """At the smaller of the task timeout and 0.8 of max.poll.interval: by then nothing else can end the call."""
    release, given_up = threading.Event(), []

    def give_up(reason: str) -> None:
        given_up.append(reason)
        release.set()

    options = {"execution": {"task_timeout_ms": 300}} if limit == "timeout" else {"max_poll_interval_seconds": 0.4}
    single = engine(lambda _: release.wait(10), give_up=give_up, **options)
    single.start()
    started = time.monotonic()
    single.run(messages(1))
    single.stop(1.0)
    assert len(given_up) == 1
    assert 0.3 <= time.monotonic() - started < 2.0


def test_the_watchdog_leaves_a_slow_batch_alone_while_it_moves():
    """Ten calls of 0.1 s with a timeout of 0.5 s: each message moves on, so nothing hangs."""
    given_up: list[str] = []
    single = engine(lambda _: time.sleep(0.1), give_up=given_up.append, execution={"task_timeout_ms": 500})
    single.start()
    assert single.run(messages(10)) == 10
    single.stop(1.0)
    assert given_up == []
