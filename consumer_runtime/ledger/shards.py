"""Who waits for whom: the order of messages that share a key, or a partition.

Pure. Holds what was fetched and not handed to the engine yet, releases the next message of a shard when the one before
it is finished, and keeps state for busy shards only. Not here: how much may be fetched or admitted (`window`).
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from consumer_runtime.contract.settings import Ordering
from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.message import Message

_WHOLE_PARTITION = b""
_Shard = tuple[PartitionOffsets, bytes]


class Crowds(Protocol):
    """Shards of which an engine that keeps order has as many messages as one may hold: a hot one must not fill it."""

    def __bool__(self) -> bool:
        """Return whether there is any."""

    def room(self, message: Message) -> int:
        """Return how many more messages of this one's shard the engine takes; 0 until a crowd is half gone."""


def shards(ordering: Ordering, *, engine_keeps_order: bool, crowds: Crowds | None = None) -> "Shards":
    """Return the bookkeeping that fits the order asked for and the engine that runs it.

    `crowds` are those of an engine that keeps order; without them a shard may hold all that the engine takes.
    """
    if ordering is Ordering.UNORDERED:
        return Unordered()
    by_key = ordering is Ordering.KEY
    return (
        Parked(by_key=by_key, crowds=_NoCrowds() if crowds is None else crowds)
        if engine_keeps_order
        else Lines(by_key=by_key)
    )


def in_an_engine(
    before: "Shards", assignments: Iterable[PartitionOffsets], retried: Iterable[Message], *, crowds: Crowds | None
) -> "Shards":
    """Return the same messages for an engine that keeps order, where one did not before (mode auto has chosen).

    `retried` are all that failed and will come back. Whoever stands in line behind another message goes after it.
    """
    if not isinstance(before, Lines):
        return before
    after = Parked(by_key=before.by_key, crowds=_NoCrowds() if crowds is None else crowds)
    after.ready, after.due = before.ready, before.due
    for assignment in assignments:
        lines, assignment.lines = assignment.lines, {}
        parked = [each for each in (*retried, *before.due) if each.assignment is assignment]
        for message in parked:
            after.park(message)
        for shard, line in lines.items():
            after.stand(assignment, shard, line or ())
    return after


class _NoCrowds:
    def __bool__(self) -> bool:
        return False

    def room(self, message: Message) -> int:  # noqa: ARG002 - the port's shape
        return 1 << 30


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


class Lines(Shards):
    """One message of a shard at a time; those behind it stand in line. For engines that keep no order themselves.

    That holds over assignments, too: a partition that comes back while a message of it still runs, because it outlasted
    the grace of its revoke, begins with that message's shard busy. The old attempt may still write.
    """

    def __init__(self, *, by_key: bool) -> None:
        super().__init__()
        self.by_key = by_key
        self._lingering: dict[tuple[str, int], set[bytes]] = {}
        """Shards of abandoned partitions whose message runs."""

    def arrive(self, assignment: PartitionOffsets, messages: list[Message]) -> None:
        """Idle shards may run and are busy from now on; others stand in line."""
        if self._lingering:
            for busy in self._lingering.get((assignment.topic, assignment.partition), ()):
                assignment.lines.setdefault(busy, None)
        lines, ready, by_key = assignment.lines, self.ready, self.by_key
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
        lines, by_key = assignment.lines, self.by_key
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

    def drop(self, assignment: PartitionOffsets) -> list[Message]:
        """Forget what waits; a shard whose message was taken stays busy until `release`."""
        heads = (message for message in (*self.ready, *self.due) if message.assignment is assignment)
        waiting = {self._shard(message) for message in heads}
        busy = [shard for shard in assignment.lines if shard not in waiting]
        dropped = super().drop(assignment)
        assignment.lines.update(dict.fromkeys(busy))
        return dropped

    def abandon(self, assignment: PartitionOffsets) -> None:
        """Remember which shards are busy."""
        if assignment.lines:
            self._lingering.setdefault((assignment.topic, assignment.partition), set()).update(assignment.lines)

    def returned(self, message: Message, current: PartitionOffsets | None) -> None:
        """Let the shard go on in the assignment that the partition has by now."""
        place, shard = (message.topic, message.partition), self._shard(message)
        lingering = self._lingering.get(place)
        if lingering is None or shard not in lingering:
            return
        lingering.discard(shard)
        if not lingering:
            del self._lingering[place]
        if current is not None:
            self.release(current, [message])

    def _shard(self, message: Message) -> bytes | None:
        return message.key if self.by_key else _WHOLE_PARTITION


