"""From an exception of the handler to a failure record. Shared by engines; decides nothing about retries."""

from typing import NamedTuple

from consumer_runtime.engines.engine import ERROR_TEXT_CHARACTERS_AT_MOST, Failure, FailureKind, error_names
from consumer_runtime.errors import Reject, RetryAfter
from consumer_runtime.message import Message


class Raised(NamedTuple):
    """What is kept of an exception: plain values, so that it travels between processes whatever the exception is."""

    kind: FailureKind
    classes: tuple[str, ...]
    text: str
    retry_after_seconds: float = 0.0


def raised(error: BaseException) -> Raised:
    """Return what is kept of an exception that a handler raised."""
    classes = error_names(error) or (f"builtins:{type(error).__name__}",)
    text = _text(error)
    if isinstance(error, RetryAfter):
        return Raised(FailureKind.RETRY_AFTER, classes, text, error.seconds)
    kind = FailureKind.REJECT if isinstance(error, Reject) else FailureKind.ERROR
    return Raised(kind, classes, text)


def timed_out(timeout_seconds: float) -> Raised:
    """Return the record of an attempt that was given up at its timeout."""
    return Raised(FailureKind.TIMEOUT, _TIMEOUT_CLASSES, f"no result within {timeout_seconds:g} s")


def failure(message: Message, cause: Raised, *, started_at: float, finished_at: float) -> Failure:
    """Return the failure of one message."""
    return Failure(
        message=message,
        kind=cause.kind,
        error_class=cause.classes[0],
        error_text=cause.text,
        error_classes=cause.classes,
        retry_after_seconds=cause.retry_after_seconds,
        started_at=started_at,
        finished_at=finished_at,
    )


def _text(error: BaseException) -> str:
    try:
        return str(error)[:ERROR_TEXT_CHARACTERS_AT_MOST]
    except Exception as broken:  # noqa: BLE001 - the user's own __str__ may raise anything, and the failure must be told
        return f"(its __str__ raised {type(broken).__name__})"


_TIMEOUT_CLASSES = error_names(TimeoutError())
