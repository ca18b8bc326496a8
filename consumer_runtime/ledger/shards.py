"""Who waits for whom: the order of messages that share a key, or a partition.

Pure. Holds what was fetched and not handed to the engine yet, and keeps state for busy shards only. Not here: shards of
which one message runs at a time (`lines`), or all of them (`parked`); which of them it is (`ordering`); how much may be
fetched or admitted (`window`).
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.message import Message

WHOLE_PARTITION = b""
"""The shard of all messages of a partition, where that is what keeps order."""


class Crowds(Protocol):
    """Shards of which an engine that keeps order has as many messages as one may hold: a hot one must not fill it."""

    def __bool__(self) -> bool:
        """Return whether there is any."""

    def room(self, message: Message) -> int:
        """Return how many more messages of this one's shard the engine takes; 0 until a crowd is half gone."""


class Shards(ABC):
    """What is ready to run, and what waits behind something that runs."""

    def __init__(self) -> None:
        self.ready: deque[Message] = deque()
        """Nothing stands before these; oldest first."""
        self.due: deque[Message] = deque()
        """Retries whose time has come; they hold their shard already and go before `ready`."""
        self.waiting = 0
        """Messages behind a busy shard."""

    @abstractmethod
    def arrive(self, assignment: PartitionOffsets, messages: list[Message]) -> None:
        """Take messages of one partition, in order."""

    @abstractmethod
    def release(self, assignment: PartitionOffsets, messages: list[Message]) -> None:
        """Take notice that messages of one partition are finished for good: the next of their shards may run."""

    @abstractmethod
    def park(self, message: Message) -> None:
        """Take notice that a message failed and will come back: its shard waits for it."""

    def take(self, count: int) -> list[Message]:
        """Return at most `count` messages to run now, retries first."""
        taken: list[Message] = []
        for queue in (self.due, self.ready):
            room = min(count - len(taken), len(queue))
            taken += [queue.popleft() for _ in range(room)]
        return taken

    def follow(self, messages: list[Message], *, room: int, each: int) -> None:  # noqa: B027 - the same
        """Let those in line behind messages just taken go with them as chains (`Message.follower`).

        At most `each` a chain; `room` is what an engine has for messages that have not begun, these ones included.
        """

    def followed(self, count: int) -> None:  # noqa: B027 - the same
        """Take notice that so many members of chains, but for their first, have begun, or did not and are back."""

    def abandon(self, assignment: PartitionOffsets) -> None:  # noqa: B027 - of no concern to most
        """Take notice that a partition is gone, and that what still runs of it may go on for a while."""

    def returned(self, message: Message, current: PartitionOffsets | None) -> None:  # noqa: B027 - the same
        """Take notice that a message of an abandoned partition runs no more; `current` is its assignment by now."""

    def put_back(self, messages: Iterable[Message]) -> None:
        """Take back, in order, messages that `take` gave and nobody ran: they go before everything later."""
        self.ready.extendleft(reversed(list(messages)))

    def drop(self, assignment: PartitionOffsets) -> list[Message]:
        """Forget what waits of a partition that is given up, and return it."""
        dropped = [message for line in assignment.lines.values() if line for message in line]
        self.waiting -= len(dropped)
        assignment.lines.clear()
        for queue in (self.ready, self.due):
            dropped += [message for message in queue if message.assignment is assignment]
        self.ready = deque(message for message in self.ready if message.assignment is not assignment)
        self.due = deque(message for message in self.due if message.assignment is not assignment)
        return dropped

    @property
    def is_empty(self) -> bool:
        """Whether nothing can be taken now."""
        return not self.ready and not self.due


class Unordered(Shards):
    """No message waits for another."""

    def arrive(self, assignment: PartitionOffsets, messages: list[Message]) -> None:  # noqa: ARG002 - the port's shape
        """All of them may run."""
        self.ready.extend(messages)

    def release(self, assignment: PartitionOffsets, messages: list[Message]) -> None:
        """Nobody waits."""

    def park(self, message: Message) -> None:
        """Nobody waits."""
