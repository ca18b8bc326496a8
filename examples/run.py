"""Runs an example on this machine: `python examples/run.py orders`. Its manifest's settings, its handler, a real Kafka.

Messages are offered at the use case's rate, or as a backlog; at the end stands what became of them, and whether the
goal was met. Without Kubernetes, so without tuning: `python -m parallel_consumer_operator local -f` tunes as well.
"""

import importlib
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
import yaml
from confluent_kafka import KafkaException
from rich.console import Console
from rich.progress import Progress

from benchmarks.report import terminal
from benchmarks.scenarios import broker
from benchmarks.scenarios.broker import Broker
from benchmarks.scenarios.errors import WorkbenchError
from benchmarks.scenarios.latency import Latencies
from consumer_runtime import ConsumerError, ParallelConsumer, RuntimeSettings
from consumer_runtime.contract.metrics import Status
from consumer_runtime.embedded import Record
from consumer_runtime.statistics import Snapshot, Statistics
from parallel_consumer_operator.desired.effective import resolve
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec

EXAMPLES = Path(__file__).resolve().parent
_TICK_SECONDS = 0.02
_LATE_SECONDS = 60.0
_CATCH_UP_SECONDS = 15.0
_HELP = """Run an example on the testbed's Kafka, which is started when it is down.

Examples:

  python examples/run.py orders

  python examples/run.py webhooks --seconds 20 --rate 200
"""
_app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
_console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)


class Example(StrEnum):
    """The folders beside this file."""

    TRIVIAL = "trivial-single"
    SHORT_IO = "short-io-async"
    HEAVY_CPU = "heavy-cpu-process"
    BLOCKING_IO = "blocking-io-thread"
    ORDERS = "orders"
    WEBHOOKS = "webhooks"
    EMAILS = "email-batch"


@dataclass(frozen=True)
class Goal:
    """What is offered, and the share that must succeed."""

    success_percent: float = 100.0
    per_second: float | None = None
    """None: a backlog of `messages`, there from the beginning."""
    messages: int = 0


GOALS = {
    Example.TRIVIAL: Goal(messages=200_000),
    Example.SHORT_IO: Goal(messages=10_000),
    Example.HEAVY_CPU: Goal(messages=1_000),
    Example.BLOCKING_IO: Goal(messages=10_000),
    Example.ORDERS: Goal(success_percent=99.9, per_second=1_000 / 60),
    Example.WEBHOOKS: Goal(success_percent=95.0, per_second=5_000 / 60),
    Example.EMAILS: Goal(success_percent=90.0, per_second=100_000 / 3_600),
}
"""The last three as the use cases of the source document have them."""


@_app.command(help=_HELP)
def main(
    example: Annotated[Example, typer.Argument(help="Which one.")],
    *,
    seconds: Annotated[
        float, typer.Option(min=0.1, help="How long messages are offered, where they have a rate.")
    ] = 60.0,
    rate: Annotated[float | None, typer.Option(min=0.1, help="Messages per second instead of the use case's.")] = None,
    messages: Annotated[int | None, typer.Option(min=1, help="Size of the backlog, where there is one.")] = None,
    bootstrap_servers: Annotated[
        str | None, typer.Option(envvar=broker.SERVERS_VARIABLE, help="A Kafka of yours; by default the testbed's.")
    ] = None,
    embedded: Annotated[bool, typer.Option("--embedded", help="librdkafka's mock Kafka instead.")] = False,
) -> None:
    """Run one example; exits with 1 when its goal is missed."""
    goal = GOALS[example]
    per_second = rate or goal.per_second
    count = max(round(per_second * seconds), 1) if per_second else messages or goal.messages
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    sys.path.insert(0, str(EXAMPLES / example))
    receiver = _receiver(example)
    try:
        where = broker.connect(bootstrap_servers, embedded=embedded)
        run = Run(where, _settings(example, where), _message(example), count, per_second)
        run.perform()
    except (WorkbenchError, ConsumerError, KafkaException) as error:
        terminal.failed(_console, error)
        raise typer.Exit(1) from error
    if receiver:
        _console.print(f"the receiver answered: {dict(sorted(receiver.answers.items()))}")
    if not _told(run, goal):
        raise typer.Exit(1)


def _settings(example: str, where: Broker) -> RuntimeSettings:
    """Return the settings of the example's manifest, on topics and a group of this run's own."""
    documents = list(yaml.safe_load_all((EXAMPLES / example / "parallelconsumer.yaml").read_text()))
    resource = next(each for each in documents if each["kind"] == "ParallelConsumer")
    found = resolve(ParallelConsumerSpec.parse(resource), tuned={}, cpu_limit=os.cpu_count()).settings
    own = f"{example}-{time.time_ns()}"
    values = found.model_dump(mode="json")
    values["source"]["kafka"] |= {"bootstrap_servers": [where.servers], "topics": [own], "consumer_group": own}
    where.create(own)
    if values["dead_letter"]["enabled"]:
        values["dead_letter"]["topic"] = f"{own}.dlq"
        where.create(f"{own}.dlq")
    return RuntimeSettings.model_validate(values)


