"""When a failed message runs again: backoff by policy, and one heap of what is due.

Not here: what becomes of a message that is out of retries (`settle`, `dead_letter`).
"""

import heapq
import importlib
import itertools
import random
from collections.abc import Callable

from consumer_runtime.contract.settings import RetryPolicy, RetrySettings
from consumer_runtime.contract.state import StartReason
from consumer_runtime.engines.engine import Failure, FailureKind
from consumer_runtime.errors import StartFailure
from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.message import Message

_LARGEST_POWER = 32


class Backoff:
    """Decides whether and after how long an attempt is made again."""

    def __init__(self, settings: RetrySettings, draw: Callable[[], float] = random.random) -> None:
        """Resolve the policies' classes; `draw` returns the jitter's number in [0, 1). Raises StartFailure."""
        self._settings = settings
        self._draw = draw
        self._policies = [(_resolved(policy), policy) for policy in settings.policies]

    def delay_seconds(self, failure: Failure) -> float | None:
        """Return the seconds to wait before the next attempt, None when there is to be none.

        Attempt n waits `backoff_ms * 2 ** (n - 1)`, at most `max_backoff_ms`, with jitter around it. RetryAfter waits
        what it says, and counts as an attempt like any other; Reject ends the retries.
        """
        policy = self._policy(failure.error_classes)
        attempt = failure.message.attempt
        if failure.kind is FailureKind.REJECT or attempt > policy.max_retries:
            return None
        if failure.kind is FailureKind.RETRY_AFTER:
            return failure.retry_after_seconds
        doubled = policy.backoff_ms * 2.0 ** min(attempt - 1, _LARGEST_POWER)
        share = self._settings.jitter_percent / 100
        return min(doubled, policy.max_backoff_ms) / 1000 * (1 + share * (2 * self._draw() - 1))

    def _policy(self, classes: tuple[str, ...]) -> RetryPolicy | RetrySettings:
        """The first policy that names the error's class or a parent of it holds."""
        for names, policy in self._policies:
            if names.intersection(classes):
                return policy
        return self._settings


class RetryHeap:
    """Messages that wait for their next attempt; they hold neither a worker nor other keys."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Message]] = []
        self._order = itertools.count()
        self.size_bytes = 0
        """Of the values of all that waits."""

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def next_due(self) -> float | None:
        """When the first is due, as `time.monotonic()`; None when there is none."""
        return self._heap[0][0] if self._heap else None

    def messages(self) -> list[Message]:
        """Return all that waits, in no order."""
        return [each[2] for each in self._heap]

    def add(self, message: Message, due_at: float) -> None:
        """Let a message wait until then."""
        heapq.heappush(self._heap, (due_at, next(self._order), message))
        self.size_bytes += len(message.value or b"")

    def due(self, now: float) -> list[Message]:
        """Return what is due, earliest first."""
        messages = []
        while self._heap and self._heap[0][0] <= now:
            messages.append(heapq.heappop(self._heap)[2])
        return self._gone(messages)

    def drop(self, assignment: PartitionOffsets) -> list[Message]:
        """Forget the messages of a partition that is given up, and return them."""
        dropped = [each[2] for each in self._heap if each[2].assignment is assignment]
        self._heap = [each for each in self._heap if each[2].assignment is not assignment]
        heapq.heapify(self._heap)
        return self._gone(dropped)

    def _gone(self, messages: list[Message]) -> list[Message]:
        self.size_bytes -= sum(len(each.value or b"") for each in messages)
        return messages


def _resolved(policy: RetryPolicy) -> frozenset[str]:
    """Return the classes' own names: `requests:Timeout` is defined in `requests.exceptions`."""
    return frozenset(_own_name(name) for name in policy.errors)


def _own_name(name: str) -> str:
    module_name, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise _no_class(name, f"it cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, BaseException)):
        raise _no_class(name, "it is no exception class")
    return f"{found.__module__}:{found.__qualname__}"


def _no_class(name: str, why: str) -> StartFailure:
    remedy = f"name exception classes as module:Class; {why}"
    return StartFailure.because(
        StartReason.INVALID_SETTINGS, field="spec.retry.policies.errors", value=name, remedy=remedy
    )
