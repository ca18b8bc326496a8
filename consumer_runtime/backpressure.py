"""Fetching in step with the work: when to poll for how much, and which partitions to pause.

Pausing throws the client's prefetch away, so it is the last resort: a full window is first left unpolled for a moment.
Not here: the limits themselves (`ledger.window`).
"""

from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.ledger.window import Window
from consumer_runtime.sources.source import Source
from consumer_runtime.statistics import Statistics

_PATIENCE_SECONDS = 0.5
"""How long a full window is waited for without a poll, far below any max.poll.interval.

Work that drains half a window sooner is never paused for; slower work has that long left when it is resumed. Measured:
messages come again 450 ms after all partitions are resumed, and after one of them is, `fetch.wait.max.ms`.
"""
_LOOK_SECONDS = 0.1
"""How often pauses are reconsidered, and the client is polled while everything is paused."""


class Backpressure:
    """Owns which partitions are paused."""

    def __init__(self, source: Source, statistics: Statistics, window: Window) -> None:
        self.window = window
        self._source = source
        self._statistics = statistics
        self._paused: dict[PartitionOffsets, None] = {}
        self._full_since: float | None = None
        self._looked_at = 0.0

    @property
    def is_active(self) -> bool:
        """Whether any partition is paused for it."""
        return bool(self._paused)

    def ask_for(self, now: float, *, held: int, held_bytes: int, is_saturated: bool) -> int:
        """Return how many messages to poll for now; 0 is for no poll.

        `is_saturated` says that the engine has all it may have: then there is no hurry to fetch what other partitions
        have, otherwise a window full of blocked keys must not hide them.
        """
        self._note_fullness(now, held, held_bytes)
        due = now - self._looked_at >= _LOOK_SECONDS
        if self._full_since is None:
            if due:
                self._look(now, everything=False, bytes_full=False)
            return self.window.poll_batch_size
        if is_saturated:
            if not due or now - self._full_since < _PATIENCE_SECONDS:
                return 0
            self._look(now, everything=True, bytes_full=False)
            return self.window.poll_batch_size
        return self._look_beyond(now, held, held_bytes, due=due)

    def _look_beyond(self, now: float, held: int, held_bytes: int, *, due: bool) -> int:
        """Fetch for the sake of idle keys: the window is full of busy ones, and the engine could do more."""
        bytes_full = held_bytes >= self.window.max_bytes
        if not self._paused:
            if held < self.window.ceiling and not bytes_full:
                return self.window.poll_batch_size
            if self._full_since is not None and now - self._full_since < _PATIENCE_SECONDS:
                return 0
        # One poll may take a partition beyond its share, so look before each.
        self._look(now, everything=False, bytes_full=bytes_full)
        everything_is_paused = len(self._paused) >= len(self._source.assignments)
        return self.window.poll_batch_size if due or not everything_is_paused else 0

    def assigned(self, assignments: list[PartitionOffsets]) -> None:
        """Pause partitions that come while the others are paused for lack of room."""
        if self._paused and self._full_since is not None:
            self._pause(assignments)

    def dropped(self, assignments: list[PartitionOffsets]) -> None:
        """Forget partitions that are gone."""
        for each in assignments:
            self._paused.pop(each, None)

    def pause_all(self) -> None:
        """Fetch nothing more: the runtime is going down."""
        self._full_since = 0.0
        self._pause(list(self._source.assignments.values()))

    def _note_fullness(self, now: float, held: int, held_bytes: int) -> None:
        if self._full_since is None:
            if self.window.is_full(held, held_bytes):
                self._full_since = now
        elif self.window.has_room_again(held, held_bytes):
            self._full_since = None
            self._looked_at = 0.0

    def _look(self, now: float, *, everything: bool, bytes_full: bool) -> None:
        """Pause what holds more than its share of a full window, or has no room for its offset map; resume the rest."""
        self._looked_at = now
        assignments = list(self._source.assignments.values())
        share = self.window.share(len(assignments))
        is_full = self._full_since is not None
        to_pause, to_resume = [], []
        for each in assignments:
            is_paused = each in self._paused
            limit = share // 2 if is_paused else share
            too_much = is_full and (everything or bytes_full or each.held >= limit)
            should_pause = too_much or self._source.is_narrow(each)
            if should_pause and not is_paused:
                to_pause.append(each)
            elif is_paused and not should_pause:
                to_resume.append(each)
        self._pause(to_pause)
        self._resume(to_resume)

    def _pause(self, assignments: list[PartitionOffsets]) -> None:
        if assignments:
            self._source.pause(assignments)
            self._paused.update(dict.fromkeys(assignments))
            self._statistics.pauses += 1

    def _resume(self, assignments: list[PartitionOffsets]) -> None:
        if assignments:
            self._source.resume(assignments)
            for each in assignments:
                self._paused.pop(each, None)
