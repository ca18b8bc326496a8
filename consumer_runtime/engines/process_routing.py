"""Which worker runs which shard: the same while anything of the shard is under way, so that order needs no round trip.

Shards are folded into a fixed number of slots, so that the state neither grows nor allocates per message. A slot stays
with its lane until an idle lane takes it over or its lane retires; only slots with nothing in a worker's pipe move. Not
here: pipes and processes (`process_lane`).
"""

import operator
from collections import Counter, deque
from collections.abc import Callable, Iterable

from consumer_runtime.contract.settings import Ordering
from consumer_runtime.engines.process_lane import Lane
from consumer_runtime.engines.process_worker import Shard
from consumer_runtime.message import Message

_SLOTS = 4_096
_MASK = _SLOTS - 1
_NO_SLOT = -1
_UNLIMITED = 1 << 30


def shard_of(ordering: Ordering) -> Callable[[Message], Shard]:
    """Return what tells a message's shard; None is no shard.

    A key is one shard over all topics and partitions: a failure then hands back a few messages too many, no harm.
    """
    if ordering is Ordering.KEY:
        return operator.attrgetter("key")
    if ordering is Ordering.PARTITION:
        return operator.attrgetter("topic", "partition")
    return lambda _: None


class Routing:
    """The table of slots, and how many messages of each are with the engine."""

    def __init__(self, ordering: Ordering) -> None:
        self._shard = shard_of(ordering)
        self._lane: list[Lane | None] = [None] * _SLOTS
        self._count = [0] * _SLOTS
        self._open: list[Lane] = []
        self._turn = 0
        self._limit = _UNLIMITED
        self._crowded: set[int] = set()
        """Slots that came to the limit, and are more than half full."""

    def __bool__(self) -> bool:
        """Return whether there is a crowd (`ledger.shards.Crowds`)."""
        return bool(self._crowded)

    def room(self, message: Message) -> int:
        """Return how many more messages of this one's slot may come."""
        slot = self._slot(message)
        if slot == _NO_SLOT:
            return _UNLIMITED
        return 0 if slot in self._crowded else self._limit - self._count[slot]

    def limit(self, messages: int) -> None:
        """Let each slot hold so many messages at most, so that a hot key does not keep the others out."""
        self._limit = max(messages, 1)
        self._crowded.clear()

    def open(self, lanes: list[Lane]) -> None:
        """Begin a new epoch: from now on slots go to these lanes. Those of other lanes stay until `move_away`."""
        self._open = lanes

    def route(self, messages: list[Message]) -> list[Message]:
        """Put messages before lanes, in order; return those that are too many of their slot, in order.

        Retries always find room: they are one of a shard.
        """
        lanes, count, limit = self._lane, self._count, self._limit
        too_many: list[Message] = []
        for message, shard in zip(messages, map(self._shard, messages), strict=True):
            if shard is None:
                lane = self._next()
            else:
                slot = hash(shard) & _MASK
                held = count[slot]
                if held >= limit and message.attempt == 1:
                    self._crowded.add(slot)
                    too_many.append(message)
                    continue
                settled = lanes[slot]
                lane = self._settle(slot) if settled is None or settled.is_retiring else settled
                count[slot] = held + 1
            lane.pending.append(message)
        return too_many

    def leave(self, messages: Iterable[Message]) -> None:
        """Take notice that messages are with the engine no more."""
        count = self._count
        for shard in map(self._shard, messages):
            if shard is not None:
                count[hash(shard) & _MASK] -= 1
        if self._crowded:
            self._crowded = {slot for slot in self._crowded if 2 * count[slot] > self._limit}

    def relieve(self, busy: Lane, idle: Lane) -> bool:
        """Move half of what waits before one lane to another; return whether anything could move."""
        moved = self._split(busy, (len(busy.pending) + 1) // 2)
        for message in moved:
            self._move(message, idle)
        return bool(moved)

    def move_away(self, retiring: Lane) -> None:
        """Move what waits before a retiring lane, but for slots in its worker's pipe; those follow when it is empty."""
        for message in self._split(retiring, len(retiring.pending)):
            slot = self._slot(message)
            settled = None if slot == _NO_SLOT else self._lane[slot]
            self._move(message, settled if settled is not None and not settled.is_retiring else self._next())

    def _split(self, lane: Lane, wanted: int) -> list[Message]:
        """Take out about `wanted` messages: all of a slot or none, and no slot of which the pipe has something."""
        moving = self._choose(lane, wanted)
        moved: list[Message] = []
        kept: deque[Message] = deque()
        for message in lane.pending:
            slot = self._slot(message)
            if slot in moving or (slot == _NO_SLOT and len(moved) < wanted):
                moved.append(message)
            else:
                kept.append(message)
        lane.pending = kept
        return moved

    def _choose(self, lane: Lane, wanted: int) -> set[int]:
        running = {self._slot(message) for message in lane.pipe if message is not None}
        waiting = Counter(map(self._slot, lane.pending))
        moving: set[int] = set()
        for slot, count in waiting.items():
            if wanted <= 0:
                break
            if slot != _NO_SLOT and slot not in running:
                moving.add(slot)
                wanted -= count
        return moving

    def _move(self, message: Message, lane: Lane) -> None:
        slot = self._slot(message)
        if slot != _NO_SLOT:
            self._lane[slot] = lane
        lane.pending.append(message)

    def _settle(self, slot: int) -> Lane:
        """Return the lane of a slot that has none, or a retiring one: that keeps it while something is under way."""
        settled = self._lane[slot]
        if settled is not None and self._count[slot]:
            return settled
        lane = self._lane[slot] = self._next()
        return lane

    def _next(self) -> Lane:
        self._turn = (self._turn + 1) % len(self._open)
        return self._open[self._turn]

    def _slot(self, message: Message) -> int:
        shard = self._shard(message)
        return _NO_SLOT if shard is None else hash(shard) & _MASK
