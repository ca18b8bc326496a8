"""How much may be in memory: the admission of messages, by count and by bytes, with hysteresis.

Pure. *In flight* is what the engine has, at most `max_in_flight`. Beyond it a bounded look-ahead is kept in memory, so
that a busy key does not hide the messages of other keys behind its own. Not here: pausing itself (`sources`), order
(`shards`).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

LOOK_AHEAD = 4
"""Messages in memory for each one in flight; how far admission looks past busy keys."""
LOOK_AHEAD_AT_LEAST = 2_000
LOOK_AHEAD_AT_MOST = 4_000
"""Unless polls are larger. More is not needed: while busy keys leave the engine idle, `ceiling` is what bounds memory.
Without it 20,000 calls in flight held 60,000 messages more: 1.4 KB for each call, and more than a cache holds."""
CEILING_AT_LEAST = 20_000
"""The client hands out a whole fetch of one partition before the next: some thousands of messages of few keys."""
_POLLS_AHEAD = 4


class Load(NamedTuple):
    """What fills a window."""

    held: int
    """Messages."""
    held_bytes: int
    waiting_bytes: int
    """Those of them that wait for a retry, and do not drain while the others do."""


@dataclass(frozen=True)
class Window:
    """The limits in force, and the two marks of the hysteresis. All are soft: one poll may overshoot them.

    Asked several times in each turn of the control loop, so marks are computed once.
    """

    max_in_flight: int
    max_bytes: int
    poll_batch_size: int

    @cached_property
    def high(self) -> int:
        """Messages in memory from which on nothing more is fetched."""
        return self.max_in_flight + self._ahead

    @cached_property
    def ceiling(self) -> int:
        """Messages in memory up to which busy keys are looked past before any partition is paused for them."""
        return max(2 * self.high, CEILING_AT_LEAST)

    @cached_property
    def low(self) -> int:
        """Messages in memory below which fetching begins again."""
        return self.max_in_flight + self._ahead // 2

    @cached_property
    def _ahead(self) -> int:
        ahead = min((LOOK_AHEAD - 1) * self.max_in_flight, LOOK_AHEAD_AT_MOST)
        return max(ahead, LOOK_AHEAD_AT_LEAST, _POLLS_AHEAD * self.poll_batch_size)

    def is_full(self, held: int, held_bytes: int) -> bool:
        """Return whether fetching should end."""
        return held >= self.high or held_bytes >= self.max_bytes

    def has_room_again(self, held: int, held_bytes: int, waiting_bytes: int = 0) -> bool:
        """Return whether fetching should begin again: half of the bytes have drained that can.

        `waiting_bytes` of them wait for a retry. Held against half of the whole, 50,000 of 3 KB that wait for an hour
        kept a window closed for that hour that was once full.
        """
        room = self.max_bytes - waiting_bytes
        return held <= self.low and room > 0 and held_bytes - waiting_bytes <= room // 2

    def share(self, partitions: int) -> int:
        """Return what each of so many partitions may always hold, full window or not: a blocked one starves none."""
        return max(self.ceiling // max(partitions, 1), 1)
