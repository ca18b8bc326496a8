"""The load: an idempotent producer that numbers the messages of each (partition, key), at an even rate, in a thread."""

import random
import threading
import time
import zlib
from collections import Counter
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from benchmarks.chaos import payload
from benchmarks.chaos.errors import ChaosError
from benchmarks.chaos.plan import Case

KEYS = 1_000
NULL_KEY_SHARE = 0.03
NULL_VALUE_SHARE = 0.01
LARGE_POISON_EVERY = 8
HELD_BACK_SHARE = 0.1
"""Of the messages, until `release`: a fault that a busy machine puts off must strike a group that still has work."""
_TICK_SECONDS = 0.02
_FLUSH_SECONDS = 90.0


class Load(threading.Thread):
    """Sends the case's messages."""

    def __init__(self, case: Case, *, bootstrap_servers: str, topic: str) -> None:
        super().__init__(name="load", daemon=True)
        self._partitions = case.partitions
        self._wanted_partitions = case.partitions
        self.sent = 0
        self.undelivered = 0
        self._case = case
        self._topic = topic
        self._draw = random.Random(case.seed)
        self._sequences: Counter[tuple[int, bytes | None]] = Counter()
        self._weights = [1 / (rank + 1) for rank in range(KEYS)]  # Zipf: a hot key, and a long tail
        self._large_every = case.large_every
        self._halt = threading.Event()
        self._released = threading.Event()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "linger.ms": 20,
                "message.max.bytes": 1_048_588,
                "queue.buffering.max.messages": 1_000_000,
                "delivery.timeout.ms": 120_000,
                "log_level": 2,
            }
        )

    def run(self) -> None:
        """Send everything, then wait until all of it is delivered."""
        rate = self._case.messages / self._case.seconds
        due, looked_at = 1.0, time.monotonic()
        while self.sent < self._case.messages and not self._halt.is_set():
            now = time.monotonic()
            due, looked_at = min(self._allowed, due + (now - looked_at) * rate), now
            self._send(max(0, int(due) - self.sent))
            self._producer.poll(0)
            time.sleep(_TICK_SECONDS)
        self.undelivered += self._producer.flush(_FLUSH_SECONDS)

    def release(self) -> None:
        """Send the rest as well, at the same rate: no fault waits any more."""
        self._released.set()

    def use_partitions(self, count: int) -> None:
        """Send to that many partitions from now on, or as soon as the client knows of them."""
        self._wanted_partitions = count

    def stop(self) -> None:
        """Send no more; the thread ends soon."""
        self._halt.set()

    def require_delivered(self) -> None:
        """Raise ChaosError when the topic cannot hold what was sent: then nothing can be judged."""
        missing = self._case.messages - self.sent + self.undelivered
        if self.is_alive() or missing:
            raise ChaosError(f"{missing} of {self._case.messages} messages were not delivered; is the broker too slow?")

    @property
    def _allowed(self) -> int:
        messages = self._case.messages
        return messages if self._released.is_set() else int(messages * (1 - HELD_BACK_SHARE))

    def _send(self, count: int) -> None:
        if self._wanted_partitions != self._partitions and self._knows_partitions():
            self._partitions = self._wanted_partitions
        for key_number in self._draw.choices(range(KEYS), self._weights, k=count):
            key = None if self._draw.random() < NULL_KEY_SHARE else b"key-%d" % key_number
            self._send_one(key)

    def _send_one(self, key: bytes | None) -> None:
        self.sent += 1
        partition = (self.sent if key is None else zlib.crc32(key)) % self._partitions
        sequence = self._sequences[partition, key]
        self._sequences[partition, key] += 1
        is_large = self.sent % self._large_every == 0
        value, headers = payload.encode(
            sequence,
            large=is_large,
            null=not is_large and self._draw.random() < NULL_VALUE_SHARE,
            poison=is_large and self.sent // self._large_every % LARGE_POISON_EVERY == 1,
        )
        self._producer.produce(
            self._topic, value, key, partition=partition, headers=headers, on_delivery=self._delivered
        )

    def _knows_partitions(self) -> bool:
        try:
            found = self._producer.list_topics(self._topic, timeout=1.0).topics[self._topic]
        except KafkaException:
            return False
        return len(found.partitions) >= self._wanted_partitions

    def _delivered(self, error: KafkaError | None, _message: Any) -> None:
        self.undelivered += error is not None
