"""Handlers that worker processes import. Each writes what it did to the file that EFFECTS names, one line a call."""

# ruff: noqa: D101, D102, D103 - the names say what they do, each does one thing

import asyncio
import contextlib
import gc
import hashlib
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from consumer_runtime import Reject, RetryAfter, batch


def write(message: Any, what: str = "done") -> None:
    """One line in one write: lines of many processes do not mix."""
    key = (message.key or b"-").decode()
    line = f"{key} {message.partition} {message.offset} {message.attempt} {os.getpid()} {what}\n"
    descriptor = os.open(os.environ["EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def note(message: Any) -> None:
    write(message)


def faulty(message: Any) -> None:
    """Fails in a way drawn from message and attempt, so that every run of a seed is the same."""
    draw = random.Random(f"{os.environ.get('SEED', '0')}/{message.offset}/{message.attempt}").random()
    if message.attempt <= 2 and draw < 0.004:
        os._exit(9)
    if message.attempt <= 2 and draw < 0.006:
        time.sleep(60)
    if message.attempt <= 2 and draw < 0.04:
        raise ValueError("drawn")
    write(message)


def by_value(message: Any) -> None:
    """Does what the value says."""
    word, _, argument = (message.value or b"").decode().partition(" ")
    if word in ONLY_FIRST and message.attempt == 1:
        ONLY_FIRST[word](message)
    if word in ERRORS:
        raise ERRORS[word]
    if word == "sleep":
        time.sleep(float(argument))
    write(message)


def _exit(message: Any) -> None:
    os._exit(3)


def _hang(message: Any) -> None:
    child = subprocess.Popen(["sleep", "600"])
    write(message, f"child={child.pid}")
    time.sleep(600)


def _close_everything(message: Any) -> None:
    os.closerange(3, 64)


def _leave_a_grandchild(message: Any) -> None:
    if os.fork() == 0:
        time.sleep(5)
        os._exit(0)
    os._exit(4)


ONLY_FIRST = {"exit": _exit, "hang": _hang, "grandchild": _leave_a_grandchild, "close-everything": _close_everything}
ERRORS: dict[str, BaseException] = {
    "error": KeyError("no such order"),
    "system-exit": SystemExit(5),
    "retry-after": RetryAfter(2.5, "busy"),
    "reject": Reject("never"),
}


def forks(message: Any) -> None:
    """Forks, threads and starts a subprocess, and waits for all of them."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    thread = threading.Thread(target=subprocess.run, args=(["true"],))
    thread.start()
    thread.join()
    subprocess.run(["true"], check=True)
    process = multiprocessing.get_context("fork").Process(target=int)
    process.start()
    process.join()
    write(message)


def comes_back_twice(message: Any) -> None:
    """A forked child that returns from the handler as well, as careless code does."""
    if os.fork() == 0:
        if message.value == b"raise":
            raise ValueError("in the child")
        return
    write(message)
    with contextlib.suppress(ChildProcessError):
        os.wait()


async def asynchronous(message: Any) -> None:
    await asyncio.sleep(0.001)
    write(message, f"loop={id(asyncio.get_running_loop())}")


@batch(8)
def batches(messages: list[Any]) -> None:
    if any(message.value == b"error" and message.attempt == 1 for message in messages):
        raise ValueError("one of them")
    if any(message.value == b"exit" and message.attempt == 1 for message in messages):
        os._exit(3)
    for message in messages:
        write(message, f"of={len(messages)}")


class WithClient:
    """Holds what cannot be pickled, one for each worker."""

    def open(self) -> None:
        self.lock = threading.Lock()
        self.client = socket.socket()

    def handle(self, message: Any) -> None:
        with self.lock:
            write(message, f"client={self.client.fileno() >= 0}")

    def close(self) -> None:
        self.client.close()
        Path(os.environ["EFFECTS"]).with_name(f"closed-{os.getpid()}").touch()


class DoesNotOpen:
    def open(self) -> None:
        raise ConnectionError("no database here")

    def handle(self, message: Any) -> None:
        write(message)


class DiesInOpen:
    def open(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def handle(self, message: Any) -> None:
        write(message)


def computing(_: Any) -> None:
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 4_000)


class Held:
    """What a handler holds while it runs; `alive` counts those that nobody has let go of."""

    alive = 0

    def __init__(self) -> None:
        Held.alive += 1

    def __del__(self) -> None:
        Held.alive -= 1


def _fail_first(message: Any) -> None:
    if message.attempt == 1 and message.value == b"error":
        raise ValueError("drawn")
    write(message, f"alive={Held.alive}")


class Holds:
    """Nothing but counting of references frees what it held."""

    def open(self) -> None:
        gc.disable()

    def handle(self, message: Any) -> None:
        held = Held()
        _fail_first(message)
        del held


class HoldsForBatches(Holds):
    @batch(4)
    def handle(self, messages: list[Any]) -> None:
        held = Held()
        for message in messages:
            _fail_first(message)
        del held


class HoldsAsynchronously(Holds):
    async def handle(self, message: Any) -> None:
        held = Held()
        await asyncio.sleep(0)
        _fail_first(message)
        del held
