"""The documents' benchmark: a topic filled once, consumed in each mode with a handler that does nothing.

Prints runtime, messages per second, and how long a message takes from its fetch to its end, average and p99. For
comparisons with other consumers, with warm-up and rounds, see `benchmarks.compare`.
"""

import logging
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import structlog
import typer
from confluent_kafka import Consumer, KafkaException, Producer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.percentile import percentile
from benchmarks.scenarios.broker import SERVERS_VARIABLE
from consumer_runtime import ConsumerError, ParallelConsumer, RuntimeSettings
from consumer_runtime.contract.settings import LogLevel, Mode
from consumer_runtime.message import Message
from consumer_runtime.statistics import Histogram
from testbed.errors import TestbedError
from testbed.kafka import Kafka

_EXAMPLES = """
Examples:

  python -m benchmarks.run_parallel_benchmark --num-messages 100000 --skip-thread --skip-process

  python -m benchmarks.run_parallel_benchmark --topic-prefix bench --timeout-sec 180 --log-level WARNING
"""
_VALUE = b"x" * 100
_KEYS = 1_000
_BATCH = 1_000
_MAX_IN_FLIGHT = 2_000
_LOOK_SECONDS = 0.02
_MODULE = "benchmarks.run_parallel_benchmark"
_app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
_console = Console(highlight=False)


class Row(StrEnum):
    """The modes in the documents' words."""

    BASELINE = "baseline"
    ASYNC = "async"
    THREAD = "thread"
    PROCESS = "process"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One line of the table; latencies in milliseconds, from the fetch of a message to the end of its handler."""

    row: Row
    messages: int
    seconds: float
    average_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Messages per second."""
        return self.messages / max(self.seconds, 1e-9)


def nothing(message: Message) -> None:
    """Handle a message by doing nothing."""


async def nothing_async(message: Message) -> None:
    """Handle a message by doing nothing."""


@_app.command(help=f"Consume a topic in each mode and print rates, as in the documents.\n{_EXAMPLES}")
def main(
    *,
    num_messages: Annotated[int, typer.Option(min=1, help="Messages in the topic.")] = 100_000,
    num_partitions: Annotated[int, typer.Option(min=1, help="Partitions of the topic.")] = 8,
    topic_prefix: Annotated[str, typer.Option(help="The topic's name begins with it.")] = "parallel-benchmark",
    baseline_group: Annotated[str, typer.Option(help="Group of the plain loop.")] = "baseline-bench",
    async_group: Annotated[str, typer.Option(help="Group of mode async.")] = "async-bench",
    thread_group: Annotated[str, typer.Option(help="Group of mode thread.")] = "thread-bench",
    process_group: Annotated[str, typer.Option(help="Group of mode process.")] = "process-bench",
    skip_baseline: Annotated[bool, typer.Option("--skip-baseline", help="Without the plain loop.")] = False,
    skip_async: Annotated[bool, typer.Option("--skip-async", help="Without mode async.")] = False,
    skip_thread: Annotated[bool, typer.Option("--skip-thread", help="Without mode thread.")] = False,
    skip_process: Annotated[bool, typer.Option("--skip-process", help="Without mode process.")] = False,
    timeout_sec: Annotated[float, typer.Option(min=1, help="Seconds for each mode at most.")] = 180.0,
    log_level: Annotated[LogLevel, typer.Option(help="What the consumer logs.")] = LogLevel.WARNING,
    bootstrap_servers: Annotated[
        str | None, typer.Option(envvar=SERVERS_VARIABLE, help="A Kafka of yours; by default the testbed's.")
    ] = None,
) -> None:
    """Run the modes that were not skipped; exits with 1 when one does not finish in time."""
    level = logging.getLevelNamesMapping()[log_level.value]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
    groups = {
        Row.BASELINE: (baseline_group, skip_baseline),
        Row.ASYNC: (async_group, skip_async),
        Row.THREAD: (thread_group, skip_thread),
        Row.PROCESS: (process_group, skip_process),
    }
    if all(is_skipped for _, is_skipped in groups.values()):
        raise typer.BadParameter("every mode is skipped; leave out one of " + ", ".join(f"--skip-{row}" for row in Row))
    try:
        bench = _Bench(bootstrap_servers, topic_prefix, num_messages, num_partitions, timeout_sec)
        outcomes = [bench.run(row, group) for row, (group, is_skipped) in groups.items() if not is_skipped]
    except (ConsumerError, TestbedError, KafkaException, TimeoutError) as error:
        _console.print(f"[red]{error}[/]")
        raise typer.Exit(1) from error
    _console.print(table(outcomes))


def table(outcomes: list[Outcome]) -> Table:
    """Return the documents' table."""
    shown = Table("Mode", "Runtime", "TPS", "Avg (ms)", "P99 (ms)")
    for each in outcomes:
        times = (f"{each.average_ms:,.1f}", f"{each.p99_ms:,.1f}")
        shown.add_row(each.row.value, f"{each.seconds:.2f} s", f"{each.rate:,.0f}", *times)
    return shown


