"""librdkafka's own log lines, as structured ones. Not here: what its errors mean (`problems`)."""

import structlog

_log = structlog.get_logger(__name__)


class ClientLog:
    """What confluent-kafka takes for a logger."""

    def log(self, level: int, message: str, *arguments: object) -> None:
        """Take a line at a level of the standard library."""
        _log.log(level, "librdkafka", line=message % arguments if arguments else message)
