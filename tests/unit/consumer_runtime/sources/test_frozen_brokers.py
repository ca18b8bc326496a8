"""Brokers that hold their connections and say nothing: a whole embedded Kafka, stopped by a signal."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

from confluent_kafka import Producer

from consumer_runtime import ParallelConsumer, RuntimeSettings
from consumer_runtime.contract.settings import AutoOffsetReset
from consumer_runtime.contract.state import Phase
from consumer_runtime.sources import leaving

MESSAGES = 6_000
SERVE = """
import sys
from consumer_runtime.embedded import EmbeddedKafka
with EmbeddedKafka() as kafka:
    kafka.create("orders")
    print(kafka.bootstrap_servers, flush=True)
    sys.stdin.read()
"""


@contextmanager
def embedded_kafka() -> Iterator[tuple[int, str]]:
    """Run one in a process of its own; yields its pid and address."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", SERVE], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.pid, process.stdout.readline().strip()
        finally:
            process.kill()


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


def started(servers: str, work: Callable, **properties: object) -> tuple[ParallelConsumer, Thread]:
    """Produce messages, and run a consumer of them in a thread of its own."""
    producer = Producer({"bootstrap.servers": servers})
    for number in range(MESSAGES):
        producer.produce("orders", b"", b"%d" % number)
    assert producer.flush(30) == 0
    settings = RuntimeSettings.for_kafka(
        servers, topics=["orders"], consumer_group="g", execution={"max_in_flight": 10, "shutdown_grace_seconds": 5}
    )
    kafka = settings.source.kafka.model_copy(
        update={"properties": properties, "auto_offset_reset": AutoOffsetReset.EARLIEST}
    )
    source = settings.source.model_copy(update={"kafka": kafka})
    consumer = ParallelConsumer(settings.model_copy(update={"source": source}), work)
    thread = Thread(target=consumer.run, daemon=True)
    thread.start()
    return consumer, thread


def test_nothing_begins_once_the_group_may_have_given_all_to_others() -> None:
    """Fetched messages are dropped when no broker answers for a session's time, instead of being run for nothing.

    The client itself says that the partitions are lost then; when the brokers answer again, all messages run.
    """
    begun: list[tuple[int, int]] = []

    seconds = 0.05

    async def work(message) -> None:
        begun.append((message.partition, message.offset))
        await asyncio.sleep(seconds)

    with embedded_kafka() as (pid, servers):
        # the embedded Kafka gathers a new group for 3 s
        consumer, thread = started(servers, work, **{"session.timeout.ms": 5_000})
        wait_for(lambda: len(begun) > 100)
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: not consumer.state().assigned_partitions)
        time.sleep(0.5)  # the engine may begin the few that it had by then
        at_most = len(begun)
        assert at_most < MESSAGES, "the machine was so slow that nothing was left to hold back"
        time.sleep(1.0)
        assert len(begun) == at_most
        seconds = 0.0
        os.kill(pid, signal.SIGCONT)
        wait_for(lambda: len(set(begun)) == MESSAGES)
        consumer.stop()
        thread.join(30)
        assert not thread.is_alive()


def test_a_stop_does_not_wait_for_brokers_that_are_silent(monkeypatch) -> None:
    """The last commit and the goodbye are never answered: the consumer ends all the same, within its bound."""
    monkeypatch.setattr(leaving, "LEAVE_WITHIN_SECONDS", 1.0)
    begun: list[int] = []

    async def work(message) -> None:
        begun.append(message.offset)
        await asyncio.sleep(0.05)

    with embedded_kafka() as (pid, servers):
        consumer, thread = started(servers, work)
        wait_for(lambda: len(begun) > 100)
        os.kill(pid, signal.SIGSTOP)
        consumer.stop()
        thread.join(30)
        assert not thread.is_alive()
        assert consumer.state().phase is Phase.STOPPED
