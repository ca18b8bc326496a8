"""The consumer of the limits: librdkafka properties equal to ours, and messages built as ours are. Frozen with them.

A test compares the properties with those of `consumer_runtime.sources.properties`. Offsets are committed by the client
itself, in the background, and the garbage collector runs as rarely as in ours, as a tuned loop would have it.
"""

import gc
import time
from typing import Any

from confluent_kafka import Consumer

from benchmarks.compare.job import Job
from consumer_runtime.message import Message

TUNED: dict[str, Any] = {
    "auto.offset.reset": "earliest",
    "fetch.queue.backoff.ms": 2,
    "fetch.wait.max.ms": 100,
    "queued.min.messages": 20_000,
    "queued.max.messages.kbytes": 65_536,
    "statistics.interval.ms": 15_000,
    "partition.assignment.strategy": "cooperative-sticky",
}


def subscribed(job: Job) -> Consumer:
    """Return a consumer of the job's topic."""
    gc.set_threshold(10_000)
    address = {"bootstrap.servers": job.bootstrap_servers, "group.id": job.group}
    consumer = Consumer(TUNED | address | {"enable.auto.commit": True, "auto.commit.interval.ms": 200})
    consumer.subscribe([job.topic])
    return consumer


def messages(raw: list[Any]) -> list[Message]:
    """Return what ours would give to a handler."""
    now = time.monotonic()
    return [
        Message(
            each.topic(), each.partition(), each.offset(), each.key(), each.value(), each.headers() or (),
            each.timestamp()[1], None, now,
        )
        for each in raw
    ]  # fmt: skip
