import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from consumer_runtime import batch
from consumer_runtime.consumer import ParallelConsumer
from consumer_runtime.contract.knobs import Knobs, ProcessKnobs
from consumer_runtime.contract.settings import ExecutionSettings, RuntimeSettings
from consumer_runtime.engines.process import ProcessEngine
from consumer_runtime.handler import wrap

WAIT = 0.1


class _Meter:
    """What a handler sees of the runtime: how many calls at once, when, how large."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self.reset()

    def reset(self) -> None:
        """Begin a new measurement."""
        self.at_most, self.calls, self.sizes = 0, 0, [0]
        self.began = time.monotonic()
        self.took = 0.0

    def enter(self, size: int = 1) -> None:
        """Note the begin of a call."""
        with self._lock:
            self._now += 1
            self.calls += 1
            self.sizes.append(size)
            self.at_most = max(self.at_most, self._now)

    def leave(self) -> None:
        """Note its end."""
        with self._lock:
            self._now -= 1
            self.took = time.monotonic() - self.began


METER = _Meter()


async def waits(_: object) -> None:
    """Take a tenth of a second without holding anything."""
    METER.enter()
    try:
        await asyncio.sleep(WAIT)
    finally:
        METER.leave()


def blocks(_: object) -> None:
    """Take a tenth of a second of a thread."""
    METER.enter()
    time.sleep(WAIT)
    METER.leave()


@batch(10_000)
def counts(messages: list[object]) -> None:
    """See how many come at once."""
    METER.enter(len(messages))
    METER.leave()


async def fails(_: object) -> None:
    """Never succeed."""
    METER.enter()
    METER.leave()
    raise ValueError("no")


class _Running:
    """A consumer of one topic, whose knobs are turned while it runs."""

    def __init__(self, topics: Any, handler: Callable[[Any], Any], sections: dict[str, Any]) -> None:
        self._topics = topics
        self._topic = topics.create(partitions=4)
        self._group = f"{self._topic}-group"
        self._produced = 0
        self.consumer = ParallelConsumer(self.settings(sections), handler)
        self.thread = threading.Thread(target=self.consumer.run, daemon=True)
        self.thread.start()

    def settings(self, sections: dict[str, Any]) -> RuntimeSettings:
        return RuntimeSettings.for_kafka(
            self._topics.servers, topics=[self._topic], consumer_group=self._group, **sections
        )

    def turn(self, sections: dict[str, Any]) -> None:
        """Bring new settings into force while it runs."""
        self.consumer.apply(self.settings(sections))

    def measured(self, messages: int, *, size: int = 1) -> _Meter:
        """Produce, wait until all is finished, and return what the handler saw."""
        METER.reset()
        self._produced += messages
        self._topics.produce(self._topic, [b"x" * size] * messages)
        deadline = time.monotonic() + 30
        while self.consumer.statistics.snapshot().finished() < self._produced and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.consumer.statistics.snapshot().finished() == self._produced
        return METER

    def stop(self) -> None:
        self.consumer.stop()
        self.thread.join(30)


@contextmanager
def _consuming(topics: Any, handler: Callable[[Any], Any], **sections: Any) -> Iterator[_Running]:
    running = _Running(topics, handler, sections)
    try:
        running.measured(4)
        yield running
    finally:
        running.stop()


def _at_most(meter: _Meter) -> float:
    return meter.at_most


def _largest(meter: _Meter) -> float:
    return max(meter.sizes)


def _seconds(meter: _Meter) -> float:
    return meter.took


def _calls(meter: _Meter) -> float:
    return meter.calls


EXPERIMENTS: dict[str, tuple[Callable[[Any], Any], dict[str, Any], dict[str, Any], Callable[[_Meter], float], int, int]]
EXPERIMENTS = {
    # knob: handler, settings before, settings after, what is measured, messages, bytes of each
    "max_in_flight": (waits, {"max_in_flight": 3}, {"max_in_flight": 30}, _at_most, 60, 1),
    "worker_pool_size": (
        blocks, {"mode": "thread", "worker_pool_size": 2}, {"mode": "thread", "worker_pool_size": 8}, _at_most, 32, 1,
    ),
    "poll_batch_size": (
        counts,
        {"mode": "single", "poll_batch_size": 5},
        {"mode": "single", "poll_batch_size": 5_000},
        _largest,
        2_000,
        1,
    ),
    "max_in_flight_bytes": (
        waits,
        {"max_in_flight_bytes": 1_048_576, "poll_batch_size": 1},
        {"max_in_flight_bytes": 100_000_000, "poll_batch_size": 1},
        _at_most,
        24,
        500_000,
    ),
    "rate_limit_per_second": (
        waits, {"rate_limit_per_second": 1_000_000}, {"rate_limit_per_second": 20}, _seconds, 40, 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("knob", list(EXPERIMENTS))
def test_a_turned_knob_is_felt_by_the_handler(topics, knob):
    """At least twice as much as before, on the consumer that was running all the time."""
    handler, before, after, figure, messages, size = EXPERIMENTS[knob]
    with _consuming(topics, handler, execution=before) as running:
        low = figure(running.measured(messages, size=size))
        running.turn({"execution": after})
        high = figure(running.measured(messages, size=size))
    assert high >= 2 * low, f"{knob}: {low} before and {high} after"
    if knob in ("max_in_flight", "worker_pool_size"):
        assert (low, high) == (before[knob], after[knob])


def test_a_time_limit_that_is_turned_down_is_kept(topics):
    """The same handler, well within its time before, is given up after."""
    with _consuming(topics, waits, retry={"max_retries": 0}) as running:
        assert _calls(running.measured(5)) == 5
        running.turn(
            {"retry": {"max_retries": 2, "backoff_ms": 1, "max_backoff_ms": 1}, "execution": {"task_timeout_ms": 20}}
        )
        assert _calls(running.measured(5)) == 15


def test_retries_are_turned_while_it_runs(topics):
    """Attempts and waits follow the new settings."""
    with _consuming(topics, fails, retry={"max_retries": 0, "backoff_ms": 1, "max_backoff_ms": 1}) as running:
        assert _calls(running.measured(5)) == 5
        running.turn({"retry": {"max_retries": 3, "backoff_ms": 200, "max_backoff_ms": 200, "jitter_percent": 0}})
        meter = running.measured(5)
    assert _calls(meter) == 20
    assert meter.took > 0.55


def test_a_watermark_that_stands_still_is_told_when_asked_for(topics):
    """Not before the knob is set, and within about a second after."""

    async def one_hangs(message: Any) -> None:
        if message.value == b"hang":
            await asyncio.sleep(3)

    running = _Running(topics, one_hangs, {"execution": {"shutdown_grace_seconds": 5}})
    try:
        topics.produce(running._topic, [b"hang"] + [b"x"] * 200)
        with capture_logs() as logs:
            time.sleep(1)
            quiet = [line for line in logs if line["event"] == "watermark stuck"]
            running.turn({"execution": {"shutdown_grace_seconds": 5, "max_blocking_duration_ms": 100}})
            time.sleep(1.5)
            told = [line for line in logs if line["event"] == "watermark stuck"]
    finally:
        running.stop()
    assert quiet == []
    assert told


def test_the_batches_to_worker_processes_follow_their_knob(topics, program, settings_for, eventually):
    """What a batch handler gets at once, on workers that run all the time."""
    topic, results = topics.create(partitions=1), topics.create(partitions=1)
    execution = {"mode": "process", "ordering": "unordered", "worker_pool_size": 1, "process": {"batch_size": 2}}
    settings = settings_for(
        topic, handler={"entrypoint": "handlers:sizes"}, execution=execution, results={"topic": results}
    )
    running = program(settings).start()
    topics.produce(topic, [b"x"] * 300)
    assert eventually(30, lambda: running.metric("consumer_processed_total") == 300), running.stderr
    before = [int(value) for value in topics.values(results, 150)]
    running.write(settings | {"execution": execution | {"process": {"batch_size": 200}}})
    assert eventually(5, lambda: len(running.logged("settings applied")) == 1)
    topics.produce(topic, [b"x"] * 300)
    assert eventually(30, lambda: running.metric("consumer_processed_total") == 600)
    after = [int(value) for value in topics.values(results, 10_000)][len(before) :]
    assert max(before) == 2
    assert max(after) > 2


def test_the_queue_to_worker_processes_follows_its_knob():
    """The room that the engine offers; nothing is started for it."""
    rooms = []
    for size in (4, 400):
        settings = RuntimeSettings.for_kafka(
            "b:1", topics=["t"], consumer_group="g", execution={"process": {"queue_size": size}}
        )
        engine = ProcessEngine(wrap(json.loads), ExecutionSettings())
        engine.apply(settings.execution)
        rooms.append(engine.room())
    assert rooms == [4, 400]


@pytest.mark.parametrize("grace_seconds", [0, 30])
def test_a_stop_waits_for_what_runs_as_long_as_its_grace(topics, grace_seconds):
    """With a grace the calls under way are finished and committed, without one they are left."""
    topic = topics.create(partitions=1)
    topics.produce(topic, [b"x"] * 4)
    began = threading.Event()

    async def slow(_: Any) -> None:
        began.set()
        await asyncio.sleep(2)

    settings = RuntimeSettings.for_kafka(
        topics.servers,
        topics=[topic],
        consumer_group=f"{topic}-group",
        execution={"shutdown_grace_seconds": grace_seconds, "revoke_grace_ms": 0},
    )
    consumer = ParallelConsumer(settings, slow)
    thread = threading.Thread(target=consumer.run, daemon=True)
    thread.start()
    assert began.wait(30)
    consumer.stop()
    thread.join(40)
    assert consumer.statistics.snapshot().finished() == (4 if grace_seconds else 0)


HERE = Path(__file__)
RUNTIME = HERE.parent.parent / "runtime"
PROOFS = {
    **dict.fromkeys(EXPERIMENTS, (HERE, "test_a_turned_knob_is_felt_by_the_handler")),
    "task_timeout_ms": (HERE, "test_a_time_limit_that_is_turned_down_is_kept"),
    "max_blocking_duration_ms": (HERE, "test_a_watermark_that_stands_still_is_told_when_asked_for"),
    "shutdown_grace_seconds": (HERE, "test_a_stop_waits_for_what_runs_as_long_as_its_grace"),
    "revoke_grace_ms": (RUNTIME / "test_rebalance.py", "test_what_outlasts_the_grace_runs_again"),
    "batch_size": (HERE, "test_the_batches_to_worker_processes_follow_their_knob"),
    "queue_size": (HERE, "test_the_queue_to_worker_processes_follows_its_knob"),
}
"""For each knob the test that turns it and measures something else: in which file, and how its name begins."""


def test_every_knob_has_a_test_that_feels_it():
    """A knob that nothing reads cannot be added: it fails here until it is felt somewhere."""
    assert set(PROOFS) == {*Knobs.model_fields, *ProcessKnobs.model_fields}
    for file, test in PROOFS.values():
        assert f"def {test}" in file.read_text(encoding="utf-8"), f"{test} is no test of {file}"
