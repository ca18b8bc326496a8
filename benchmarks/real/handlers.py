"""Handlers that do a workload's work: compute, wait as long as drawn, and fail beyond the downstream's knee.

The downstream is modelled inside each pod: a pod meets its share of the knee, knee / pods. Nothing is measured here.
"""

import asyncio
import json
import math
import os
import random
import time
from typing import Any

from consumer_runtime.message import Message

VARIABLE = "WORKLOAD_SERVICE"
Z99 = 2.326
"""The 99th percentile of the standard normal distribution."""


class DownstreamError(Exception):
    """The downstream refused a call, as it does beyond its knee."""


class Downstream:
    """One pod's share of it."""

    def __init__(self, service: dict[str, Any]) -> None:
        self._median = service["latency_ms_p50"] / 1_000
        spread = service["latency_ms_p99"] / service["latency_ms_p50"] if self._median else 1.0
        self._sigma = math.log(spread) / Z99
        self._knee = service.get("knee") or math.inf
        self._factor = service.get("latency_factor", 1.0)
        self._errors = service.get("error_percent", 0.0) / 100
        self._active = 0
        self._chance = random.Random(os.getpid())

    def enter(self) -> tuple[float, bool]:
        """Begin a call: how many seconds it takes, and whether it fails."""
        beyond = self._active >= self._knee
        self._active += 1
        seconds = self._median * math.exp(self._chance.gauss(0, self._sigma)) * (self._factor if beyond else 1.0)
        return seconds, beyond and self._chance.random() < self._errors

    def leave(self) -> None:
        """End a call."""
        self._active -= 1


_SERVICE: dict[str, Any] = json.loads(os.environ.get(VARIABLE, '{"latency_ms_p50": 0, "latency_ms_p99": 0}'))
_CPU_SECONDS = _SERVICE.get("cpu_ms", 0.0) / 1_000
_downstream = Downstream(_SERVICE)


def _compute() -> None:
    until = time.thread_time() + _CPU_SECONDS
    while time.thread_time() < until:
        pass


def handle(message: Message) -> None:
    """Compute, then wait; modes thread and process."""
    del message
    _compute()
    seconds, failed = _downstream.enter()
    try:
        if seconds:
            time.sleep(seconds)
    finally:
        _downstream.leave()
    if failed:
        raise DownstreamError


async def handle_async(message: Message) -> None:
    """Compute, then wait; mode async."""
    del message
    _compute()
    seconds, failed = _downstream.enter()
    try:
        if seconds:
            await asyncio.sleep(seconds)
    finally:
        _downstream.leave()
    if failed:
        raise DownstreamError
