"""What a retry costs to schedule and to keep, what starting costs, and what idling costs."""

import statistics

from benchmarks.failures import handlers
from benchmarks.failures.bench import HOUR_MS, Bench, Retry, Row
from benchmarks.scenarios.errors import MeasureError
from consumer_runtime.embedded import Record

_LONG = Retry(max_retries=1, backoff_ms=HOUR_MS)
"""Nothing of it comes back during a run."""
_BATCH = 10_000
_WIDE = {"max_in_flight": 50_000, "poll_batch_size": _BATCH}
PENDING_PARTITIONS = 64


def scheduling(bench: Bench, *, one_by_one: int = 20_000, parallel: int = 100_000) -> list[Row]:
    """Let every message fail once: how many retries a second are scheduled, fetch and handler included."""
    rows = []
    for name, count, at_once in (("one by one", one_by_one, 1), ("parallel", parallel, 2_000)):
        topic = bench.broker.filled("scheduling", count)
        # Room for all of them in memory: what waits for a retry counts as held.
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


def pending(bench: Bench, *, poison: int = 100_000, good: int = 1_500_000) -> list[Row]:
    """Let `poison` messages wait for a retry in an hour, and compare the rate of the others with and without them.

    The rate counts from when all poison waits and a third of the good ones is done, in both runs.
    """
    rows: list[Row] = []
    for waiting in (0, poison):
        topic = _mixed(bench, waiting, good)
        outcome = bench.run(topic, handlers.poisoned, seconds=180, retry=_LONG, execution=_WIDE, messages=good)
        begin = next((each for each in outcome.timeline if each[2] >= waiting and each[1] >= good / 3), None)
        if begin is None:
            raise MeasureError(f"only {outcome.retried} of {waiting} retries were pending when the others were done")
        end = outcome.timeline[-1]
        rate = (end[1] - begin[1]) / max(end[0] - begin[0], 1e-9)
        rows.append({"pending": outcome.retried, "good": outcome.succeeded, "counted_from_s": begin[0],
                     "all_seconds": round(outcome.seconds, 2), "good_per_second": round(rate),
                     "pauses": outcome.pauses, "rss_mb": round(outcome.rss_peak_mb, 1),
                     "latency_ms_p99": outcome.latency_ms["p99"]})  # fmt: skip
    rows.append({"ratio": round(rows[1]["good_per_second"] / max(rows[0]["good_per_second"], 1), 3)})
    return rows


def _mixed(bench: Bench, poison: int, good: int) -> str:
    """Return a topic whose partitions begin with poison; the good messages come after it."""
    topic = f"mixed-{poison}-{good}"
    if sum(bench.broker.ends(topic)) == poison + good:
        return topic
    bench.broker.create(topic, partitions=PENDING_PARTITIONS)
    values = [handlers.POISON] * poison + [b"x" * 100] * good
    spread = len(bench.broker.ends(topic))
    bench.broker.fill(topic, (Record(value, partition=number % spread) for number, value in enumerate(values)))
    return topic
