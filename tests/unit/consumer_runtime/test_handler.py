import asyncio
import functools
import sys
from pathlib import Path

import pytest

from consumer_runtime import Reject, StartFailure, batch, cpu_bound, io_bound, trivial
from consumer_runtime.contract.choices import Mode, StartReason, ValueFormat
from consumer_runtime.handler import Handler, Reference, current_message, load, refer, wrap
from consumer_runtime.message import Message


def _message(value: bytes | None = b"1") -> Message:
    return Message("orders", 3, 7, b"key", value)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a module of the user's under a fresh name and return that name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    written: list[str] = []

    def write(source: str) -> str:
        name = f"users_module_{tmp_path.name.replace('-', '_')}_{len(written)}"
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        written.append(name)
        return name

    yield write
    for name in written:
        sys.modules.pop(name, None)


class _Counting:
    """A class handler: each instance counts its own calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.is_open = False

    def open(self) -> None:
        self.is_open = True

    def handle(self, _: object) -> int:
        self.calls += 1
        return self.calls

    def close(self) -> None:
        self.is_open = False


def _failure_of(target: object) -> StartFailure:
    with pytest.raises(StartFailure) as caught:
        wrap(target)
    return caught.value


def test_a_function_is_called_as_it_is():
    """Nothing stands between the runtime and a plain handler: the hot path pays for no wrapper."""

    def handle(_: object) -> None: ...

    assert wrap(handle).call is handle


def test_each_worker_has_its_own_instance_of_a_class():
    """Two workers share nothing; `open` and `close` belong to the instance that is called."""
    first = wrap(_Counting)
    second = first.for_worker()
    assert [first.call(_message()), first.call(_message()), second.call(_message())] == [1, 2, 1]
    assert second.open is not None
    second.open()
    assert [handler.call.__self__.is_open for handler in (first, second)] == [False, True]


def test_a_function_is_shared_by_all_workers():
    """There is no instance to make."""

    def handle(_: object) -> None: ...

    handler = wrap(handle)
    assert handler.for_worker() is handler


class _Awaited:
    """An instance that is called."""

    async def __call__(self, _: object) -> None: ...


async def _awaited(_: object) -> None: ...


@pytest.mark.parametrize("target", [_awaited, _Awaited, _Awaited(), functools.partial(_awaited)])
def test_async_is_seen_in_every_shape(target):
    """A coroutine function, an object called with `async def`, and a partial of one."""
    assert wrap(target).is_async


@io_bound
def _waits(_: object) -> None: ...


@cpu_bound
def _computes(_: object) -> None: ...


@trivial
def _adds(_: object) -> None: ...


@io_bound
async def _waits_awaited(_: object) -> None: ...


@cpu_bound
async def _computes_awaited(_: object) -> None: ...


@pytest.mark.parametrize(
    ("handler", "hint"),
    [
        (_waits, Mode.THREAD),
        (_computes, Mode.PROCESS),
        (_adds, Mode.SINGLE),
        (_waits_awaited, Mode.ASYNC),
        (_computes_awaited, Mode.PROCESS),
        (_awaited, Mode.ASYNC),
        (print, None),
    ],
)
def test_hints_name_a_mode(handler, hint):
    """A decorator decides; `async def` alone says async; a plain function says nothing and is measured."""
    assert wrap(handler).mode_hint is hint


def test_batches_are_asked_for_on_a_function_or_a_method():
    """The decorator works in both places, and its size is what one call takes at most."""

    @batch(50)
    def many(_: object) -> None: ...

    class Many:
        @batch(7)
        def handle(self, _: object) -> None: ...

    assert [wrap(each).batch_size for each in (many, Many, print)] == [50, 7, 0]
    assert [wrap(each).wants_batch for each in (many, print)] == [True, False]
    with pytest.raises(ValueError, match="at least 1"):
        batch(0)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (3, "3 is of type int; give a function"),
        (lambda: None, "exactly one positional argument"),
        (lambda _, __: None, "exactly one positional argument"),
    ],
)
def test_what_cannot_be_called_with_a_message_is_refused_at_start(target, told):
    """Before the first message, and saying what is wrong."""
    error = _failure_of(target).error
    assert error.reason is StartReason.HANDLER_UNSUITABLE
    assert told in error.remedy


def test_a_constructor_with_arguments_is_refused():
    """Nobody could give them; the user's own traceback is kept."""

    class Needs:
        def __init__(self, database: str) -> None: ...

        def handle(self, _: object) -> None: ...

    assert "constructible without arguments" in _failure_of(Needs).error.remedy


