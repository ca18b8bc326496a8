"""Everything may run at once, for engines that keep order themselves; but for shards that wait for a retry.

Pure. Not here: engines that keep no order (`lines`).
"""

from collections import deque
from collections.abc import Iterable

from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.ledger.shards import WHOLE_PARTITION, Crowds, Shards
from consumer_runtime.message import Message

_Shard = tuple[PartitionOffsets, bytes]


class NoCrowds:
    """Of an engine that takes however many of a shard."""

    def __bool__(self) -> bool:
        """There is none."""
        return False

    def room(self, message: Message) -> int:  # noqa: ARG002 - the port's shape
        """Return many."""
        return 1 << 30


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
        key = message.key if self._by_key else WHOLE_PARTITION
        return None if key is None or message.assignment is None else (message.assignment, key)
