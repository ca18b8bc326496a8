"""Produces a workload's arrivals: its schedule of rates, its keys and their skew. Nothing is measured here."""

import bisect
import itertools
import random
import threading
import time

from confluent_kafka import Producer

from benchmarks.real.errors import RealRunError
from benchmarks.real.stage import Plan
from benchmarks.simulator.workload import Workload

TICK_SECONDS = 0.02
KEYS_DRAWN = 65_536


class Offer(threading.Thread):
    """Offers a plan's messages from a thread of its own."""

    def __init__(self, servers: str, topic: str, plan: Plan) -> None:
        super().__init__(daemon=True, name="offer")
        self._producer = Producer({"bootstrap.servers": servers, "linger.ms": 20, "compression.type": "lz4"})
        self._topic, self._plan = topic, plan
        self._keys = itertools.cycle(_keys(plan.workload))
        self._stopping = threading.Event()
        self.failed = 0

    def stop(self) -> None:
        """End early, and wait for it."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Offer what is due each 20 ms."""
        started, due = time.monotonic(), 0.0
        before = 0.0
        while (elapsed := time.monotonic() - started) < self._plan.seconds and not self._stopping.is_set():
            due += (elapsed - before) * self._plan.workload.rate_at(self._plan.begin + (before + elapsed) / 2)
            before = elapsed
            while due >= 1:
                self._send()
                due -= 1
            self._producer.poll(0)
            self._stopping.wait(TICK_SECONDS)
        self.failed += self._producer.flush(30)

    def require_success(self) -> None:
        """Raise RealRunError when the broker did not take everything."""
        if self.failed:
            raise RealRunError(f"the broker did not take {self.failed} of the messages offered to {self._topic}")

    def _send(self) -> None:
        while len(self._producer) > 50_000:
            self._producer.poll(0.05)
        self._producer.produce(self._topic, b"." * 32, next(self._keys), on_delivery=self._delivered)

    def _delivered(self, error: object, _message: object) -> None:
        self.failed += error is not None


def _keys(workload: Workload) -> list[bytes]:
    if workload.keys.zipf == 0:
        return [b"%d" % number for number in range(workload.keys.count)]
    chance = random.Random(workload.seed)
    weights = list(itertools.accumulate(1 / (rank + 1) ** workload.keys.zipf for rank in range(workload.keys.count)))
    return [b"%d" % bisect.bisect(weights, chance.random() * weights[-1]) for _ in range(KEYS_DRAWN)]
