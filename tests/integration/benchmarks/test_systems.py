import time
from dataclasses import replace

import pytest
from confluent_kafka import Producer

from benchmarks.compare import open_loop
from benchmarks.compare.job import Kind, Mode, Ordering
from benchmarks.compare.measure import Pace, run
from benchmarks.compare.open_loop import Offer
from benchmarks.compare.topics import Contents, created, filled
from benchmarks.compare.works import System, Work

PACE = Pace(warm=0.0, warm_java=0.0, window=60.0)
NOOP = Work(name="noop", mode=Mode.SINGLE, kind=Kind.NOOP, max_in_flight=500)
WORKS = [
    (System.OURS, NOOP),
    (System.OURS, replace(NOOP, mode=Mode.ASYNC, ordering=Ordering.KEY)),
    (System.OURS, replace(NOOP, mode=Mode.PROCESS, ordering=Ordering.KEY)),
    (System.RAW, NOOP),
    (System.BARE, replace(NOOP, mode=Mode.ASYNC)),
    (System.BARE, replace(NOOP, mode=Mode.PROCESS)),
    (System.AIOKAFKA, replace(NOOP, mode=Mode.ASYNC)),
]


@pytest.fixture(scope="module")
def topic(kafka):
    """A small topic that all systems read to its end."""
    return filled(kafka, Contents(messages=8_000))


@pytest.mark.parametrize(("system", "work"), WORKS, ids=[f"{system}-{work.mode}" for system, work in WORKS])
def test_system_runs_each_message_once(kafka, topic, system, work):
    """What is compared did all of its work: marks of the whole topic, none missing, none twice."""
    found = run(system, work, topic, servers=kafka.bootstrap_servers, iterations=0, pace=PACE)
    assert (found.seen, found.missing, found.twice, found.is_whole) == (8_000, 0, 0, True)


def test_latency_at_a_fixed_rate(kafka):
    """Every message is timed; none is faster than its own work of 5 ms."""
    work = Work(name="io5", mode=Mode.ASYNC, kind=Kind.IO, seconds=0.005)
    offer = Offer(per_second=200.0, warm_seconds=3.0, seconds=2.0)
    found = open_loop.latency(System.OURS, work, kafka, offer, iterations=0)
    assert found.messages == 400
    assert 5.0 <= found.p50 <= found.p99 <= found.p999


def test_topic_that_was_left_half_filled_is_made_anew(kafka):
    """A run that was stopped while it filled a topic does not stand in the way of the next."""
    contents = Contents(messages=50, value_bytes=20 + time.time_ns() % 1_000)
    created(kafka, contents.name, contents.partitions)
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for _ in range(10):
        producer.produce(contents.name, b"left over", partition=0)
    producer.flush(30)
    assert filled(kafka, contents).messages == 50
