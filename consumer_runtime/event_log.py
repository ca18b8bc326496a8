"""An optional log of what this member did to its group, so that a run can be judged afterwards.

Off unless `CONSUMER_EVENT_LOG` names a file. One JSON object a line, each appended by one write, so that what was
logged survives kill -9. Not for people: those have the structured log. The events are in docs/reliability.md.
"""

import json
import os
import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Self

import structlog

VARIABLE = "CONSUMER_EVENT_LOG"
_log = structlog.get_logger(__name__)


class Event(StrEnum):
    """What is logged; all but the last carry topic and partition."""

    ASSIGNED = "assigned"
    """With `offset`, where it starts; -1 while that is not known."""
    REVOKED = "revoked"
    """Written when the last commit is answered, with `dropped`: messages that still ran when the grace was over."""
    LOST = "lost"
    COMMIT_SENT = "commit_sent"
    """This one and the two answers carry `offset` and `metadata`."""
    COMMIT_ACKNOWLEDGED = "commit_acknowledged"
    COMMIT_FAILED = "commit_failed"
    MAX_POLL_EXCEEDED = "max_poll_exceeded"


class EventLog:
    """Appends events to a file; without one it does nothing."""

    def __init__(self, path: str | None = None) -> None:
        """Open the file for appending; raises OSError when that is not possible."""
        self._file = None if not path else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Return the log that the environment asks for."""
        return cls(environment.get(VARIABLE))

    def record(self, event: Event, **fields: str | int) -> None:
        """Append one event with the time of CLOCK_MONOTONIC, in nanoseconds, as `at`.

        Where that fails, as on a full disk, the log ends there and says so: consuming does not depend on it.
        """
        if self._file is None:
            return
        line = json.dumps({"at": time.monotonic_ns(), "event": event, **fields}) + "\n"
        try:
            os.write(self._file, line.encode())
        except OSError as error:
            os.close(self._file)
            self._file = None
            _log.error("event log ended", variable=VARIABLE, error=str(error))


SILENT = EventLog()
"""Logs nothing."""
