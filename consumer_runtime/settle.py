"""What becomes of a completion: finished, tried again, made a dead letter, or skipped.

Called by the control loop with what the engine finished. Not here: backoff figures (`retry`), publishing
(`dead_letter`), offsets (`sources`).
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from operator import attrgetter

import structlog

from consumer_runtime.contract.metrics import RetryReason, Status
from consumer_runtime.dead_letter import DeadLetters
from consumer_runtime.engines.engine import Failure, FailureKind
from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.ledger.shards import Shards
from consumer_runtime.ledger.window import Load
from consumer_runtime.message import FailureHistory, Message
from consumer_runtime.retry import Backoff, RetryHeap
from consumer_runtime.sources.source import Run, Source
from consumer_runtime.statistics import Histogram, Statistics

_REASONS = {
    FailureKind.ERROR: RetryReason.ERROR,
    FailureKind.TIMEOUT: RetryReason.TIMEOUT,
    FailureKind.RETRY_AFTER: RetryReason.RETRY_AFTER,
    FailureKind.WORKER_LOST: RetryReason.WORKER_LOST,
}

BACKOFFS_BESIDE_WINDOW = 200_000
"""Messages that wait for a retry without taking room from the others; about 0.5 KB each beside their values."""

_FETCHED_AT = attrgetter("fetched_at")

_log = structlog.get_logger(__name__)


class Holdings:
    """What is in memory, counted: messages and bytes, in all and by partition."""

    __slots__ = ("messages", "size_bytes")

    def __init__(self) -> None:
        self.messages = 0
        self.size_bytes = 0

    def take(self, run: Run) -> None:
        """Count a run that arrived."""
        self._count(run.assignment, len(run.messages), _size(run.messages))

    def release(self, assignment: PartitionOffsets, messages: list[Message]) -> None:
        """Count messages of a partition that are finished."""
        self._count(assignment, -len(messages), -_size(messages))

    def forget(self, assignment: PartitionOffsets) -> None:
        """Count everything of a partition as gone."""
        self._count(assignment, -assignment.held, -assignment.held_bytes)

    def _count(self, assignment: PartitionOffsets, messages: int, size_bytes: int) -> None:
        assignment.held += messages
        assignment.held_bytes += size_bytes
        self.messages += messages
        self.size_bytes += size_bytes


class Settlement:
    """Books completions; owns the retry heap and the holdings."""

    def __init__(
        self, *, source: Source, shards: Shards, backoff: Backoff, dead_letters: DeadLetters, statistics: Statistics
    ) -> None:
        self.backoff = backoff
        """Replaced when the retry settings change."""
        self.retries = RetryHeap()
        self.holdings = Holdings()
        self.shards = shards
        """Replaced when mode auto has chosen."""
        self._source = source
        self._dead_letters = dead_letters
        self._statistics = statistics

    @property
    def load(self) -> Load:
        """Return what fills the window.

        What waits for a retry counts by its bytes only: many long backoffs, as while a service is away, must not keep
        the others out. The offset map bounds them too, where they lie scattered.
        """
        beside = min(len(self.retries), BACKOFFS_BESIDE_WINDOW)
        return Load(self.holdings.messages - beside, self.holdings.size_bytes, self.retries.size_bytes)

    def succeeded(self, messages: list[Message], now: float) -> None:
        """Finish messages whose handler returned."""
        _observe_since_fetched(self._statistics.processing_latency, messages, now)
        self._finish(messages, Status.SUCCESS)

    def failed(self, failures: Iterable[Failure], now: float) -> None:
        """Let failed messages wait for another attempt, or end them."""
        wall = time.time()
        for failure in failures:
            assignment = failure.message.assignment
            if assignment is None or not assignment.is_open:
                self._returned([failure.message])
                continue
            _remember(failure, now, wall)
            delay = self.backoff.delay_seconds(failure)
            if delay is None:
                self._end(failure, now)
            elif assignment.is_leaving:
                self._let_go(assignment, [failure.message])
            else:
                self._again(failure, now + delay)

    def bounced(self, messages: list[Message]) -> None:
        """Take back what was never attempted, in order; a retry among them still holds its shard."""
        fresh = []
        for message in messages:
            assignment = message.assignment
            if assignment is None or not assignment.is_open:
                self._returned([message])
                continue
            if assignment.is_leaving:
                self._let_go(assignment, [message])
            elif message.attempt > 1:
                self.shards.due.append(message)
            else:
                fresh.append(message)
        self.shards.put_back(fresh)

    def tick(self, now: float) -> int:
        """Let go what is due for another attempt, finish confirmed dead letters; return how many moved."""
        due = self.retries.due(now)
        self.shards.due.extend(due)
        confirmed = self._dead_letters.tick(now)
        if confirmed:
            self._finish(confirmed, Status.DEAD_LETTERED)
        return len(due) + len(confirmed)

    def retried(self) -> list[Message]:
        """Return what failed and is not finished, but for what is due again (`Shards.due`)."""
        return [*self.retries.messages(), *self._dead_letters.messages()]

    def leave(self, assignment: PartitionOffsets) -> None:
        """Give up what is not running, since the partition is being revoked; what runs may still finish."""
        assignment.is_leaving = True
        waiting, retries = self.shards.drop(assignment), self.retries.drop(assignment)
        self.holdings.release(assignment, waiting)
        self._let_go(assignment, retries)

    def forget(self, assignment: PartitionOffsets) -> None:
        """Give up everything of a partition that is ours no more."""
        self.shards.drop(assignment)
        self.shards.release(assignment, self.retries.drop(assignment) + self._dead_letters.drop(assignment))
        self.shards.abandon(assignment)
        self.holdings.forget(assignment)

    def _finish(self, messages: list[Message], status: Status) -> None:
        by_assignment: dict[PartitionOffsets, list[Message]] = defaultdict(list)
        for message in messages:
            if message.assignment is not None:
                by_assignment[message.assignment].append(message)
        for assignment, group in by_assignment.items():
            if assignment.is_open:
                self._source.acknowledge(assignment, group)
                self.shards.release(assignment, group)
                self.holdings.release(assignment, group)
                self._statistics.count_processed(
                    topic=assignment.topic, partition=assignment.partition, status=status, messages=len(group)
                )
            else:
                self._returned(group)

    def _returned(self, messages: list[Message]) -> None:
        """Take notice that messages of a partition given up run no more."""
        for message in messages:
            self.shards.returned(message, self._source.assignments.get((message.topic, message.partition)))

    def _again(self, failure: Failure, due_at: float) -> None:
        message = failure.message
        self._statistics.retries[_REASONS[failure.kind]] += 1
        self.shards.park(message)
        message.attempt += 1
        self.retries.add(message, due_at)

    def _end(self, failure: Failure, now: float) -> None:
        message = failure.message
        where = f"{message.topic}[{message.partition}]@{message.offset}"
        _log.error(
            "message failed for good", source=where, attempts=message.attempt, error=failure.error_class,
            text=failure.error_text, dead_letter=self._dead_letters.is_enabled,
        )  # fmt: skip
        if self._dead_letters.is_enabled:
            self.shards.park(message)
            self._dead_letters.publish(message, now)
        else:
            self._finish([message], Status.FAILED)

    def _let_go(self, assignment: PartitionOffsets, messages: list[Message]) -> None:
        """Give up messages that run no more, each the one before all others of its shard."""
        self.shards.release(assignment, messages)
        self.holdings.release(assignment, messages)


def _remember(failure: Failure, now: float, wall: float) -> None:
    """Note the failure on its message, in wall time."""
    message, at = failure.message, wall - (now - failure.finished_at)
    first_at = message.history.first_at if message.history is not None else at
    message.history = FailureHistory(
        first_at=first_at, last_at=at, error_class=failure.error_class, error_text=failure.error_text
    )


def _observe_since_fetched(histogram: Histogram, messages: list[Message], now: float) -> None:
    """Observe together what one poll brought: few times in many messages, in whichever order they finished."""
    for fetched_at, count in Counter(map(_FETCHED_AT, messages)).items():
        histogram.observe(now - fetched_at, count)


def _size(messages: list[Message]) -> int:
    return sum([len(message.value) for message in messages if message.value])
