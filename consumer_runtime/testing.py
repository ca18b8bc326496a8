"""For tests of a handler: run it over messages from an embedded Kafka, and look at what became of them.

    from consumer_runtime.testing import run_handler

    outcome = run_handler(handle, [b"1", b"2", b"not a number"])
    assert (outcome.succeeded, len(outcome.dead_letters)) == (2, 1)

The handler runs as it will in production: through the same consumer, with commits, retries and a dead letter topic. Not
for load: the embedded Kafka forgets what is older than 5 MB a partition.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from consumer_runtime.consumer import ParallelConsumer
from consumer_runtime.contract.metrics import Status
from consumer_runtime.contract.settings import Mode, RuntimeSettings
from consumer_runtime.embedded import EmbeddedKafka, EmbeddedKafkaError, Record
from consumer_runtime.errors import ConsumerError
from consumer_runtime.handler import Handler, wrap
from consumer_runtime.statistics import Snapshot

__all__ = ["DeadLetter", "EmbeddedKafka", "HandlerNotDoneError", "Outcome", "Record", "run_handler"]

TOPIC = "messages"
DEAD_LETTER_TOPIC = "messages.dead"
_LOOK_SECONDS = 0.02
_ANSWER_SECONDS = 10.0
_END_SECONDS = 30.0
_PROMPT_RETRIES = {"max_retries": 1, "backoff_ms": 10, "max_backoff_ms": 10}


class HandlerNotDoneError(ConsumerError):
    """The handler was not done with every message in time."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that the handler could not do, with why."""

    value: bytes | None
    key: bytes | None
    headers: dict[str, bytes | None]

    @property
    def error(self) -> str:
        """What the handler raised, as text."""
        return (self.headers.get("x-error-reason") or b"").decode()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the messages."""

    statistics: Snapshot
    dead_letters: list[DeadLetter]

    @property
    def succeeded(self) -> int:
        """Messages that the handler did, at the first attempt or at a later one."""
        return self.statistics.finished(Status.SUCCESS)

    @property
    def retried(self) -> int:
        """Attempts beyond the first."""
        return self.statistics.retried


def run_handler(
    handler: Handler | Callable[[Any], Any] | type,
    messages: Iterable[Record | bytes],
    *,
    timeout_seconds: float = 30.0,
    **sections: Any,
) -> Outcome:
    """Produce the messages (bytes are values without key), run the handler over all of them, and return what became.

    `sections` are those of RuntimeSettings: `execution={"mode": "thread", "ordering": "partition"}`, `retry={...}`. By
    default async for an `async def` and single for the others, and one retry after 10 ms.

    Raises HandlerNotDoneError after `timeout_seconds`, StartFailure for a handler or settings that cannot work.
    """
    ready = handler if isinstance(handler, Handler) else wrap(handler)
    records = [each if isinstance(each, Record) else Record(each) for each in messages]
    with EmbeddedKafka() as kafka:
        for topic in (TOPIC, DEAD_LETTER_TOPIC):
            kafka.create(topic)
        kafka.produce(TOPIC, records)
        consumer = ParallelConsumer(_settings(kafka, ready, sections), ready)
        _run_until(consumer, finished=len(records), timeout_seconds=timeout_seconds)
        snapshot = consumer.statistics.snapshot()
        return Outcome(snapshot, _dead_letters(kafka, snapshot.finished(Status.DEAD_LETTERED)))


def _settings(kafka: EmbeddedKafka, handler: Handler, sections: dict[str, Any]) -> RuntimeSettings:
    mode = Mode.ASYNC if handler.is_async else Mode.SINGLE
    defaults = {"retry": _PROMPT_RETRIES, "dead_letter": {"enabled": True, "topic": DEAD_LETTER_TOPIC}}
    execution = {"mode": mode, **sections.pop("execution", {})}
    return RuntimeSettings.for_kafka(
        kafka.bootstrap_servers,
        topics=[TOPIC],
        consumer_group="handler-under-test",
        **(defaults | sections | {"execution": execution}),
    )


def _run_until(consumer: ParallelConsumer, *, finished: int, timeout_seconds: float) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            consumer.run()
        except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
            failures.append(error)

    thread = threading.Thread(target=run, name="handler-under-test", daemon=True)
    thread.start()
    deadline = time.monotonic() + timeout_seconds
    while thread.is_alive() and consumer.statistics.snapshot().finished() < finished and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    done = consumer.statistics.snapshot().finished()
    consumer.stop()
    thread.join(_END_SECONDS)
    if failures:
        raise failures[0]
    if done < finished:
        raise HandlerNotDoneError(f"{done} of {finished} messages were finished after {timeout_seconds:g} s")


def _dead_letters(kafka: EmbeddedKafka, count: int) -> list[DeadLetter]:
    """Read the dead letter topic from its beginning until `count` letters were there."""
    if count == 0:
        return []
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "reader"})
    partitions = consumer.list_topics(DEAD_LETTER_TOPIC, timeout=_ANSWER_SECONDS).topics[DEAD_LETTER_TOPIC].partitions
    consumer.assign([TopicPartition(DEAD_LETTER_TOPIC, partition, 0) for partition in partitions])
    found: list[DeadLetter] = []
    deadline = time.monotonic() + _ANSWER_SECONDS
    while len(found) < count and time.monotonic() < deadline:
        batch = consumer.consume(count - len(found), 0.1)
        found += [_dead_letter(each) for each in batch if each.error() is None]
    consumer.close()
    if len(found) < count:
        raise EmbeddedKafkaError(f"{len(found)} of {count} dead letters could be read back")
    return found


def _dead_letter(message: Any) -> DeadLetter:
    return DeadLetter(message.value(), message.key(), dict(message.headers() or ()))