@pytest.mark.parametrize(
    ("entrypoint", "reason", "told"),
    [
        ("no.such:thing", StartReason.HANDLER_NOT_FOUND, "no module 'no'"),
        ("json.nowhere:thing", StartReason.HANDLER_NOT_FOUND, "no module 'json.nowhere'"),
        ("json:lods", StartReason.HANDLER_NOT_FOUND, "has no 'lods'; it has:"),
        ("json:decoder", StartReason.HANDLER_UNSUITABLE, "of type module"),
    ],
)
def test_a_bad_entrypoint_says_which_part_is_bad(entrypoint, reason, told):
    """Module, attribute, or what was found there."""
    with pytest.raises(StartFailure) as caught:
        load(entrypoint)
    error = caught.value.error
    assert (error.reason, error.field, error.value) == (reason, "spec.handler.entrypoint", entrypoint)
    assert told in error.remedy


def test_an_import_that_fails_shows_the_users_own_code_only(module):
    """The traceback begins in the user's module: none of our frames, none of the import machinery."""
    name = module("def configure():\n    raise KeyError('DATABASE_URL')\n\nconfigure()\n")
    with pytest.raises(StartFailure) as caught:
        load(f"{name}:handle")
    failure = caught.value
    assert failure.error.reason is StartReason.HANDLER_FAILED_TO_IMPORT
    assert "KeyError" in failure.error.remedy
    assert "configure()" in failure.detail
    assert "consumer_runtime" not in failure.detail
    assert "importlib" not in failure.detail


@pytest.mark.parametrize("source", ["import not_installed_anywhere\n", "raise SystemExit(3)\n", "def broken(:\n"])
def test_whatever_an_import_does_it_is_a_failed_import(module, source):
    """A missing dependency is not a missing handler, and an exit or a syntax error ends nothing of ours."""
    with pytest.raises(StartFailure) as caught:
        load(f"{module(source)}:handle")
    assert caught.value.error.reason is StartReason.HANDLER_FAILED_TO_IMPORT


def test_json_values_are_decoded_and_the_original_stays():
    """A dead letter needs the bytes as they came, so the handler gets a copy."""
    original, seen = _message(b'{"amount": 5}'), []
    wrap(seen.append, value_format=ValueFormat.JSON).call(original)
    assert seen[0].value == {"amount": 5}
    assert (seen[0].topic, seen[0].partition, seen[0].offset, seen[0].key) == ("orders", 3, 7, b"key")
    assert original.value == b'{"amount": 5}'


def test_text_values_async_handlers_batches_and_tombstones_are_decoded_too():
    """Each shape sees decoded values; a null value stays null."""

    async def awaited(each: Message) -> object:
        return each.value

    @batch(10)
    def together(messages: list[Message]) -> list[object]:
        return [each.value for each in messages]

    assert asyncio.run(wrap(awaited, value_format=ValueFormat.TEXT).call(_message("ä".encode()))) == "ä"
    assert wrap(together, value_format=ValueFormat.JSON).call([_message(b"1"), _message(None)]) == [1, None]


@pytest.mark.parametrize(("value_format", "value"), [(ValueFormat.JSON, b"{"), (ValueFormat.TEXT, b"\xff")])
def test_a_message_that_does_not_decode_is_rejected_and_not_retried(value_format, value):
    """It never will decode: to the dead letter topic, not into a loop."""
    with pytest.raises(Reject, match="does not decode"):
        wrap(print, value_format=value_format).call(_message(value))


def test_a_reference_makes_the_same_handler_elsewhere(module):
    """What a worker process is told suffices: entry point, value format and log context."""
    name = module(
        "from consumer_runtime.handler import current_message\n\n"
        "def handle(m):\n    return current_message.get(), m.value\n"
    )
    reference = Reference(entrypoint=f"{name}:handle", value_format=ValueFormat.JSON, log_context=True)
    handler = refer(reference)
    at, value = handler.call(_message(b"[1]"))
    assert (at.offset, value, handler.reference) == (7, [1], reference)
    assert current_message.get() is None, "log lines after the call would carry its message"


def test_only_what_can_be_imported_has_a_reference():
    """A lambda has no name in another process; a function of a module has."""
    assert wrap(_Counting).reference is not None
    assert wrap(lambda _: None).reference is None
    assert isinstance(wrap(_Counting()), Handler)
    assert wrap(_Counting()).reference is None
