"""One handler for each topic, behind the face of a single one. Not here: subscribing, which `source.kafka.topics` does.

ParallelConsumer(settings, route({"orders": handle_order, "payments": handle_payment}))
"""

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from consumer_runtime.contract.choices import StartReason
from consumer_runtime.errors import Reject, StartFailure
from consumer_runtime.handler import Handler, Hook, wrap

_FIELD = "spec.handler.topics"


def route(handlers: Mapping[str, Handler | Callable[[Any], Any] | type], default: Any = None) -> Handler:
    """Return a handler that calls the one of the message's topic, else `default`; without one the message is rejected.

    All must be of one kind, `async def` or not, and take single messages. Raises StartFailure (HandlerUnsuitable).
    """
    table = {topic: each if isinstance(each, Handler) else wrap(each) for topic, each in handlers.items()}
    fallback = default if default is None or isinstance(default, Handler) else wrap(default)
    return _routed(table, fallback)


def _routed(table: dict[str, Handler], default: Handler | None) -> Handler:
    every = [*table.values(), *([default] if default is not None else [])]
    is_async = _one_kind(every)
    calls = {topic: each.call for topic, each in table.items()}
    otherwise = default.call if default is not None else _no_handler
    return Handler(
        call=_choosing_async(calls, otherwise) if is_async else _choosing(calls, otherwise),
        name=", ".join(dict.fromkeys(each.name for each in every)),
        is_async=is_async,
        open=_in_turn([each.open for each in every]),
        close=_in_turn([each.close for each in reversed(every)]),
        mode_hint=every[0].mode_hint if len({each.mode_hint for each in every}) == 1 else None,
        another=functools.partial(_again, table, default),
    )


def _again(table: dict[str, Handler], default: Handler | None) -> Handler:
    again = {topic: each.for_worker() for topic, each in table.items()}
    return _routed(again, default.for_worker() if default is not None else None)


def _one_kind(handlers: list[Handler]) -> bool:
    if not handlers:
        raise _unsuitable("", "state a handler for at least one topic")
    for each in handlers:
        if each.wants_batch:
            raise _unsuitable(
                each.name, "takes batches, which may hold several topics; name a handler of single messages"
            )
        if each.is_async != handlers[0].is_async:
            raise _unsuitable(each.name, f"must be `async def` exactly when {handlers[0].name} is: they share a mode")
    return handlers[0].is_async


def _choosing(calls: dict[str, Callable[[Any], Any]], otherwise: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def chosen(message: Any) -> Any:
        call: Callable[[Any], Any] = calls.get(message.topic, otherwise)
        return call(message)

    return chosen


def _choosing_async(
    calls: dict[str, Callable[[Any], Awaitable[Any]]], otherwise: Callable[[Any], Any]
) -> Callable[[Any], Awaitable[Any]]:
    async def chosen(message: Any) -> Any:
        call: Callable[[Any], Any] = calls.get(message.topic, otherwise)
        return await call(message)

    return chosen


def _no_handler(message: Any) -> Any:
    raise Reject(f"no handler is stated for topic {message.topic}")


def _in_turn(hooks: Iterable[Hook | None]) -> Hook | None:
    """Run hooks one after the other; one that returns an awaitable is awaited before the next begins."""
    stated = [hook for hook in hooks if hook is not None]
    if not stated:
        return None

    def all_of_them() -> object:
        for number, hook in enumerate(stated):
            returned = hook()
            if inspect.isawaitable(returned):
                return _rest(returned, stated[number + 1 :])
        return None

    return all_of_them


async def _rest(first: Awaitable[object], hooks: list[Hook]) -> None:
    await first
    for hook in hooks:
        returned = hook()
        if inspect.isawaitable(returned):
            await returned


def _unsuitable(value: str, remedy: str) -> StartFailure:
    return StartFailure.because(StartReason.HANDLER_UNSUITABLE, field=_FIELD, value=value, remedy=remedy)
