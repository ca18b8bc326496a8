"""librdkafka's own log lines, as structured ones, and each of them not too often.

While an address does not resolve, librdkafka says so ten times a second. Not here: what its errors mean (`problems`).
"""

import re
import time

import structlog

AGAIN_AFTER_SECONDS = 10.0
_KINDS_AT_MOST = 200
_NUMBER = re.compile(r"\d+")
_log = structlog.get_logger(__name__)


class ClientLog:
    """What confluent-kafka takes for a logger."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[float, int]] = {}
        """By the line without its numbers: when it was told, and how often it was kept back since."""

    def log(self, level: int, message: str, *arguments: object) -> None:
        """Take a line at a level of the standard library; one that was told within 10 s is only counted."""
        line = message % arguments if arguments else message
        kind, now = _NUMBER.sub("#", line), time.monotonic()
        told_at, kept_back = self._told.get(kind, (float("-inf"), 0))
        if now - told_at < AGAIN_AFTER_SECONDS:
            self._told[kind] = (told_at, kept_back + 1)
            return
        if len(self._told) >= _KINDS_AT_MOST:
            self._told.clear()
        self._told[kind] = (now, 0)
        more = {"times_since_told": kept_back + 1} if kept_back else {}
        _log.log(level, "librdkafka", line=line, **more)
