"""The user's code as a value: what to call, whether it is async, wants batches, opens and closes.

Loads an entry point, or wraps a callable of a library user. Knows neither engines nor Kafka.
"""

import copy
import functools
import importlib
import inspect
import json
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from consumer_runtime.contract.choices import Mode, StartReason, ValueFormat
from consumer_runtime.errors import Reject, StartFailure

_ENTRYPOINT = "spec.handler.entrypoint"
_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])
Hook = Callable[[], object]

current_message: ContextVar[Any] = ContextVar("current_message", default=None)
"""The message (or list of messages) that this thread's or task's handler is at; read only when a line is logged."""


def io_bound(handler: _Decorated) -> _Decorated:
    """Tell mode auto that the handler mostly waits: async when it is `async def`, else thread."""
    handler.__workload__ = "io"  # type: ignore[attr-defined]
    return handler


def cpu_bound(handler: _Decorated) -> _Decorated:
    """Tell mode auto that the handler mostly computes: process."""
    handler.__workload__ = "cpu"  # type: ignore[attr-defined]
    return handler


def trivial(handler: _Decorated) -> _Decorated:
    """Tell mode auto that the handler takes microseconds: single."""
    handler.__workload__ = "trivial"  # type: ignore[attr-defined]
    return handler


def batch(size: int) -> Callable[[_Decorated], _Decorated]:
    """Ask for a list of up to `size` messages in each call, instead of one message: `@batch(100)`.

    Raises ValueError for what is no number from 1 on.
    """
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"@batch(size={size!r}): the size must be a whole number, at least 1, as in @batch(100)")

    def mark(handler: _Decorated) -> _Decorated:
        handler.__batch_size__ = size  # type: ignore[attr-defined]
        return handler

    return mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Where a handler is and how it is called; small and picklable, for worker processes."""

    entrypoint: str
    topics: tuple[tuple[str, str], ...] = ()
    """Entry points of single topics (`routes`)."""
    value_format: ValueFormat = ValueFormat.BYTES
    log_context: bool = False
    """Whether `current_message` is set for each call."""
    options: str = ""
    """What else the settings put around it (`handler_options`); empty: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """The user's code, ready to be called with one message, or with a list of them when `wants_batch`.

    `open` runs once in each worker before its first message, `close` once after its last; either may return an
    awaitable, which the worker's loop (or `asyncio.run`) awaits.
    """

    call: Callable[[Any], Any]
    name: str
    """`module:attribute`, for logs."""
    is_async: bool = False
    batch_size: int = 0
    """Messages in one call at most; 0 for a handler of single messages."""
    open: Hook | None = None
    close: Hook | None = None
    mode_hint: Mode | None = None
    """What mode auto should choose; None: measure."""
    another: Callable[[], "Handler"] | None = None
    """Makes the same handler over a new instance of its class."""
    reference: Reference | None = None
    """What `refer` makes the same handler of in another process; None when it cannot be imported there."""

    @property
    def wants_batch(self) -> bool:
        """Whether each call takes a list of messages."""
        return self.batch_size > 0

    def for_worker(self) -> "Handler":
        """Return a handler for one more worker: a new instance of a class handler, or the function itself."""
        return self.another() if self.another else self


def refer(reference: Reference) -> Handler:
    """Return the handler under a reference; the program and each worker process begin with it. Raises as `load`."""
    loaded = load(reference.entrypoint, value_format=reference.value_format)
    if reference.topics:
        from consumer_runtime.routes import route

        table = {topic: load(each, value_format=reference.value_format) for topic, each in reference.topics}
        loaded = route(table, loaded)
    if reference.log_context:
        loaded = _with_log_context(loaded)
    if not reference.options:
        return replace(loaded, reference=reference)
    from consumer_runtime.handler_options import with_options

    return with_options(replace(loaded, reference=replace(reference, options="")), reference.options)


def load(entrypoint: str, *, value_format: ValueFormat = ValueFormat.BYTES) -> Handler:
    """Import `package.module:attribute` and return it as a handler.

    Raises StartFailure: HandlerNotFound when module or attribute does not exist, HandlerFailedToImport with the user's
    own part of the traceback as `detail`, HandlerUnsuitable when it is there but cannot be called with a message.
    """
    return wrap(load_attribute(entrypoint), name=entrypoint, value_format=value_format)


