"""Handlers that fail on purpose; how often and how long comes from the environment.

Whether an attempt fails follows from the message's place and the attempt, so that every run fails the same ones.
"""

import asyncio
import hashlib
import os

from consumer_runtime import Message

RATE_VARIABLE = "FAILURE_RATE"
SECONDS_VARIABLE = "FAILURE_WORK_SECONDS"
POISON = b"poison"
_RATE = float(os.environ.get(RATE_VARIABLE, "0"))
_SECONDS = float(os.environ.get(SECONDS_VARIABLE, "0"))
_RANGE = 1 << 32


class SimulatedError(Exception):
    """The work did not succeed this time."""


def fails(message: Message) -> bool:
    """Return whether this attempt is one of those that fail."""
    text = f"{message.partition}/{message.offset}/{message.attempt}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big") < _RATE * _RANGE


async def flaky(message: Message) -> None:
    """Work, and fail at the stated rate."""
    if _SECONDS:
        await asyncio.sleep(_SECONDS)
    if fails(message):
        raise SimulatedError("simulated failure")


async def poisoned(message: Message) -> None:
    """Fail for poison; work on everything else, and be done."""
    if message.value is not None and message.value.startswith(POISON):
        raise SimulatedError("poison")
    if _SECONDS:
        await asyncio.sleep(_SECONDS)


async def always(_: Message) -> None:
    """Fail."""
    raise SimulatedError("always")


async def nothing(_: Message) -> None:
    """Be done at once."""


def nothing_called(_: Message) -> None:
    """Be done at once, without a loop."""
