import asyncio

import pytest

from consumer_runtime import Reject, RetryAfter, StartFailure, batch
from consumer_runtime.testing import HandlerNotDoneError, Record, run_handler


def test_a_handler_is_tried_in_three_lines():
    """Successes, retries and dead letters, as production would have them."""
    outcome = run_handler(lambda message: int(message.value), [b"1", b"2", b"no number"])
    assert (outcome.succeeded, outcome.retried) == (2, 1)
    (letter,) = outcome.dead_letters
    assert letter.value == b"no number"
    assert "invalid literal" in letter.error
    assert letter.headers["x-retry-attempt"] == b"2"


def test_an_async_handler_sees_keys_headers_and_attempts():
    """What a message has in production; RetryAfter runs it again, Reject does not."""
    seen = []

    async def handle(message) -> None:
        await asyncio.sleep(0)
        seen.append((message.key, message.value, dict(message.headers), message.attempt))
        if message.value == b"later" and message.attempt == 1:
            raise RetryAfter(0.01)
        if message.value == b"never":
            raise Reject("unknown customer")

    outcome = run_handler(handle, [Record(b"later", key=b"k", headers=(("h", b"1"),)), Record(b"never", key=b"k")])
    headers = {"h": b"1"}
    assert seen == [(b"k", b"later", headers, 1), (b"k", b"later", headers, 2), (b"k", b"never", {}, 1)]
    assert [letter.error for letter in outcome.dead_letters] == ["unknown customer"]


def test_a_batch_handler_gets_lists():
    """Of at most the size that it asked for, and all messages in the end."""
    sizes = []

    @batch(10)
    def handle(messages) -> None:
        sizes.append(len(messages))

    assert run_handler(handle, [b"x"] * 35).succeeded == 35
    assert sum(sizes) == 35
    assert 1 < max(sizes) <= 10


def test_a_handler_that_is_not_done_in_time_is_told():
    """Not a hanging test."""

    async def handle(_) -> None:
        await asyncio.sleep(60)

    with pytest.raises(HandlerNotDoneError, match="0 of 1 messages"):
        run_handler(handle, [b"1"], timeout_seconds=6, execution={"shutdown_grace_seconds": 0, "revoke_grace_ms": 0})


def test_settings_that_cannot_work_are_raised_where_the_test_is():
    """Not swallowed by a thread."""
    with pytest.raises(StartFailure, match="mode async would block its loop"):
        run_handler(lambda _: None, [b"1"], execution={"mode": "async"})
