"""Fetching in step with the work: when to poll for how much, and which partitions to pause.

Pausing throws the client's prefetch away, so it is the last resort: a full window is first left unpolled for a moment.
Not here: the limits themselves (`ledger.window`).
"""

from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.ledger.window import Load, Window
from consumer_runtime.sources.source import Source
from consumer_runtime.statistics import Statistics

_PATIENCE_SECONDS = 0.5
"""How long a full window is waited for without any poll, far below any max.poll.interval.

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
        self._is_full = False
        self._is_at_ceiling = False
        self._unpolled_since: float | None = None
        self._looked_at = self._polled_at = 0.0

    @property
    def is_active(self) -> bool:
        """Whether any partition is paused for it."""
        return bool(self._paused)

    def ask_for(self, now: float, load: Load, *, in_flight: int, is_saturated: bool) -> int:
        """Return how many messages to poll for now; 0 is for no poll.

        `is_saturated` says that the engine has all it may have: then there is no hurry to fetch what other partitions
        have, otherwise a window full of blocked keys must not hide them. An engine that has enough to do with fewer
        than the limit needs no more look-ahead than one that reaches it.
        """
        spare = max(self.window.max_in_flight - in_flight, 0) if is_saturated else 0
        self._note_fullness(load._replace(held=load.held + spare))
        if not self._should_poll(now, load, is_saturated=is_saturated):
            return 0
        self._polled_at = now
        return self.window.poll_batch_size

    def _should_poll(self, now: float, load: Load, *, is_saturated: bool) -> bool:
        if not self._is_full:
            self._unpolled_since = None
            if now - self._looked_at >= _LOOK_SECONDS:
                self._look(now, everything=False, bytes_full=False)
            return True
        if not is_saturated:
            return self._should_look_beyond(now, load)
        if self._is_patient(now) or now - self._polled_at < _LOOK_SECONDS:
            return False
        self._look(now, everything=True, bytes_full=False)
        return True

    def _should_look_beyond(self, now: float, load: Load) -> bool:
        """Fetch for the sake of idle keys: the window is full of busy ones, and the engine could do more."""
        bytes_full = load.held_bytes >= self.window.max_bytes
        self._note_ceiling(load.held, bytes_full=bytes_full)
        if self._paused or not self._is_at_ceiling:
            self._unpolled_since = None
        if not self._paused:
            if not self._is_at_ceiling:
                return True
            if self._is_patient(now):
                return False
        # One poll may take a partition beyond its share, so look before each.
        self._look(now, everything=False, bytes_full=bytes_full)
        everything_is_paused = len(self._paused) >= len(self._source.assignments)
        return not everything_is_paused or now - self._polled_at >= _LOOK_SECONDS

    def assigned(self, assignments: list[PartitionOffsets]) -> None:
        """Pause partitions that come while the others are paused for lack of room."""
        if self._paused and self._is_full:
            self._pause(assignments)

    def dropped(self, assignments: list[PartitionOffsets]) -> None:
        """Forget partitions that are gone."""
        for each in assignments:
            self._paused.pop(each, None)

    def pause_all(self) -> None:
        """Fetch nothing more: the runtime is going down."""
        self._is_full = True
        self._pause(list(self._source.assignments.values()))

    def _is_patient(self, now: float) -> bool:
        """Whether to wait a little more: work that drains soon is not worth a pause."""
        if self._unpolled_since is None:
            self._unpolled_since = now
        return now - self._unpolled_since < _PATIENCE_SECONDS

    def _note_fullness(self, load: Load) -> None:
        if not self._is_full:
            self._is_full = self.window.is_full(load.held, load.held_bytes)
        elif self.window.has_room_again(*load):
            self._is_full = False
            self._looked_at = 0.0

    def _note_ceiling(self, held: int, *, bytes_full: bool) -> None:
        if held >= self.window.ceiling or bytes_full:
            self._is_at_ceiling = True
        elif held <= (self.window.high + self.window.ceiling) // 2:
            self._is_at_ceiling = False

    def _look(self, now: float, *, everything: bool, bytes_full: bool) -> None:
        """Pause what holds more than its share of a full window, or has no room for its offset map; resume the rest."""
        self._looked_at = now
        assignments = list(self._source.assignments.values())
        share = self.window.share(len(assignments))
        to_pause, to_resume = [], []
        for each in assignments:
            is_paused = each in self._paused
            limit = share // 2 if is_paused else share
            too_much = self._is_full and (everything or bytes_full or each.held >= limit)
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
