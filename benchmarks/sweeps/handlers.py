"""Handlers of the sweeps: nothing inline, nothing as a coroutine, and a wait of stated length."""

import os
import time

from consumer_runtime import Message

SECONDS_VARIABLE = "SWEEP_WORK_SECONDS"
_SECONDS = float(os.environ.get(SECONDS_VARIABLE, "0"))


def nothing(_: Message) -> None:
    """Be done at once."""


async def nothing_async(_: Message) -> None:
    """Be done at once."""


def wait(_: Message) -> None:
    """Block a worker, as a call to a database does."""
    time.sleep(_SECONDS)
