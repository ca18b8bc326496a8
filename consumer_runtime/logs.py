"""Structured logs on standard error: one JSON object a line, or coloured text on a terminal.

Whatever uses the standard library's `logging`, such as a handler's own code, comes out in the same shape. While a
handler runs its lines carry where the message is from and its trace. Not here: what is logged.
"""

import logging
import re
import sys
from collections.abc import Sequence
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from consumer_runtime.contract.settings import LogLevel
from consumer_runtime.handler import current_message

_TRACEPARENT = re.compile(rb"^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
"""W3C Trace Context, level 1: version-traceid-parentid-flags."""


def configure(level: LogLevel, *, stream: TextIO | None = None) -> None:
    """Send structlog and `logging` to one place; worker processes call it as well. Calling it again replaces it."""
    out = stream or sys.stderr
    final: Processor = structlog.dev.ConsoleRenderer() if out.isatty() else structlog.processors.JSONRenderer()
    before = _before_rendering()
    finish: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, final]
    if not out.isatty():
        finish.insert(1, structlog.processors.format_exc_info)
    handler = logging.StreamHandler(out)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=before, processors=finish))
    logging.root.handlers = [handler]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    set_level(level)


def set_level(level: LogLevel) -> None:
    """Change the level of everything that logs, at once."""
    logging.root.setLevel(level.value)


def trace_of(headers: Sequence[tuple[str, bytes | None]] | None) -> dict[str, str]:
    """Return `trace_id` and `span_id` of a message's `traceparent` header; nothing when it is absent or malformed."""
    for name, value in headers or ():
        if name == "traceparent" and value and (found := _TRACEPARENT.match(value)):
            return {"trace_id": found[1].decode(), "span_id": found[2].decode()}
    return {}


def _add_message(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    message = current_message.get()
    if isinstance(message, list):
        message = message[0] if message else None
    if message is None:
        return event
    where = {"topic": message.topic, "partition": message.partition, "offset": message.offset}
    return {**where, **trace_of(message.headers), **event}


def _before_rendering() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        _add_message,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
