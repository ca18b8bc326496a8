"""Logging in a worker process: the shape of the program's lines, at the cost of its imports only when something logs.

Not here: the shape itself (`consumer_runtime.logs`).
"""

import logging
import sys


class _Deferred(logging.Handler):
    """Stands in until the first line: configuring imports structlog, 8 MB that a silent worker saves."""

    def emit(self, record: logging.LogRecord) -> None:
        """Configure, and hand the line to what stands here from now on."""
        _configure(logging.root.level)
        logging.root.handle(record)


def follow(level: int) -> None:
    """Log from `level` on, as the program does; 0 leaves logging as it is."""
    if not level:
        return
    logging.root.setLevel(level)
    if "structlog" in sys.modules:
        _configure(level)
    elif not logging.root.handlers:
        logging.root.handlers = [_Deferred()]


def _configure(level: int) -> None:
    from consumer_runtime import logs
    from consumer_runtime.contract.settings import LogLevel

    logs.configure(LogLevel(logging.getLevelName(level)))
