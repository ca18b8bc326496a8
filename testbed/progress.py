"""Telling a person what is being done, for how long, and how much is left. It prints; it decides nothing.

On a terminal a line that moves, elsewhere a plain line when a step begins, every 15 s, and when it ends.
"""

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status

PLAIN_INTERVAL_SECONDS = 15.0
TERMINAL_INTERVAL_SECONDS = 0.5


class Progress:
    """Reports steps one after the other. Expected durations make the remaining time; it is an estimate and says so."""

    def __init__(self, *, console: Console | None = None, expected_seconds: Mapping[str, float] | None = None) -> None:
        self._console = console or Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._expected = dict(expected_seconds or {})

    def plan(self, expected_seconds: Mapping[str, float]) -> None:
        """Announce long steps and their expected durations, in seconds, before the first of them begins."""
        self._expected.update(expected_seconds)
        if self._expected:
            names = ", ".join(self._expected)
            self._console.print(f"To build: {names}; about {in_words(sum(self._expected.values()))}.")

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Report everything inside as one step."""
        begun = time.monotonic()
        ended = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(name, begun, ended), daemon=True)
        ticker.start()
        outcome = "failed"
        try:
            yield
            outcome = "done"
        finally:
            ended.set()
            ticker.join()
            self._expected.pop(name, None)
            self._console.print(f"{name}: {outcome} in {time.monotonic() - begun:.1f} s")

    def line(self, text: str) -> None:
        """Say one thing that has no duration."""
        self._console.print(text)

    def remaining(self, name: str, elapsed_seconds: float) -> str:
        """The estimate for this step and all that were planned after it; empty when nothing was planned."""
        if name not in self._expected:
            return ""
        later = sum(seconds for other, seconds in self._expected.items() if other != name)
        own = self._expected[name] - elapsed_seconds
        if own > 0:
            return f", about {in_words(own + later)} left"
        return f", longer than the expected {in_words(self._expected[name])}; after it about {in_words(later)}"

    def _tick(self, name: str, begun: float, ended: threading.Event) -> None:
        if self._console.is_terminal:
            with self._console.status(name) as status:
                while not ended.wait(TERMINAL_INTERVAL_SECONDS):
                    self._show(status, name, time.monotonic() - begun)
            return
        if name in self._expected:
            self._console.print(f"{name}: begins{self.remaining(name, 0.0)}")
        while not ended.wait(PLAIN_INTERVAL_SECONDS):
            elapsed = time.monotonic() - begun
            self._console.print(f"{name}: {elapsed:.0f} s{self.remaining(name, elapsed)}")

    def _show(self, status: Status, name: str, elapsed: float) -> None:
        status.update(f"{name}: {elapsed:.0f} s{self.remaining(name, elapsed)}")


def in_words(seconds: float) -> str:
    """A duration as a person says it: seconds up to two minutes, then minutes."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
