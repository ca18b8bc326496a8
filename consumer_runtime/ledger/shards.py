"""Who waits for whom: the order of messages that share a key, or a partition.

Pure. Holds what was fetched and not handed to the engine yet, releases the next message of a shard when the one before
it is finished, and keeps state for busy shards only. Not here: how much may be fetched or admitted (`window`).
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable

from consumer_runtime.contract.settings import Ordering
from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.message import Message

_WHOLE_PARTITION = b""


def shards(ordering: Ordering, *, engine_keeps_order: bool) -> "Shards":
    """Return the bookkeeping that fits the order asked for and the engine that runs it."""
    if ordering is Ordering.UNORDERED:
        return Unordered()
    by_key = ordering is Ordering.KEY
    return Parked(by_key=by_key) if engine_keeps_order else Lines(by_key=by_key)


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


class Lines(Shards):
    """One message of a shard at a time; those behind it stand in line. For engines that keep no order themselves."""

    def __init__(self, *, by_key: bool) -> None:
        super().__init__()
        self._by_key = by_key

    def arrive(self, assignment: PartitionOffsets, messages: list[Message]) -> None:
        """Idle shards may run and are busy from now on; others stand in line."""
        lines, ready, by_key = assignment.lines, self.ready, self._by_key
        for message in messages:
            shard = message.key if by_key else _WHOLE_PARTITION
            if shard is None:
                ready.append(message)
            elif shard not in lines:
                lines[shard] = None
                ready.append(message)
            else:
                self._stand_in_line(lines, shard, message)

    def _stand_in_line(self, lines: dict[bytes, deque[Message] | None], shard: bytes, message: Message) -> None:
        self.waiting += 1
        line = lines[shard]
        if line is None:
            lines[shard] = deque((message,))
        else:
            line.append(message)

    def release(self, assignment: PartitionOffsets, messages: list[Message]) -> None:
        """The next in line is older than what is ready, and nearer to the watermark: it goes first."""
        lines, by_key = assignment.lines, self._by_key
        for message in messages:
            shard = message.key if by_key else _WHOLE_PARTITION
            if shard is None:
                continue
            line = lines.get(shard)
            if line:
                self.waiting -= 1
                self.ready.appendleft(line.popleft())
            else:
                lines.pop(shard, None)

    def park(self, message: Message) -> None:
        """Its shard is busy already, and stays so."""


class Parked(Shards):
    """Everything may run at once, since the engine keeps order, but for shards that wait for a retry."""

    def __init__(self, *, by_key: bool) -> None:
        super().__init__()
        self._by_key = by_key
        self._parked = 0

    def arrive(self, assignment: PartitionOffsets, messages: list[Message]) -> None:  # noqa: ARG002 - the port's shape
        """All of them may run, as far as is known here; `take` sets aside those of parked shards."""
        self.ready.extend(messages)

    def park(self, message: Message) -> None:
        """Hold back the shard until `release`."""
        shard = message.key if self._by_key else _WHOLE_PARTITION
        if shard is None or message.assignment is None or shard in message.assignment.lines:
            return
        message.assignment.lines[shard] = deque()
        self._parked += 1

    def release(self, assignment: PartitionOffsets, messages: list[Message]) -> None:
        """Let parked shards go on, from what was set aside."""
        lines = assignment.lines
        if not lines:
            return
        for message in messages:
            shard = message.key if self._by_key else _WHOLE_PARTITION
            if shard is not None and shard in lines:
                line = lines.pop(shard) or ()
                self._parked -= 1
                self.waiting -= len(line)
                self.put_back(line)

    def take(self, count: int) -> list[Message]:
        """Set aside what belongs to a parked shard, in the order of `ready`: whatever is later in it is younger."""
        if not self._parked:
            return super().take(count)
        taken = [self.due.popleft() for _ in range(min(count, len(self.due)))]
        while self.ready and len(taken) < count:
            message = self.ready.popleft()
            line = self._line(message)
            if line is None:
                taken.append(message)
            else:
                self.waiting += 1
                line.append(message)
        return taken

    def _line(self, message: Message) -> deque[Message] | None:
        shard = message.key if self._by_key else _WHOLE_PARTITION
        if shard is None or message.assignment is None:
            return None
        return message.assignment.lines.get(shard)

    def drop(self, assignment: PartitionOffsets) -> list[Message]:
        """Forget what waits of a partition that is given up, and return it."""
        self._parked -= len(assignment.lines)
        return super().drop(assignment)
