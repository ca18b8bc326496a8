"""`python -m benchmarks.calibrate`: the simulator's rates beside the real runtime's; `--measure` takes those anew.

Real means a real Kafka, the testbed's or one that is named, and the runtime used as a library, one setting at a time.
"""

import os
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from rich.console import Console
from rich.table import Table

from benchmarks import whole_file
from benchmarks.calibration_handlers import CPU_VARIABLE, WAIT_VARIABLE
from benchmarks.machine import machine
from benchmarks.simulator import calibration
from benchmarks.simulator.calibration import Point
from consumer_runtime import ConsumerError, ParallelConsumer, RuntimeSettings
from consumer_runtime.contract.settings import Mode
from testbed.errors import TestbedError
from testbed.kafka import Kafka

MESSAGES = 300_000
"""In the topic; the fastest setting takes about 28,000 a second for six seconds."""
WARM_UP_SECONDS, SECONDS, PATIENCE_SECONDS = 2.0, 4.0, 60.0
_LOOK_SECONDS = 0.02
_console = Console(highlight=False)
application = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@application.command(epilog="Example: python -m benchmarks.calibrate --measure --out build/calibration.json")
def calibrate(
    *,
    measure: Annotated[bool, typer.Option("--measure", help="Measure on a real Kafka first (ten minutes).")] = False,
    rounds: Annotated[int, typer.Option(min=1, max=20, help="Of each setting the best is kept.")] = 2,
    out: Annotated[Path, typer.Option(help="What is measured is stored here, and read.")] = calibration.STORED,
    bootstrap_servers: Annotated[str, typer.Option(help="A Kafka of yours; default: the testbed's.")] = "",
) -> None:
    """Compare; exits with 1 when a rate is more than 15 % off, 2 when it cannot be measured or read."""
    try:
        if measure:
            rates = _measured(bootstrap_servers, rounds)
            _store(out, [calibration.as_row(point, rate) for point, rate in rates.items()], rounds)
        stored = calibration.stored(out)
    except (ConsumerError, TestbedError, KafkaException, TimeoutError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    ratios = [(point, rate, calibration.simulated_rate(point) / rate) for point, rate in stored]
    _console.print(_table(ratios))
    sys.exit(any(abs(ratio - 1) > calibration.WITHIN for _, _, ratio in ratios))


def _table(ratios: list[tuple[Point, float, float]]) -> Table:
    shown = Table("setting", "real/s", "simulated / real")
    for point, rate, ratio in ratios:
        shown.add_row(point.name, f"{rate:,.0f}", f"{ratio:.2f}")
    return shown


def _store(path: Path, rows: list[dict[str, Any]], rounds: int) -> None:
    command = f"python -m benchmarks.calibrate --measure --rounds {rounds}"
    whole_file.write_json(path, {"command": command, "machine": machine(), "points": rows})


def _measured(servers: str, rounds: int) -> dict[Point, float]:
    """Return the best rate of each setting: whatever else the machine does only takes from it."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    kafka = Kafka()
    if not servers:
        kafka.start()
    servers = servers or kafka.bootstrap_servers
    topic, rates = _filled(servers), dict.fromkeys(calibration.grid(), 0.0)
    for _ in range(rounds):
        for point in rates:
            rates[point] = max(rates[point], _rate(servers, topic, point))
            _console.print(f"{point.name}: {rates[point]:,.0f}/s")
    return rates


def _filled(servers: str) -> str:
    topic = f"calibration-{time.time_ns()}"
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(topic, calibration.PARTITIONS, 1)])[topic].result(timeout=30)
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 20})
    for number in range(MESSAGES):
        while len(producer) > 50_000:
            producer.poll(0.05)
        producer.produce(topic, b"x" * 100, b"key-%d" % (number % calibration.KEYS))
    if producer.flush(60):
        raise TimeoutError(f"the broker did not take all messages of {topic} within 60 s")
    return topic


def _rate(servers: str, topic: str, point: Point) -> float:
    os.environ |= {WAIT_VARIABLE: str(point.wait_ms), CPU_VARIABLE: str(point.cpu_ms)}
    attribute = "handle_async" if point.mode is Mode.ASYNC else "handle"
    settings = RuntimeSettings.for_kafka(
        servers,
        topics=[topic],
        consumer_group=f"calibration-{time.time_ns()}",
        execution={"mode": point.mode, "max_in_flight": point.max_in_flight, "poll_batch_size": point.poll_batch_size,
                   "worker_pool_size": point.worker_pool_size},
        handler={"entrypoint": f"benchmarks.calibration_handlers:{attribute}"},
    )  # fmt: skip
    watch = _Watch(ParallelConsumer(settings))
    watch.start()
    watch.consumer.run()
    watch.join()
    if watch.rate is None:
        raise TimeoutError(f"{point.name}: no rate after {PATIENCE_SECONDS:.0f} s")
    return watch.rate


class _Watch(threading.Thread):
    """Takes the rate over some seconds after the first messages, and ends the consumer."""

    def __init__(self, consumer: ParallelConsumer) -> None:
        super().__init__(daemon=True)
        self.consumer = consumer
        self.rate: float | None = None
        self._deadline = time.monotonic() + PATIENCE_SECONDS

    def run(self) -> None:
        """Wait for the first message, warm up, measure."""
        while not self._done() and time.monotonic() < self._deadline:
            time.sleep(_LOOK_SECONDS)
        time.sleep(WARM_UP_SECONDS)
        before, begun = self._done(), time.monotonic()
        time.sleep(SECONDS)
        finished = self._done() - before
        self.rate = finished / (time.monotonic() - begun) if finished else None
        self.consumer.stop()

    def _done(self) -> int:
        return int(self.consumer.statistics.snapshot().finished())


if __name__ == "__main__":
    application()
