"""What a retry costs to schedule and to keep, what starting costs, and what idling costs."""

import statistics
import threading

from confluent_kafka import Producer

from benchmarks.failures import handlers
from benchmarks.failures.bench import HOUR_MS, Bench, Retry, Row
from benchmarks.scenarios.errors import MeasureError
from benchmarks.scenarios.job import Outcome
from consumer_runtime.embedded import Record

_LONG = Retry(max_retries=1, backoff_ms=HOUR_MS)
"""Nothing of it comes back during a run."""
_BATCH = 10_000
_WIDE = {"max_in_flight": 50_000, "poll_batch_size": _BATCH}
_ORDINARY = {"max_in_flight": 1_000, "poll_batch_size": 500}
"""What waits for a retry takes no room from the others."""
PENDING_PARTITIONS = 64
_PENDING_WITHIN_SECONDS = 20.0
"""100,000 of them take three seconds on two quiet cores."""


def scheduling(bench: Bench, *, one_by_one: int = 20_000, parallel: int = 100_000) -> list[Row]:
    """Let every message fail once: how many retries a second are scheduled, fetch and handler included."""
    rows = []
    for name, count, at_once in (("one by one", one_by_one, 1), ("parallel", parallel, 2_000)):
        topic = bench.broker.filled("scheduling", count)
        execution = {**_WIDE, "max_in_flight": at_once if at_once == 1 else _WIDE["max_in_flight"]}
        outcome = bench.run(
            topic, handlers.always, seconds=120, retry=_LONG, execution=execution, retries=count
        )  # fmt: skip
        rate = outcome.retried / max(outcome.seconds, 1e-9)
        document = 1_000 if at_once == 1 else 3_000
        rows.append({"how": name, "retries": outcome.retried, "seconds": round(outcome.seconds, 3),
                     "retries_per_second": round(rate), "us_per_retry": round(1e6 / max(rate, 1e-9), 2),
                     "document_per_second": document, "times_the_document": round(rate / document, 1)})  # fmt: skip
    return rows


def memory(bench: Bench, *, few: int = 20_000, many: int = 100_000) -> list[Row]:
    """Return bytes of memory for each pending retry of a 100 B message: the slope between few and many."""
    peaks = {}
    for count in (few, many):
        topic = bench.broker.filled("pending", count, partitions=PENDING_PARTITIONS)
        outcome = bench.run(topic, handlers.always, seconds=120, retry=_LONG, execution=_WIDE, retries=count)
        peaks[count] = outcome.rss_end_mb
    each = 1e6 * (peaks[many] - peaks[few]) / (many - few)
    return [{"pending": count, "rss_mb": round(peak, 1)} for count, peak in peaks.items()] + [
        {"bytes_per_pending_retry": round(each), "document_bytes": 1_000}
    ]


def start_up(bench: Bench, *, runs: int = 5) -> list[Row]:
    """Return medians of what passes from the start of a process to its first partitions."""
    topic = bench.broker.filled("scheduling", 1_000)
    found = [
        bench.run(topic, handlers.nothing, seconds=30, retry=_LONG, execution={}, messages=1_000) for _ in range(runs)
    ]
    steps = {"import": "import_seconds", "initialisation": "init_seconds", "join the group": "join_seconds"}
    return [
        {
            "step": step,
            "ms_median": round(1e3 * statistics.median(getattr(each, name) for each in found), 1),
            "ms_max": round(1e3 * max(getattr(each, name) for each in found), 1),
            "document_ms": 10 if step == "initialisation" else None,
        }
        for step, name in steps.items()
    ]


def idle(bench: Bench, *, seconds: float = 15.0) -> list[Row]:
    """Return CPU and memory of consumers that have 64 empty partitions and nothing to do."""
    topic = f"idle-{PENDING_PARTITIONS}"
    bench.broker.create(topic, partitions=PENDING_PARTITIONS)
    rows = []
    for mode in ("single", "async", "thread", "process"):
        handler = handlers.nothing if mode == "async" else handlers.nothing_called
        outcome = bench.run(topic, handler, seconds=seconds, retry=_LONG, execution={"mode": mode})
        rows.append({"mode": mode, "partitions": PENDING_PARTITIONS,
                     "cpu_percent": round(100 * outcome.cpu_share, 2), "document_percent": 5,
                     "rss_mb": round(outcome.rss_end_mb, 1), "document_mb": 50})  # fmt: skip
    return rows


