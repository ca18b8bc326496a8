"""Totals, rates and latency under a failure rate; and how payloads and retry settings change them."""

import threading
import time

from benchmarks.failures import handlers
from benchmarks.failures.bench import Bench, Retry, Row
from benchmarks.scenarios.job import Outcome
from consumer_runtime.embedded import Record

PAYLOADS = (100, 1_000, 10_000, 100_000)
_SWEEP_MESSAGES = 20_000
_SWEEP_BYTES = 100_000_000
_MARGIN_SECONDS = 30.0


def measured(bench: Bench, *, rate: int, duration: float, failure_rate: float, work_ms: float, retry: Retry) -> Row:
    """Offer `rate` messages a second for `duration` seconds, and return what became of all of them."""
    topic = bench.topic("failures")
    count = max(int(rate * duration), 1)
    producer = threading.Thread(target=_offer, args=(bench, topic, rate, count), daemon=True)
    producer.start()
    outcome = bench.run(
        topic,
        handlers.flaky,
        seconds=duration + retry.longest_seconds + _MARGIN_SECONDS,
        retry=retry,
        execution={"max_in_flight": 2_000},
        environment=_environment(failure_rate, work_ms),
        messages=count,
        dead_letter=f"{topic}.dead",
    )
    producer.join(_MARGIN_SECONDS)
    return totals(count, outcome, failure_rate, retry)


def totals(count: int, outcome: Outcome, failure_rate: float, retry: Retry) -> Row:
    """Return the document's totals; `expected_...` is arithmetic from the failure rate."""
    attempts = count + outcome.retried
    expected = [failure_rate ** (number + 1) for number in range(retry.max_retries)]
    return {
        "TotalMessages": count,
        "SuccessfulMessages": outcome.succeeded,
        "RetriedMessages": outcome.retried,
        "ErrorMessages": outcome.failed + count - outcome.finished,
        "DeadLetteredMessages": outcome.dead_lettered,
        "success_rate_percent": round(100 * outcome.succeeded / count, 3),
        "retry_rate_percent": round(100 * outcome.retried / attempts, 2),
        "expected_retried": round(count * sum(expected)),
        "expected_dead_lettered": round(count * failure_rate ** (retry.max_retries + 1), 1),
        "messages_per_second": round(outcome.finished / outcome.watched_seconds, 1),
        "attempts_per_second": round(attempts / outcome.watched_seconds, 1),
        "seconds": round(outcome.watched_seconds, 2),
        **{f"latency_ms_{name}": value for name, value in outcome.latency_ms.items()},
        "memory_peak_mb": round(outcome.rss_peak_mb, 1),
        "cpu_percent": round(100 * outcome.cpu_share, 1),
    }


def payloads(bench: Bench, *, failure_rate: float) -> list[Row]:
    """Drain a backlog for each payload size, with retries after 10 ms."""
    rows = []
    retry = Retry(max_retries=5, backoff_ms=10)
    for size in PAYLOADS:
        count = min(_SWEEP_MESSAGES, _SWEEP_BYTES // size)
        topic = bench.broker.filled("payload", count, value_bytes=size)
        outcome = bench.run(
            topic, handlers.flaky, seconds=120, retry=retry, execution={"max_in_flight": 1_000},
            environment=_environment(failure_rate, 0), messages=count, dead_letter="payload.dead",
        )  # fmt: skip
        row = totals(count, outcome, failure_rate, retry)
        us = 1e6 * outcome.watched_seconds / max(outcome.finished + outcome.retried, 1)
        megabytes = outcome.finished * size / 1e6 / outcome.watched_seconds
        rows.append({"payload_bytes": size, "us_per_attempt": round(us, 1),
                     "mb_per_second": round(megabytes, 2), **row})  # fmt: skip
    return rows


def retry_settings(bench: Bench, *, failure_rate: float, messages: int = 2_000) -> list[Row]:
    """Drain a backlog for combinations of retries and first waits."""
    rows = []
    topic = bench.broker.filled("retries", messages)
    for max_retries in (0, 1, 3, 5):
        for backoff_ms in (10, 100, 1_000) if max_retries else (10,):
            retry = Retry(max_retries=max_retries, backoff_ms=backoff_ms)
            outcome = bench.run(
                topic, handlers.flaky, seconds=retry.longest_seconds + 60, retry=retry,
                execution={"max_in_flight": 1_000}, environment=_environment(failure_rate, 0), messages=messages,
                dead_letter="retries.dead",
            )  # fmt: skip
            rows.append({"max_retries": max_retries, "backoff_ms": backoff_ms,
                         **totals(messages, outcome, failure_rate, retry)})  # fmt: skip
    return rows


def _environment(failure_rate: float, work_ms: float) -> dict[str, str]:
    return {handlers.RATE_VARIABLE: f"{failure_rate}", handlers.SECONDS_VARIABLE: f"{work_ms / 1000}"}


def _offer(bench: Bench, topic: str, rate: int, count: int) -> None:
    """Produce in bursts of 20 ms, from a thread of its own."""
    started, offered = time.monotonic(), 0
    while offered < count:
        due = min(count, int((time.monotonic() - started) * rate) + 1)
        bench.broker.fill(topic, (Record(b"%d" % number, key=b"%d" % number) for number in range(offered, due)))
        offered = max(offered, due)
        time.sleep(0.02)
