"""Handlers that worker processes import; each success is one line in the file that EFFECTS names."""

# ruff: noqa: D103 - the names say what they do

import asyncio
import hashlib
import os
import random
import time
from typing import Any


def write(message: Any) -> None:
    key = (message.key or b"-").decode()
    descriptor = os.open(os.environ["EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, f"{message.partition} {message.offset} {key} {message.attempt}\n".encode())
    finally:
        os.close(descriptor)


def faulty(message: Any) -> None:
    draw = random.Random(f"{message.partition}/{message.offset}/{message.attempt}").random()
    if draw < 0.1:
        raise ValueError(f"attempt {message.attempt}")
    if os.environ.get("EXITS") and draw < 0.104 and message.attempt <= 2:
        os._exit(7)
    write(message)


def short(message: Any) -> None:
    time.sleep(0.0005)
    write(message)


def hangs_on_poison(message: Any) -> None:
    if message.value == b"poison":
        time.sleep(600)
    write(message)


def computes(message: Any) -> None:
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 2_000)
    write(message)


def slow_when_hot(message: Any) -> None:
    if message.key == b"hot":
        time.sleep(0.25)
    write(message)


def takes_nine_seconds(message: Any) -> None:
    time.sleep(9)
    write(message)


async def awaits_nine_seconds(message: Any) -> None:
    await asyncio.sleep(9)
    write(message)