class _Bench:
    """A filled topic, and what consumes it."""

    def __init__(self, servers: str | None, prefix: str, messages: int, partitions: int, timeout: float) -> None:
        kafka = Kafka()
        if servers is None:
            kafka.start()
        self.servers = servers or kafka.bootstrap_servers
        self.topic = f"{prefix}-{time.time_ns()}"
        self.messages = messages
        self.timeout = timeout
        self._create(partitions)
        self._fill()

    def run(self, row: Row, group: str) -> Outcome:
        """Consume the topic to its end. Raises TimeoutError."""
        with Progress(console=_console, transient=True) as progress:
            task = progress.add_task(row.value, total=self.messages)

            def show(count: int) -> None:
                progress.update(task, completed=count)

            unique = f"{group}-{time.time_ns()}"
            return self._baseline(unique, show) if row is Row.BASELINE else self._parallel(row, unique, show)

    def _create(self, partitions: int) -> None:
        from confluent_kafka.admin import AdminClient
        from confluent_kafka.cimpl import NewTopic

        admin = AdminClient({"bootstrap.servers": self.servers})
        admin.create_topics([NewTopic(self.topic, partitions, 1)])[self.topic].result(timeout=30)

    def _fill(self) -> None:
        producer = Producer({"bootstrap.servers": self.servers, "linger.ms": 20})
        with Progress(console=_console, transient=True) as progress:
            for number in progress.track(range(self.messages), description="produce"):
                while len(producer) > 50_000:
                    producer.poll(0.05)
                producer.produce(self.topic, _VALUE, b"key-%d" % (number % _KEYS))
            if producer.flush(60):
                raise TimeoutError(f"the broker did not take all messages of {self.topic} within 60 s")

    def _baseline(self, group: str, show: Any) -> Outcome:
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": group, "auto.offset.reset": "earliest",
                             "fetch.queue.backoff.ms": 2})  # fmt: skip
        consumer.subscribe([self.topic])
        latencies, seen, deadline = Histogram(), 0, time.monotonic() + self.timeout
        started = 0.0
        while seen < self.messages:
            found = consumer.consume(_BATCH, 0.1 if not seen else 0)
            fetched = time.monotonic()
            if fetched > deadline:
                raise TimeoutError(f"baseline: {seen} of {self.messages} messages after {self.timeout:g} s")
            started = started or (fetched if found else 0.0)
            seen += len(found)
            if found:
                latencies.observe(time.monotonic() - fetched, len(found))
                show(seen)
        consumer.close()
        return self._outcome(Row.BASELINE, time.monotonic() - started, latencies)

    def _parallel(self, row: Row, group: str, show: Any) -> Outcome:
        consumer = ParallelConsumer(self._settings(row, group))
        watch = _Watch(consumer, self.messages, self.timeout, show)
        watch.start()
        consumer.run()
        watch.join()
        if watch.ended_at is None:
            done = consumer.statistics.snapshot().finished()
            raise TimeoutError(f"{row.value}: {done} of {self.messages} messages after {self.timeout:g} s")
        return self._outcome(row, watch.ended_at - watch.started_at, consumer.statistics.processing_latency)

    def _settings(self, row: Row, group: str) -> RuntimeSettings:
        attribute = "nothing_async" if row is Row.ASYNC else "nothing"
        return RuntimeSettings.for_kafka(
            self.servers,
            topics=[self.topic],
            consumer_group=group,
            execution={"mode": Mode(row.value), "max_in_flight": _MAX_IN_FLIGHT, "poll_batch_size": _BATCH},
            handler={"entrypoint": f"{_MODULE}:{attribute}"},
        )

    def _outcome(self, row: Row, seconds: float, latencies: Histogram) -> Outcome:
        average = latencies.total_seconds / max(latencies.count, 1)
        return Outcome(
            row=row,
            messages=self.messages,
            seconds=seconds,
            average_ms=1e3 * average,
            p99_ms=1e3 * (percentile(latencies.bounds, latencies.counts, 0.99) or 0.0),
        )


class _Watch(threading.Thread):
    """Stops a consumer when it has finished so many messages, or the time is up."""

    def __init__(self, consumer: ParallelConsumer, messages: int, timeout: float, show: Any) -> None:
        super().__init__(daemon=True)
        self.started_at = 0.0
        """When the partitions came: joining the group is not the mode's work."""
        self.ended_at: float | None = None
        self._consumer = consumer
        self._messages = messages
        self._deadline = time.monotonic() + timeout
        self._show = show

    def run(self) -> None:
        """Look until one of both is so."""
        while time.monotonic() < self._deadline:
            if not self.started_at and self._consumer.state().assigned_partitions:
                self.started_at = time.monotonic()
            done = self._consumer.statistics.snapshot().finished()
            self._show(done)
            if done >= self._messages:
                self.ended_at = time.monotonic()
                break
            time.sleep(_LOOK_SECONDS)
        self._consumer.stop()


if __name__ == "__main__":
    _app()
