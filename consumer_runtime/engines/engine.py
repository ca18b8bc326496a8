"""The port between the control loop and whatever runs handlers: single, async, thread, process.

Only shapes and promises; no engine is implemented here, and engines know nothing of Kafka, offsets or retries. Every
method is called by the control thread only, and none but `wait`, `start` and `stop` may block.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from consumer_runtime.message import Message
from consumer_runtime.statistics import Histogram

if TYPE_CHECKING:
    from consumer_runtime.contract.settings import ExecutionSettings
    from consumer_runtime.ledger.shards import Crowds

ERROR_TEXT_CHARACTERS_AT_MOST = 1_000
"""Engines cut error texts to this; dead letter headers carry them."""


class FailureKind(StrEnum):
    """Why an attempt did not succeed."""

    ERROR = "error"
    """The handler raised."""
    TIMEOUT = "timeout"
    """Given up after `task_timeout_ms`, and it runs no more."""
    RETRY_AFTER = "retry_after"
    """The handler raised RetryAfter."""
    REJECT = "reject"
    """The handler raised Reject."""
    WORKER_LOST = "worker_lost"
    """Its worker died while running it (exit, signal)."""


@dataclass(slots=True, kw_only=True)
class Failure:
    """One failed attempt. Times are `time.monotonic()` seconds of the control process."""

    message: Message
    kind: FailureKind
    error_class: str
    """`module:QualifiedName` of the exception's class; for timeouts and lost workers the builtin they resemble."""
    error_text: str
    error_classes: tuple[str, ...] = ()
    """The exception's class and its parents, spelled the same way; what retry policies match on."""
    retry_after_seconds: float = 0.0
    """Of RetryAfter only."""
    started_at: float
    finished_at: float


@dataclass(slots=True)
class Completions:
    """What finished since the last `collect`. Lists are the caller's to keep."""

    done: list[Message] = field(default_factory=list)
    """Succeeded."""
    failures: list[Failure] = field(default_factory=list)
    bounced: list[Message] = field(default_factory=list)
    """Never attempted, in order: handed back because an earlier message of their shard failed (`keeps_order` engines),
    because their worker died before it came to them, because their assignment was closed, or because their shard has as
    much with the engine as one may (`crowds`)."""
    followers: int = 0
    """Members of chains, but for their first, that have begun or were bounced: no call more than before began with
    them, or none at all."""


@dataclass(slots=True)
class EngineStatistics:
    """An engine's own counters; it owns and grows them, the control thread reads."""

    handler_seconds: Histogram = field(default_factory=Histogram)
    """Service time of attempts, without any waiting; filled per batch."""
    busy_seconds: float = 0.0
    """Sum over workers of the time spent in handlers."""
    queued: int = 0
    """Submitted messages that no worker has started."""
    workers: int = 0
    workers_lost: int = 0


class Engine(Protocol):
    """Runs the handler over messages. Constructed as `TheEngine(handler, execution)`.

    Two kinds. With `keeps_order` False the control loop submits a message of a shard (its key, or its partition, by
    `execution.ordering`) only after the one before it has finished, so that any free worker may take it. With
    `keeps_order` True it submits all of them, in order, and the engine runs each shard first in, first out. When a
    message of a shard fails there, the engine runs no later message of that shard: it hands them back as `bounced`,
    all of them and in order, **in the same Completions as the failure**, and holds nothing of the shard afterwards. The
    next submit of that shard (the retry, once it is due) opens it again. Null keys under ordering `key`, and all
    messages under `unordered`, belong to no shard.

    An engine of the first kind may take chains (`follows`): a submitted message and, by `Message.follower`, those of
    its shard after it. It begins each once the one before has succeeded, so that all of a chain are one call at once.
    When a message fails, or its partition is given up, those after it are no chain any more and come back as `bounced`,
    as above.

    An attempt past its timeout that cannot be interrupted (a hung thread, a coroutine that swallows its cancellation)
    is not completed at all until it returns, since it may still write: `trouble` tells of it. If it returns after all,
    its outcome is what it says.
    """

    @property
    def keeps_order(self) -> bool:
        """Which kind it is. Mode auto turns from the first kind into the second where it chooses process."""

    @property
    def crowds(self) -> "Crowds | None":
        """Return the shards that have as much with the engine as one may; None unless it keeps order."""

    @property
    def follows(self) -> int:
        """Return how many messages may follow one of their shard in a chain; 0 of an engine that takes none."""

    def start(self) -> None:
        """Start workers and open handlers; raises StartFailure when the handler's `open` fails."""

    def submit(self, messages: list[Message]) -> None:
        """Take messages to run; never blocks and never refuses. At most `room()` of them."""

    def room(self) -> int:
        """Return how many more messages the engine takes within bounds of its own (such as its queues to workers)."""

    def collect(self) -> Completions | None:
        """Return what finished since the last call, or None; never blocks."""

    def wait(self, seconds: float) -> None:
        """Return as soon as `collect` has something to return, or after `seconds`."""

    def apply(self, execution: "ExecutionSettings") -> None:
        """Take new hot knobs: timeouts, pool size, batch and queue sizes."""

    def oldest_started_at(self) -> float | None:
        """Return `time.monotonic()` of the start of the longest running attempt, None when nothing runs."""

    def trouble(self, now: float) -> str | None:
        """Return why the engine cannot go on, in a sentence, or None.

        Such as a handler that blocks the loop, or more hung threads than are tolerable. The control loop then drains
        what can be drained and ends the process with HandlerStuck, so that Kubernetes restarts it.
        """

    def statistics(self) -> EngineStatistics:
        """Return the engine's counters."""

    def stop(self, grace_seconds: float) -> None:
        """Close handlers and end workers within `grace_seconds`; what still runs then is abandoned or killed."""


def error_names(error: BaseException) -> tuple[str, ...]:
    """Return the classes of an exception as `module:QualifiedName`, its own first, without those of every exception."""
    classes: Sequence[type] = type(error).__mro__
    return tuple(f"{each.__module__}:{each.__qualname__}" for each in classes if each not in _EVERY_EXCEPTION)


_EVERY_EXCEPTION = (object, BaseException)
