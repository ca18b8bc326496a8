"""Latency at half load: messages produced at a fixed rate, each timed from when it was due until its handler returned.

The rate does not wait for the system (an open loop), and a message that the producer sends late counts from when it
was due, so that a pause is not hidden. Handlers note their begin and end in a file (`marks.times`). Not here: rates at
full load (`measure`).
"""

import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException, Producer

from benchmarks.compare import marks, topics
from benchmarks.compare.errors import RunFailedError
from benchmarks.compare.measure import ended, job_of, memory_folder, started
from benchmarks.compare.topics import PARTITIONS, Topic
from benchmarks.compare.works import System, Work
from testbed.kafka import Kafka

LOAD = 0.5
"""Of the measured maximum."""
RATE_AT_MOST = 10_000.0
"""Offered messages a second: the producer shares the cores, and at more of them it would be measured instead."""
LINGER_MS = 1
_JOIN_SECONDS = 60.0
_TICK_SECONDS = 0.001
_REST_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Milliseconds from when a message was due to be sent until its handler returned, at an offered rate."""

    avg: float
    p50: float
    p99: float
    p999: float
    handler_p99: float
    """Of the handler alone."""
    offered_per_second: float
    messages: int


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What is sent: so many a second, of which those of the first seconds are not counted."""

    per_second: float
    warm_seconds: float
    seconds: float

    @property
    def messages(self) -> int:
        """Return how many are sent in all."""
        return max(int(self.per_second * (self.warm_seconds + self.seconds)), 1)

    @property
    def warm_messages(self) -> int:
        """Return how many of them are not counted."""
        return int(self.per_second * self.warm_seconds)


def latency(system: System, work: Work, kafka: Kafka, offer: Offer, *, iterations: int) -> Latency:
    """Run a system at the offered load. Raises RunFailedError, also when the system falls behind for good."""
    what = f"{system.value} on {work.title} at {offer.per_second:,.0f}/s"
    keys = list(topics.draws(work.keys, offer.messages))
    topic = _empty_topic(kafka, keys)
    with tempfile.TemporaryDirectory(prefix="compare-", dir=memory_folder()) as folder:
        file, times, log = (Path(folder) / name for name in ("marks", "times", "log"))
        marks.create(file, len(keys))
        marks.create_times(times, len(keys))
        job = job_of(work, topic, servers=kafka.bootstrap_servers, iterations=iterations, file=file, times=times)
        with started(system, work, job, log) as process:
            try:
                due, places = _produce(kafka.bootstrap_servers, topic, keys, offer.per_second)
            except (KafkaException, BufferError) as error:
                raise RunFailedError(f"{what}: the broker does not take the messages: {error}") from error
            found = marks.mapped(file)
            deadline = time.monotonic() + _REST_SECONDS
            while marks.progress(found) < len(keys):
                if process.poll() is not None or time.monotonic() > deadline:
                    left = len(keys) - marks.progress(found)
                    raise RunFailedError(f"{what}: {left} messages unfinished {_REST_SECONDS:g} s after the last")
                time.sleep(0.05)
            ended(process, what)
        if marks.tally(found, len(keys)).twice:
            raise RunFailedError(f"{what}: messages run twice: void")
        return _judged(marks.times(times), due, places, offer)


def _empty_topic(kafka: Kafka, keys: list[int]) -> Topic:
    """Return a new topic as it will be when everything is sent."""
    name = f"compare-open-{time.time_ns()}"
    topics.created(kafka, name)
    counts = Counter(key % PARTITIONS for key in keys)
    return Topic(name, tuple(counts[partition] for partition in range(PARTITIONS)))


def _produce(servers: str, topic: Topic, keys: list[int], per_second: float) -> tuple[list[float], list[int]]:
    """Send in time; return when each was due, and its place among the marks."""
    producer = Producer({"bootstrap.servers": servers, "linger.ms": LINGER_MS, "enable.idempotence": True})
    lines = [topics.values(partition) for partition in range(PARTITIONS)]
    offsets = list(topic.bases)
    places: list[int] = []
    begun = time.time()
    due = [begun + number / per_second for number in range(len(keys))]
    while len(places) < len(keys):
        now = time.time()
        while len(places) < len(keys) and due[len(places)] <= now:
            key = keys[len(places)]
            partition = key % PARTITIONS
            producer.produce(topic.name, next(lines[partition]), f"key-{key}".encode(), partition)
            places.append(offsets[partition])
            offsets[partition] += 1
        producer.poll(0)
        time.sleep(_TICK_SECONDS)
    if producer.flush(_JOIN_SECONDS):
        raise RunFailedError(f"the broker did not take all of {topic.name} within {_JOIN_SECONDS:g} s")
    return due, places


def _judged(times: Any, due: list[float], places: list[int], offer: Offer) -> Latency:
    import numpy as np

    began, done = np.frombuffer(times, dtype=np.float64).reshape(-1, 2)[places[offer.warm_messages :]].T
    waits = 1e3 * (done - np.array(due[offer.warm_messages :]))
    if not len(waits) or (done == 0.0).any():
        raise RunFailedError(f"{int((done == 0.0).sum())} of {len(waits)} messages have no time")
    p50, p99, p999 = np.percentile(waits, [50, 99, 99.9])
    return Latency(
        avg=float(waits.mean()),
        p50=float(p50),
        p99=float(p99),
        p999=float(p999),
        handler_p99=float(np.percentile(1e3 * (done - began), 99)),
        offered_per_second=offer.per_second,
        messages=len(waits),
    )
