"""Waiting with a deadline, and saying what was seen when it passes. Nothing here knows what it waits for."""

import http.client
import socket
import time
from collections.abc import Callable

from testbed import processes
from testbed.errors import NotReadyError
from testbed.state import ProcessRecord


def wait(
    what: str,
    check: Callable[[], bool],
    *,
    seconds: float,
    process: ProcessRecord | None = None,
    interval_seconds: float = 0.1,
) -> None:
    """Call `check` until it is true.

    Raises:
        NotReadyError: the deadline passed, or `process` ended; with the end of its log.
    """
    deadline = time.monotonic() + seconds
    while not check():
        if process is not None and not processes.alive(process):
            raise NotReadyError(f"{what}: process {process.name} ended.\n{_evidence(process)}")
        if time.monotonic() > deadline:
            raise NotReadyError(f"{what}: not ready after {seconds:.0f} s.\n{_evidence(process)}")
        time.sleep(interval_seconds)


def listening(address: str, port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        with socket.create_connection((address, port), timeout=1.0):
            return True
    except OSError:
        return False


def fetch(address: str, path: str, *, method: str = "GET") -> bytes | None:
    """What `http://address/path` answers with status 200, else None."""
    connection = http.client.HTTPConnection(address, timeout=5.0)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body if answer.status == http.client.OK else None


def _evidence(process: ProcessRecord | None) -> str:
    return "" if process is None else f"The end of {process.log}:\n{processes.tail(process.log)}"
