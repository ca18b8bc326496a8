"""Handlers of the calibration: wait, or compute, for as long as the environment says. Nothing is measured here."""

import asyncio
import os
import time

from consumer_runtime.message import Message

WAIT_VARIABLE = "CALIBRATION_WAIT_MS"
CPU_VARIABLE = "CALIBRATION_CPU_MS"


def _seconds(variable: str) -> float:
    return float(os.environ.get(variable, "0")) / 1_000


def compute(seconds: float) -> None:
    """Use so much CPU time of this thread."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def handle(message: Message) -> None:
    """Compute, then wait; modes thread and process."""
    del message
    if cpu := _seconds(CPU_VARIABLE):
        compute(cpu)
    if wait := _seconds(WAIT_VARIABLE):
        time.sleep(wait)


async def handle_async(message: Message) -> None:
    """Compute, then wait; mode async."""
    del message
    if cpu := _seconds(CPU_VARIABLE):
        compute(cpu)
    if wait := _seconds(WAIT_VARIABLE):
        await asyncio.sleep(wait)
