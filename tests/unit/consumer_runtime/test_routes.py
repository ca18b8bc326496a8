import asyncio

import pytest

from consumer_runtime import Reject, StartFailure, batch, cpu_bound, io_bound
from consumer_runtime.contract.choices import Mode
from consumer_runtime.message import Message
from consumer_runtime.routes import route


def _message(topic: str) -> Message:
    return Message(topic, 0, 0, None, b"")


class _Opened:
    """Writes down what is done to it."""

    seen: list[str] = []  # noqa: RUF012 - shared by all instances on purpose

    def open(self) -> None:
        self.seen.append(f"open {type(self).__name__}")

    def handle(self, message: Message) -> str:
        return type(self).__name__ + message.topic

    def close(self) -> None:
        self.seen.append(f"close {type(self).__name__}")


class _Other(_Opened):
    """Another one."""


def test_each_topic_has_its_handler():
    """And what no handler is stated for goes to the default, or to the dead letters."""
    routed = route({"a": lambda _: "A", "b": lambda _: "B"}, lambda _: "the rest")
    assert [routed.call(_message(topic)) for topic in "abc"] == ["A", "B", "the rest"]
    with pytest.raises(Reject, match="no handler is stated for topic c"):
        route({"a": lambda _: "A"}).call(_message("c"))


def test_async_handlers_are_awaited():
    """When all of them are."""

    async def handle(message: Message) -> str:
        await asyncio.sleep(0)
        return message.topic

    routed = route({"a": handle})
    assert routed.is_async
    assert asyncio.run(routed.call(_message("a"))) == "a"


def test_open_and_close_reach_all_and_workers_have_their_own():
    """Opened in order, closed in reverse; another worker has other instances."""
    routed = route({"a": _Opened, "b": _Other})
    _Opened.seen.clear()
    assert routed.open is not None
    assert routed.close is not None
    routed.open()
    routed.close()
    assert _Opened.seen == ["open _Opened", "open _Other", "close _Other", "close _Opened"]
    again = routed.for_worker()
    assert again.call(_message("b")) == "_Otherb"
    assert again.for_worker() is not again


def test_async_hooks_are_awaited_in_order():
    """Also mixed with plain ones."""
    done: list[str] = []

    class Plain:
        def open(self) -> None:
            done.append("plain")

        async def handle(self, _: Message) -> None: ...

    class Awaited(Plain):
        async def open(self) -> None:  # type: ignore[override]
            await asyncio.sleep(0)
            done.append("awaited")

    routed = route({"a": Awaited, "b": Plain, "c": Awaited})
    assert routed.open is not None
    asyncio.run(routed.open())  # type: ignore[arg-type]
    assert done == ["awaited", "plain", "awaited"]


async def _awaited(_: Message) -> None: ...


@pytest.mark.parametrize(
    ("handlers", "told"),
    [
        ({"a": print, "b": _awaited}, "share a mode"),
        ({"a": batch(5)(lambda _: None)}, "takes batches"),
        ({}, "at least one topic"),
    ],
)
def test_what_cannot_share_a_mode_is_refused(handlers, told):
    """At start, naming the handler."""
    with pytest.raises(StartFailure, match=told):
        route(handlers)


def test_a_hint_counts_when_all_agree():
    """Otherwise mode auto measures."""
    assert route({"a": cpu_bound(lambda _: None), "b": cpu_bound(lambda _: None)}).mode_hint is Mode.PROCESS
    assert route({"a": cpu_bound(lambda _: None), "b": io_bound(lambda _: None)}).mode_hint is None