def load_attribute(entrypoint: str, *, field: str = _ENTRYPOINT) -> Any:
    """Import `package.module:attribute` of the user's code and return the attribute. Raises StartFailure as `load`."""
    module_name, _, attribute = entrypoint.partition(":")
    module = _import(module_name, entrypoint, field)
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        raise _not_found(entrypoint, _no_attribute(module, attribute), field) from error


def wrap(target: Any, *, name: str | None = None, value_format: ValueFormat = ValueFormat.BYTES) -> Handler:
    """Return a callable, a class with `handle` or `__call__`, or an instance of one, as a handler.

    Raises StartFailure with HandlerUnsuitable.
    """
    label = name or f"{getattr(target, '__module__', '?')}:{getattr(target, '__qualname__', type(target).__name__)}"
    reference = _reference(target, label, value_format)
    if not inspect.isclass(target):
        return replace(_of_instance(target, label, value_format), reference=reference)
    make = functools.partial(_of_class, target, label, value_format)
    return replace(make(), another=make, reference=reference)


def not_open(name: str, error: BaseException) -> StartFailure:
    """Return why a worker cannot begin: what the user's `open` raised, with their own part of the traceback."""
    remedy = f"the handler's open() raised {type(error).__name__}: {error}"
    return _failure(StartReason.HANDLER_UNSUITABLE, name, remedy, detail=_own_traceback(error))


def _reference(target: Any, name: str, value_format: ValueFormat) -> Reference | None:
    """Lambdas, closures and instances made on the fly have no name under which another process finds them."""
    module_name, _, attribute = name.partition(":")
    found = getattr(sys.modules.get(module_name), attribute, None)
    return Reference(entrypoint=name, value_format=value_format) if found is target else None


def _of_class(cls: type, name: str, value_format: ValueFormat) -> Handler:
    try:
        instance = cls()
    except Exception as error:  # the user's constructor may raise anything
        remedy = f"{name} must be constructible without arguments; it raised {type(error).__name__}: {error}"
        raise _failure(StartReason.HANDLER_UNSUITABLE, name, remedy, detail=_own_traceback(error)) from error
    return _of_instance(instance, name, value_format)


def _of_instance(target: Any, name: str, value_format: ValueFormat) -> Handler:
    call = getattr(target, "handle", None) or target
    if not callable(call):
        told = f"{target!r:.200} is of type {type(target).__name__}"
        remedy = f"{told}; give a function, or a class with handle(self, message)"
        raise _failure(StartReason.HANDLER_UNSUITABLE, name, remedy)
    _require_one_argument(call, name)
    marked = (call, target)
    is_async = _is_async(call)
    return Handler(
        call=_decoding(call, value_format, is_async=is_async),
        name=name,
        is_async=is_async,
        batch_size=_mark(marked, "__batch_size__", 0),
        open=_hook(target, "open"),
        close=_hook(target, "close"),
        mode_hint=_mode_hint(_mark(marked, "__workload__", ""), is_async=is_async),
    )


def _mark(marked: tuple[Any, ...], attribute: str, default: Any) -> Any:
    return next((value for each in marked if (value := getattr(each, attribute, None)) is not None), default)


def _mode_hint(workload: str, *, is_async: bool) -> Mode | None:
    waiting = Mode.ASYNC if is_async else Mode.THREAD
    undeclared = Mode.ASYNC if is_async else None
    return {"cpu": Mode.PROCESS, "trivial": Mode.SINGLE, "io": waiting}.get(workload, undeclared)


def _is_async(call: Any) -> bool:
    while isinstance(call, functools.partial):
        call = call.func
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(call.__call__)


def _hook(target: Any, name: str) -> Hook | None:
    """Only objects of a user's class have hooks: a function's or a module's attribute of that name is chance."""
    hook = None if inspect.isroutine(target) else getattr(target, name, None)
    return hook if callable(hook) else None


def _require_one_argument(call: Any, name: str) -> None:
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):  # a builtin without a signature: calling it will tell
        return
    try:
        signature.bind(object())
    except TypeError as error:
        remedy = f"{name}{signature} must take exactly one positional argument, the message"
        raise _failure(StartReason.HANDLER_UNSUITABLE, name, remedy) from error