class Parked(Shards):
    """Everything may run at once, since the engine keeps order, but for shards that wait for a retry, or are crowds.

    What is set aside stands in its shard's line (`assignment.lines`), in order, and is nearer to the watermark than
    anything of the shard in `ready`.
    """

    def __init__(self, *, by_key: bool, crowds: Crowds) -> None:
        super().__init__()
        self._by_key = by_key
        self._crowds = crowds
        self._parked: set[_Shard] = set()
        """Have a line, and wait for a retry."""
        self._flowing: dict[_Shard, None] = {}
        """Have a line, and run as fast as the engine has room for them."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing can be taken now."""
        return super().is_empty and not any(self._room(each) for each in self._flowing)

    def arrive(self, assignment: PartitionOffsets, messages: list[Message]) -> None:  # noqa: ARG002 - the port's shape
        """All of them may run, as far as is known here; `take` sets aside those of parked and crowded shards."""
        self.ready.extend(messages)

    def park(self, message: Message) -> None:
        """Hold back the shard until `release`."""
        shard = self._shard(message)
        if shard is None:
            return
        assignment, key = shard
        assignment.lines.setdefault(key, deque())
        self._flowing.pop(shard, None)
        self._parked.add(shard)

    def stand(self, assignment: PartitionOffsets, key: bytes, messages: Iterable[Message]) -> None:
        """Take messages of one shard that are younger than all others of it here."""
        line = assignment.lines.get(key)
        if line is None:
            self.ready.extend(messages)
        else:
            line.extend(messages)
            self.waiting += len(line)

    def release(self, assignment: PartitionOffsets, messages: list[Message]) -> None:
        """Let parked shards go on, from what was set aside."""
        if not self._parked or not assignment.lines:
            return
        for message in messages:
            shard = self._shard(message)
            if shard is not None and shard in self._parked:
                self._parked.discard(shard)
                self._flow(shard)

    def put_back(self, messages: Iterable[Message]) -> None:
        """Take back, in order, messages that `take` gave and nobody ran: before everything later of their shards."""
        for message in reversed(list(messages)):
            line = self._line(message)
            if line is None:
                self.ready.appendleft(message)
            else:
                self.waiting += 1
                line.appendleft(message)

    def take(self, count: int) -> list[Message]:
        """Set aside what belongs to parked and crowded shards, in the order of `ready`: later in it is younger."""
        if not (self._parked or self._flowing or self._crowds):
            return super().take(count)
        taken = [self.due.popleft() for _ in range(min(count, len(self.due)))]
        for shard in list(self._flowing):
            taken += self._from_line(shard, count - len(taken))
        while self.ready and len(taken) < count:
            message = self.ready.popleft()
            line = self._line(message)
            if line is None:
                taken.append(message)
            else:
                self.waiting += 1
                line.append(message)
        return taken

    def drop(self, assignment: PartitionOffsets) -> list[Message]:
        """Forget what waits of a partition that is given up, and return it."""
        self._parked = {shard for shard in self._parked if shard[0] is not assignment}
        self._flowing = {shard: None for shard in self._flowing if shard[0] is not assignment}
        return super().drop(assignment)

    def _from_line(self, shard: _Shard, count: int) -> list[Message]:
        line = self._line_of(shard)
        taken = [line.popleft() for _ in range(min(count, len(line), self._room(shard)))]
        self.waiting -= len(taken)
        if not line:
            self._flow(shard)
        return taken

    def _flow(self, shard: _Shard) -> None:
        """Let a line run, or end it when nobody stands in it."""
        assignment, key = shard
        if self._line_of(shard):
            self._flowing[shard] = None
        else:
            self._flowing.pop(shard, None)
            del assignment.lines[key]

    def _room(self, shard: _Shard) -> int:
        line = self._line_of(shard)
        return max(self._crowds.room(line[0]), 0) if line else 0

    def _line(self, message: Message) -> deque[Message] | None:
        """Return the line in which a message has to stand, None when it may run."""
        shard = self._shard(message)
        if shard is None:
            return None
        assignment, key = shard
        line = assignment.lines.get(key)
        if line is None and self._crowds and self._crowds.room(message) <= 0:
            line = assignment.lines[key] = deque()
            self._flowing[shard] = None
        return line

    def _line_of(self, shard: _Shard) -> deque[Message]:
        assignment, key = shard
        line = assignment.lines[key]
        assert line is not None  # noqa: S101 - only `Lines` has shards without a line
        return line

    def _shard(self, message: Message) -> _Shard | None:
        key = message.key if self._by_key else _WHOLE_PARTITION
        return None if key is None or message.assignment is None else (message.assignment, key)
