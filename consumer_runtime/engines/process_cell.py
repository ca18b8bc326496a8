"""Where a worker process is, in memory that it shares with the control process: readable even after it died.

The worker writes two or three numbers per message and makes no system call; the parent reads them when it looks for
overdue calls or takes stock of a dead worker. Not here: what follows from it (`process_lane`).
"""

import mmap
import os
from typing import NamedTuple

_BYTES = mmap.PAGESIZE
_POSITION, _STARTED_AT, _WIDTH = range(3)


class Progress(NamedTuple):
    """What a worker does, or did when it died. Messages count from 0, in the order in which they were sent to it."""

    position: int
    """Messages before this one are behind it: run, or passed over."""
    running: int
    """How many it runs in one call from `index` on; 0 when it is between calls."""
    started_at: float
    """`time.monotonic()` of the call's start; the clock is the machine's, so both processes read the same."""


class Cell:
    """One page of shared memory with one writer: position (twice the index, plus 1 while a call runs), start, width.

    Each number is written by one aligned eight-byte store, the position last: a reader may see an older position with
    a newer start, which only makes a call look younger.
    """

    def __init__(self, descriptor: int) -> None:
        """Map the page behind a descriptor of `create`; the descriptor may be closed afterwards."""
        self._map = mmap.mmap(descriptor, _BYTES)
        self.numbers = memoryview(self._map).cast("Q")
        self.times = memoryview(self._map).cast("d")

    @staticmethod
    def create() -> int:
        """Return a descriptor of a new page of zeros, which no child inherits unless told so."""
        descriptor = os.memfd_create("progress", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _BYTES)
        return descriptor

    def begin(self, index: int, started_at: float, width: int = 1) -> None:
        """Say that a call with `width` messages from `index` on has begun."""
        self.times[_STARTED_AT] = started_at
        self.numbers[_WIDTH] = width
        self.numbers[_POSITION] = 2 * index + 1

    def rest(self, index: int) -> None:
        """Say that no call runs, and everything before `index` is behind."""
        self.numbers[_POSITION] = 2 * index

    def read(self) -> Progress:
        """Return where the worker is."""
        position = self.numbers[_POSITION]
        return Progress(position >> 1, self.numbers[_WIDTH] if position & 1 else 0, self.times[_STARTED_AT])

    def close(self) -> None:
        """Give the page back."""
        self.numbers.release()
        self.times.release()
        self._map.close()
