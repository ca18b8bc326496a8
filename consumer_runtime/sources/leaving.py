"""A bound on the client's own goodbye: a broker that holds its connection and is silent must not hold up a process.

The client's synchronous calls cannot be bounded and wait for up to a minute. Not here: what is said in leaving.
"""

import threading
from collections.abc import Callable

import structlog

LEAVE_WITHIN_SECONDS = 10.0
"""For the last commit and for leaving the group; an answer takes milliseconds."""

_log = structlog.get_logger(__name__)


def leave(goodbye: Callable[[], None]) -> None:
    """Call it, and return when it returns or its time is over; raises what it raises.

    It runs in a thread of its own while the caller does nothing else. Past its time that thread is left behind, as a
    daemon, and the group misses the member as after a kill: nothing is lost, what was not committed runs again.
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            goodbye()
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            raised.append(error)

    thread = threading.Thread(target=run, name="leave", daemon=True)
    thread.start()
    thread.join(LEAVE_WITHIN_SECONDS)
    if thread.is_alive():
        _log.error("no broker answers: leaving without a goodbye", waited_seconds=LEAVE_WITHIN_SECONDS)
    if raised:
        raise raised[0]