def _receiver(example: Example) -> Any:
    """Start what the handler talks to, if there is such a thing."""
    if not (EXAMPLES / example / "receiver.py").exists():
        return None
    receiver, environment = importlib.import_module("receiver").start()
    os.environ.update(environment)
    return receiver


def _message(example: Example) -> Callable[[int], tuple[bytes, bytes]]:
    """Return what makes the n-th message."""
    if (EXAMPLES / example / "messages.py").exists():
        made: Callable[[int], tuple[bytes, bytes]] = importlib.import_module("messages").message
        return made
    return lambda number: (b"key-%d" % (number % 1_000), b'{"id": %d}' % number)


class Run:
    """Offers messages and consumes them, until all are done or it is too late."""

    def __init__(
        self,
        where: Broker,
        settings: RuntimeSettings,
        message: Callable[[int], tuple[bytes, bytes]],
        count: int,
        per_second: float | None,
    ) -> None:
        self.count, self.per_second = count, per_second
        self.latencies = Latencies()
        self.consumer = ParallelConsumer(settings, statistics=Statistics(processing_latency=self.latencies))
        self.late_seconds = 0.0
        """From the last message offered to the last one done."""
        self._where, self._topic, self._message = where, settings.source.kafka.topics[0], message
        self._offered_at = 0.0
        self._failures: list[BaseException] = []

    def perform(self) -> None:
        """Run to the end. Raises what the consumer or the broker raised."""
        if self.per_second is None:
            self._offer(0, self.count)
        consuming = threading.Thread(target=self._consume, name="consumer", daemon=True)
        consuming.start()
        if self.per_second is not None:
            threading.Thread(target=self._offer_steadily, args=(self.per_second,), daemon=True).start()
        self._wait(consuming)
        self.consumer.stop()
        consuming.join(_LATE_SECONDS)
        if self._failures:
            raise self._failures[0]

    @property
    def snapshot(self) -> Snapshot:
        """What became of the messages so far."""
        return self.consumer.statistics.snapshot()

    def _consume(self) -> None:
        try:
            self.consumer.run()
        except BaseException as error:  # noqa: BLE001 - raised again by `perform`, in the caller's thread
            self._failures.append(error)

    def _wait(self, consuming: threading.Thread) -> None:
        offering = self.count / self.per_second if self.per_second else 0.0
        deadline = time.monotonic() + offering + 2 * _LATE_SECONDS
        with Progress(console=_console, transient=True) as bars:
            task = bars.add_task("messages", total=self.count)
            while (done := self.snapshot.finished()) < self.count and consuming.is_alive():
                bars.update(task, completed=done)
                if time.monotonic() > deadline:
                    break
                time.sleep(_TICK_SECONDS)
        self.late_seconds = max(time.monotonic() - (self._offered_at or time.monotonic()), 0.0)

    def _offer_steadily(self, per_second: float) -> None:
        started, offered = time.monotonic(), 0
        while offered < self.count and not self._failures:
            due = min(int((time.monotonic() - started) * per_second) + 1, self.count)
            self._offer(offered, due)
            offered = max(offered, due)
            time.sleep(_TICK_SECONDS)

    def _offer(self, first: int, end: int) -> None:
        pairs = (self._message(number) for number in range(first, end))
        self._where.fill(self._topic, (Record(value, key) for key, value in pairs))
        self._offered_at = time.monotonic()


def _told(run: Run, goal: Goal) -> bool:
    """Print what became of the messages; return whether the goal was met."""
    found = run.snapshot
    succeeded, dead = found.finished(Status.SUCCESS), found.finished(Status.DEAD_LETTERED)
    share = 100 * succeeded / run.count
    offered = f"{run.per_second:,.1f}/s" if run.per_second else "a backlog"
    rate = succeeded / max(run.latencies.seconds, 1e-9)
    times = ", ".join(f"{name} {value:,.1f} ms" for name, value in run.latencies.summary_ms().items())
    done = f"{succeeded:,} done at {rate:,.1f}/s, {found.retried:,} retries, {dead:,} dead letters"
    _console.print(f"{run.count:,} messages ({offered}), {done}", soft_wrap=True)
    _console.print(f"from fetch to end: {times}", soft_wrap=True)
    on_time = run.per_second is None or run.late_seconds <= _CATCH_UP_SECONDS
    if not on_time:
        _console.print(f"[red]the last message was done {run.late_seconds:.0f} s after it was offered[/]")
    is_met = share >= goal.success_percent and on_time
    verdict = "[green]met[/]" if is_met else "[red]missed[/]"
    _console.print(f"success {share:.2f} %, the goal is {goal.success_percent:g} %: {verdict}")
    return is_met


if __name__ == "__main__":
    _app()
