import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from consumer_runtime import logs
from consumer_runtime.contract.settings import LogLevel
from consumer_runtime.handler import Reference, current_message, refer
from consumer_runtime.message import Message

TRACEPARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """Configure logs into memory, and put everything back."""
    before, level = logging.root.handlers, logging.root.level
    written = io.StringIO()
    logs.configure(LogLevel.INFO, stream=written)
    yield written
    logging.root.handlers = before
    logging.root.setLevel(level)
    structlog.reset_defaults()


def _lines(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_every_line_is_one_json_object_whoever_logs(out):
    """Ours by structlog, the user's by the standard library, with level, logger and time."""
    structlog.get_logger("ours").info("partitions assigned", held=3)
    logging.getLogger("theirs").warning("order %s is late", 7)
    ours, theirs = _lines(out)
    assert (ours["event"], ours["held"], ours["level"], ours["logger"]) == ("partitions assigned", 3, "info", "ours")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("order 7 is late", "warning", "theirs")
    assert str(theirs["timestamp"]).endswith("Z")


def test_an_exception_stays_on_its_line(out):
    """A log collector sees one event, not twenty."""
    logging.getLogger("theirs").error("failed", exc_info=ValueError("bad"))
    (line,) = _lines(out)
    assert "ValueError: bad" in str(line["exception"])


def test_the_level_changes_at_once_for_loggers_that_exist(out):
    """Also for one that was used before: levels are not cached."""
    ours, theirs = structlog.get_logger("ours"), logging.getLogger("theirs")
    for logger in (ours, theirs):
        logger.debug("hidden")
    logs.set_level(LogLevel.DEBUG)
    for logger in (ours, theirs):
        logger.debug("shown")
    logs.set_level(LogLevel.ERROR)
    for logger in (ours, theirs):
        logger.info("hidden again")
    assert [line["event"] for line in _lines(out)] == ["shown", "shown"]


def test_a_handlers_lines_carry_its_message_and_trace(out, monkeypatch):
    """Where the message is from, and the ids by which a tracing system finds the rest of the story."""
    module = type(sys)("module_that_logs")
    module.handle = lambda _: logging.getLogger("shop").info("sold")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "module_that_logs", module)
    handler = refer(Reference(entrypoint="module_that_logs:handle", log_context=True))
    handler.call(Message("orders", 3, 7, None, b"", [("traceparent", TRACEPARENT)]))
    assert current_message.get() is None, "log lines after the call would carry its message"
    (line,) = _lines(out)
    assert (line["topic"], line["partition"], line["offset"]) == ("orders", 3, 7)
    assert (line["trace_id"], line["span_id"]) == ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


@pytest.mark.parametrize("value", [None, b"", b"00-xyz-1-01", b"\xff", TRACEPARENT[:-5]])
def test_a_malformed_trace_is_ignored(value):
    """W3C: a receiver that cannot parse it starts anew."""
    assert logs.trace_of([("traceparent", value)]) == {}
