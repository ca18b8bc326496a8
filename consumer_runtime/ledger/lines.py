"""One message of a shard at a time, for engines that keep no order themselves; those behind it stand in line.

Pure. Not here: engines that keep order (`parked`).
"""

from collections import deque
from collections.abc import Iterable

from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.ledger.shards import WHOLE_PARTITION, Shards
from consumer_runtime.message import Message


class Lines(Shards):
    """Releases the next message of a shard when the one before it is finished.

    A message may take some of its line with it, as a chain: those behind it count as waiting until they begin, and the
    shard is busy until the last one is finished.

    Order holds over assignments, too: a partition that comes back while a message of it still runs, because it
    outlasted the grace of its revoke, begins with that message's shard busy. The old attempt may still write.
    """

    def __init__(self, *, by_key: bool) -> None:
        super().__init__()
        self.by_key = by_key
        self._following = 0
        """Members of chains that have not begun."""
        self._lingering: dict[tuple[str, int], set[bytes]] = {}
        """Shards of abandoned partitions whose message runs."""

    def arrive(self, assignment: PartitionOffsets, messages: list[Message]) -> None:
        """Idle shards may run and are busy from now on; others stand in line."""
        if self._lingering:
            for busy in self._lingering.get((assignment.topic, assignment.partition), ()):
                assignment.lines.setdefault(busy, None)
        lines, ready, by_key = assignment.lines, self.ready, self.by_key
        for message in messages:
            shard = message.key if by_key else WHOLE_PARTITION
            if shard is None:
                ready.append(message)
            elif shard not in lines:
                lines[shard] = None
                ready.append(message)
            elif line := lines[shard]:
                line.append(message)
                self.waiting += 1
            else:
                lines[shard] = deque((message,))
                self.waiting += 1

    def release(self, assignment: PartitionOffsets, messages: list[Message]) -> None:
        """The next in line is older than what is ready, and nearer to the watermark: it goes first."""
        lines, ready, by_key = assignment.lines, self.ready, self.by_key
        for message in messages:
            shard = message.key if by_key else WHOLE_PARTITION
            if shard is None:
                continue
            if message.follower is not None:
                message.follower = None
                continue
            line = lines.get(shard)
            if line:
                self.waiting -= 1
                ready.appendleft(line.popleft())
            else:
                lines.pop(shard, None)

    def follow(self, messages: list[Message], *, room: int, each: int) -> None:
        """Let the first chains have more, rather than all of them some: the first messages are the oldest."""
        spare = min(room - len(messages) - self._following, self.waiting - self._following)
        each = min(each, max(spare // len(messages), 1))
        for message in messages:
            if spare <= 0 or each <= 0:
                return
            chained = self._chain(message, min(each, spare))
            spare -= chained
            self._following += chained

    def _chain(self, message: Message, count: int) -> int:
        shard = self._shard(message)
        if shard is None or message.assignment is None:
            return 0
        line = message.assignment.lines.get(shard) or deque()
        chained = min(count, len(line))
        for _ in range(chained):
            message.follower = line.popleft()
            message = message.follower
        return chained

    def followed(self, count: int) -> None:
        """They wait no more, or stand in line again (`put_back`)."""
        self._following -= count
        self.waiting -= count

    def put_back(self, messages: Iterable[Message]) -> None:
        """Take back those behind a message that failed: to the head of their line, in order."""
        for message in reversed(list(messages)):
            shard = self._shard(message)
            if shard is None or message.assignment is None:
                self.ready.appendleft(message)
                continue
            lines = message.assignment.lines
            line = lines.get(shard)
            if line is None:
                line = lines[shard] = deque()
            line.appendleft(message)
            self.waiting += 1

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
        if message.follower is not None:
            message.follower = None
            return
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
        return message.key if self.by_key else WHOLE_PARTITION