def pending(bench: Bench, *, poison: int = 100_000, good: int = 600_000) -> list[Row]:
    """Let `poison` messages wait for a retry in an hour, and compare the rate of others with and without them.

    On a busy machine compare CPU time. Raises MeasureError when not all poison was waiting by the time others came.
    """
    rows = _beside(bench, poison=(0, poison), good=good, execution=_ORDINARY)
    rows.append({name: round(rows[1][of] / max(rows[0][of], 1e-9), 3)
                 for name, of in (("ratio_of_rates", "good_per_second"), ("ratio_of_cpu", "good_cpu_us"))})  # fmt: skip
    return rows


def reopening(bench: Bench, *, poison: int = 50_000, good: int = 6_400, value_bytes: int = 100) -> list[Row]:
    """Fill the window again and again with messages of 100 ms, beside none and `poison` pending retries.

    64 at once make 640 a second at most, and half a window then drains in 1.6 s: long enough that partitions are
    paused, so that it shows whether they are resumed. Raises MeasureError like `pending`.
    """
    execution = {"max_in_flight": 64, "poll_batch_size": 500}
    return _beside(bench, poison=(0, poison), good=good, execution=execution, work_seconds=0.1, value_bytes=value_bytes)


def _beside(
    bench: Bench,
    *,
    poison: tuple[int, ...],
    good: int,
    execution: dict[str, int],
    work_seconds: float = 0.0,
    value_bytes: int = len(handlers.POISON),
) -> list[Row]:
    """Return how good messages went beside so many poisonous ones that wait for a retry in an hour.

    The good ones are produced before, in a transaction that is committed when all poison waits: they appear at once.
    """
    rows: list[Row] = []
    environment = {handlers.SECONDS_VARIABLE: f"{work_seconds}"}
    for waiting in poison:
        goods, bad = (bench.topic(name, partitions=PENDING_PARTITIONS) for name in ("good", "poison"))
        value = handlers.POISON.ljust(value_bytes, b"x")
        bench.broker.fill(bad, (Record(value, partition=n % PENDING_PARTITIONS) for n in range(waiting)))
        hidden = threading.Timer(_PENDING_WITHIN_SECONDS, _hidden(bench, goods, good).commit_transaction)
        hidden.start()
        topics = [goods, bad] if waiting else [goods]
        outcome = bench.run(topics, handlers.poisoned, seconds=180, retry=_LONG, execution=execution,
                            environment=environment, messages=good)  # fmt: skip
        hidden.join()
        rows.append(_rate_beside(outcome, waiting))
        for topic in (goods, bad):
            bench.broker.drop(topic)
    return rows


def _hidden(bench: Bench, topic: str, count: int) -> Producer:
    """Return a producer with that many messages in a transaction that is still open."""
    properties = {"bootstrap.servers": bench.broker.servers, "transactional.id": topic, "linger.ms": 20, "log_level": 0}
    producer = Producer({**properties, "transaction.timeout.ms": 300_000, "queue.buffering.max.messages": 0})
    producer.init_transactions(30)
    producer.begin_transaction()
    for number in range(count):
        producer.produce(topic, b"x" * 100, partition=number % PENDING_PARTITIONS)
        if number % 10_000 == 0:
            producer.poll(0)
    producer.flush(120)
    return producer


def _rate_beside(outcome: Outcome, waiting: int) -> Row:
    begin = next((each for each in outcome.timeline if each[1] > 0), None)
    if begin is None or begin[2] < waiting:
        found = begin[2] if begin else 0
        raise MeasureError(f"{found} of {waiting} retries were pending as the others appeared; try again")
    end = outcome.timeline[-1]
    rate = (end[1] - begin[1]) / max(end[0] - begin[0], 1e-9)
    cpu_us = 1e6 * (end[3] - begin[3]) / max(end[1] - begin[1], 1)
    return {"pending": outcome.retried, "good": outcome.succeeded, "counted_s": round(end[0] - begin[0], 2),
            "good_per_second": round(rate), "pauses": outcome.pauses, "good_cpu_us": round(cpu_us, 2),
            "rss_mb": round(outcome.rss_peak_mb, 1), "latency_ms_p99": outcome.latency_ms["p99"]}  # fmt: skip
