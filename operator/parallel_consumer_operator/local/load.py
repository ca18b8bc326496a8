"""Offers messages to a topic at a stated rate: the demo's stand-in for a user's producers. No benchmark uses it."""

import threading
import time
from dataclasses import dataclass

from parallel_consumer_operator.errors import OperatorError

TICK_SECONDS = 0.02
"""Messages leave in bursts this far apart; short enough that a scrape of one second sees a steady rate."""


class LoadFailedError(OperatorError):
    """The broker did not take what was offered."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to offer: `rate` messages a second until `messages` were sent, over `keys` keys, `value_bytes` each."""

    rate: int
    messages: int
    keys: int = 1_000
    value_bytes: int = 32


class LoadGenerator:
    """Produces a Load from a thread of its own; `sent` counts what the broker confirmed."""

    def __init__(self, bootstrap_servers: str, topic: str, load: Load) -> None:
        # Imported where it is used: the operator's own image has no Kafka client.
        from confluent_kafka import Producer

        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "linger.ms": 20,
                # The embedded Kafka keeps about 5 MB per partition; compressed batches stay far below it.
                "compression.type": "lz4",
            }
        )
        self._topic, self._load = topic, load
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self.sent = 0
        self.failed = 0

    def start(self) -> None:
        """Begin to offer messages."""
        self._thread.start()

    @property
    def finished(self) -> bool:
        """Whether everything was offered, or the generator was stopped."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def stop(self) -> None:
        """End early; returns when the thread has ended (bounded by the flush time-out of 30 s)."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def require_success(self) -> None:
        """Raise LoadFailedError when the broker refused a message."""
        if self.failed or self.sent < self._load.messages:
            raise LoadFailedError(f"{self._load.messages} messages were offered and {self.sent} confirmed")

    def _run(self) -> None:
        started, offered = time.monotonic(), 0
        while offered < self._load.messages and not self._stop.is_set():
            due = min(self._load.messages, int((time.monotonic() - started) * self._load.rate))
            self._produce(range(offered, due))
            offered = max(offered, due)
            self._producer.poll(0)
            self._stop.wait(TICK_SECONDS)
        self._producer.flush(30)

    def _produce(self, numbers: range) -> None:
        from confluent_kafka import KafkaException

        for number in numbers:
            key = b"%d" % (number % self._load.keys)
            value = (b"%d " % number).ljust(self._load.value_bytes, b".")
            try:
                self._producer.produce(self._topic, value, key, on_delivery=self._delivered)
            except (BufferError, KafkaException):
                self.failed += 1

    def _delivered(self, error: object, _message: object) -> None:
        if error is None:
            self.sent += 1
        else:
            self.failed += 1
