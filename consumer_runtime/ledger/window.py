"""How much may be in memory: the admission of messages, by count and by bytes, with hysteresis.

Pure. *In flight* is what the engine has, at most `max_in_flight`. Beyond it a bounded look-ahead is kept in memory, so
that a busy key does not hide the messages of other keys behind its own. Not here: pausing itself (`sources`), order
(`shards`).
"""

from dataclasses import dataclass

LOOK_AHEAD = 4
"""Messages in memory for each one in flight; how far admission looks past busy keys."""
LOOK_AHEAD_AT_LEAST = 2_000
CEILING_AT_LEAST = 20_000
"""The client hands out a whole fetch of one partition before the next: some thousands of messages of few keys."""
_POLLS_AHEAD = 4


@dataclass(slots=True)
class Window:
    """The limits in force, and the two marks of the hysteresis. All are soft: one poll may overshoot them."""

    max_in_flight: int
    max_bytes: int
    poll_batch_size: int

    @property
    def high(self) -> int:
        """Messages in memory from which on nothing more is fetched."""
        ahead = max((LOOK_AHEAD - 1) * self.max_in_flight, LOOK_AHEAD_AT_LEAST, _POLLS_AHEAD * self.poll_batch_size)
        return self.max_in_flight + ahead

    @property
    def ceiling(self) -> int:
        """Messages in memory up to which busy keys are looked past before any partition is paused for them."""
        return max(2 * self.high, CEILING_AT_LEAST)

    @property
    def low(self) -> int:
        """Messages in memory below which fetching begins again."""
        return self.high // 2

    def is_full(self, held: int, held_bytes: int) -> bool:
        """Return whether fetching should end."""
        return held >= self.high or held_bytes >= self.max_bytes

    def has_room_again(self, held: int, held_bytes: int) -> bool:
        """Return whether fetching should begin again."""
        return held <= self.low and held_bytes <= self.max_bytes // 2

    def share(self, partitions: int) -> int:
        """Return what each of so many partitions may always hold, full window or not: a blocked one starves none."""
        return max(self.ceiling // max(partitions, 1), 1)