def _import(module_name: str, entrypoint: str, field: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            remedy = f"no module {error.name!r} can be imported; is it in the image or mounted, and on PYTHONPATH?"
            raise _not_found(entrypoint, remedy, field) from error
        raise _failed_to_import(entrypoint, error, field) from error
    except (Exception, SystemExit) as error:  # importing runs the user's code, which may raise anything
        raise _failed_to_import(entrypoint, error, field) from error


def _no_attribute(module: ModuleType, attribute: str) -> str:
    callables = sorted(name for name, value in vars(module).items() if callable(value) and not name.startswith("_"))
    return f"module {module.__name__!r} has no {attribute!r}; it has: {', '.join(callables[:20]) or 'no callable'}"


def _failed_to_import(entrypoint: str, error: BaseException, field: str) -> StartFailure:
    detail = _own_traceback(error)
    remedy = f"the module raised {type(error).__name__} while it was imported: {error}"
    return _failure(StartReason.HANDLER_FAILED_TO_IMPORT, entrypoint, remedy, detail=detail, field=field)


def _not_found(entrypoint: str, remedy: str, field: str) -> StartFailure:
    return _failure(StartReason.HANDLER_NOT_FOUND, entrypoint, remedy, field=field)


def _failure(
    reason: StartReason, value: str, remedy: str, *, detail: str = "", field: str = _ENTRYPOINT
) -> StartFailure:
    return StartFailure.because(reason, field=field, value=value, remedy=remedy, detail=detail)


def _own_traceback(error: BaseException) -> str:
    """Return the traceback without our frames and what lies between them: what the user wrote, and below."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_between(frame.filename)]
    return "".join(traceback.format_list(own) + traceback.format_exception_only(error))


def _is_between(filename: str) -> bool:
    return filename.startswith(_NOT_THEIRS) or _FUTURES in filename


_NOT_THEIRS = (str(Path(__file__).parent) + os.sep, "<frozen importlib", str(importlib.__file__))
_FUTURES = f"{os.sep}concurrent{os.sep}futures{os.sep}"


def _decoding(call: Callable[[Any], Any], value_format: ValueFormat, *, is_async: bool) -> Callable[[Any], Any]:
    if value_format in (ValueFormat.BYTES, ValueFormat.SCHEMA_REGISTRY):  # the latter is `schemas`', by options
        return call
    decode = json.loads if value_format is ValueFormat.JSON else bytes.decode
    if is_async:
        return _decoding_async(call, decode)

    @functools.wraps(call)
    def decoded(message: Any) -> Any:
        return call(_decode(message, decode))

    return decoded


def _decoding_async(
    call: Callable[[Any], Awaitable[Any]], decode: Callable[[bytes], Any]
) -> Callable[[Any], Awaitable[Any]]:
    @functools.wraps(call)
    async def decoded(message: Any) -> Any:
        return await call(_decode(message, decode))

    return decoded


def _with_log_context(handler: Handler) -> Handler:
    make = functools.partial(_again_with_log_context, handler.another) if handler.another else None
    return replace(handler, call=_binding(handler.call, is_async=handler.is_async), another=make)


def _again_with_log_context(another: Callable[[], Handler]) -> Handler:
    return _with_log_context(another())


def _binding(call: Callable[[Any], Any], *, is_async: bool) -> Callable[[Any], Any]:
    """Tell the log which message the handler is at, for as long as it is: about 0.3 us a call."""
    bind, unbind = current_message.set, current_message.reset
    if is_async:

        @functools.wraps(call)
        async def bound_async(message: Any) -> Any:
            token = bind(message)
            try:
                return await call(message)
            finally:
                unbind(token)

        return bound_async

    @functools.wraps(call)
    def bound(message: Any) -> Any:
        token = bind(message)
        try:
            return call(message)
        finally:
            unbind(token)

    return bound


def _decode(message: Any, decode: Callable[[bytes], Any]) -> Any:
    """Return a copy with the decoded value: the original's bytes are what a dead letter must carry."""
    if isinstance(message, list):
        return [_decode(each, decode) for each in message]
    if message.value is None:
        return message
    decoded = copy.copy(message)
    try:
        decoded.value = decode(message.value)
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise Reject(f"the value does not decode: {error}") from error
    return decoded
