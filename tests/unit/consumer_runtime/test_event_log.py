"""The optional log of assignments and commits."""

import json
import time
from pathlib import Path

import structlog.testing

from consumer_runtime.event_log import SILENT, VARIABLE, Event, EventLog


def test_each_event_is_one_line_with_its_time(tmp_path: Path) -> None:
    """What is recorded can be read back line by line, with monotonic times in order."""
    path = tmp_path / "events.jsonl"
    log = EventLog.of_environment({VARIABLE: str(path)})
    before = time.monotonic_ns()
    log.record(Event.ASSIGNED, topic="orders", partition=3, offset=7)
    log.record(Event.REVOKED, topic="orders", partition=3, dropped=2)
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert before <= first.pop("at") <= second.pop("at") <= time.monotonic_ns()
    assert first == {"event": "assigned", "topic": "orders", "partition": 3, "offset": 7}
    assert second == {"event": "revoked", "topic": "orders", "partition": 3, "dropped": 2}


def test_a_restart_appends(tmp_path: Path) -> None:
    """A process that starts again with the same file adds to it."""
    path = tmp_path / "events.jsonl"
    for _ in range(2):
        EventLog(str(path)).record(Event.MAX_POLL_EXCEEDED)
    assert len(path.read_text().splitlines()) == 2


def test_a_full_disk_ends_the_log_and_nothing_else() -> None:
    """/dev/full refuses each write as a full disk does: that is said once, and recording goes on without effect."""
    with structlog.testing.capture_logs() as said:
        log = EventLog("/dev/full")
        for _ in range(3):
            log.record(Event.MAX_POLL_EXCEEDED)
    assert [(line["event"], line["log_level"]) for line in said] == [("event log ended", "error")]
    assert "No space left" in said[0]["error"]


def test_without_a_file_nothing_is_written(tmp_path: Path) -> None:
    """The variable being unset, or empty, means no log."""
    for log in (SILENT, EventLog.of_environment({}), EventLog.of_environment({VARIABLE: ""})):
        log.record(Event.MAX_POLL_EXCEEDED)
    assert list(tmp_path.iterdir()) == []
