"""Whether the group may have given this member's partitions to others without a word: KIP-848's silent coordinator.

In the classic protocols the client knows the session's length, and says that its partitions are lost once no broker
answered for so long. With `group.protocol=consumer` the broker alone knows it, and the client goes on with what it
has fetched for as long as that lasts. Its reports tell when the coordinator was last heard; heartbeats are answered
every five seconds. Not here: what is not begun meanwhile (`consume`).
"""

from collections.abc import Mapping
from typing import Any

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]

DEFAULT_SESSION_SECONDS = 45.0
"""Kafka's `group.consumer.session.timeout.ms`, and the least that a broker allows unless it is told otherwise."""
_SESSION = "consumer.session.timeout.ms"
_ANSWER_SECONDS = 5.0
_WELL_REPORTS = 2
"""After a silence: the first may have come between the connection and the answer that says whom we belong to."""

_log = structlog.get_logger(__name__)


class Coordinator:
    """What the client's reports say of it."""

    def __init__(self, session_seconds: float, report_seconds: float) -> None:
        """Take the group's session timeout (infinite where the client watches it), and how often reports come.

        A silence counts one report before it is as long as the session, but never below half a session.
        """
        self.is_silent = False
        self._bound = max(session_seconds - report_seconds, session_seconds / 2)
        self._heard_at: float | None = None
        self._well = 0

    def report(self, statistics: Mapping[str, Any]) -> None:
        """Take librdkafka's statistics: `ts` is its monotonic clock in microseconds.

        `rxidle` is how many went by since bytes came, -1 on a connection that brought nothing yet.
        """
        at = statistics["ts"] / 1e6
        idle = statistics.get("brokers", {}).get("GroupCoordinator", {}).get("rxidle", -1)
        if idle >= 0 or self._heard_at is None:
            self._heard_at = at - max(idle, 0) / 1e6
        self._well = self._well + 1 if at - self._heard_at < self._bound else 0
        was_silent, self.is_silent = self.is_silent, self._well < (_WELL_REPORTS if self.is_silent else 1)
        if self.is_silent and not was_silent:
            _log.error("brokers silent: nothing new is begun", silent_seconds=round(at - self._heard_at, 1))
        if was_silent and not self.is_silent:
            _log.warning("brokers answer again: work goes on")

    def answered(self) -> None:
        """Take an assignment as the answer that it is."""
        self.is_silent = False
        self._heard_at = None


def session_seconds(admin: AdminClient, group: str) -> float:
    """Return the session timeout of a KIP-848 group, Kafka's default where the broker does not tell."""
    resource = ConfigResource(ResourceType.GROUP, group)
    try:
        asked = admin.describe_configs([resource], request_timeout=_ANSWER_SECONDS)
        found = asked[resource].result(2 * _ANSWER_SECONDS)
        return int(found[_SESSION].value) / 1000
    except (KafkaException, TimeoutError, KeyError, TypeError, ValueError) as error:
        _log.debug("the group's session timeout is not known", error=str(error), taken_seconds=DEFAULT_SESSION_SECONDS)
        return DEFAULT_SESSION_SECONDS
