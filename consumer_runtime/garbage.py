"""How often Python looks for cycles: it would otherwise walk through every batch of messages for nothing.

Messages and their completions make no cycles, yet each is an object that the collector counts and walks. Not here:
whether it runs at all; a program that set its own threshold, or none, keeps it.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG_OBJECTS = 10_000
"""New objects before the youngest generation is looked through. Python's 700 cost 24 % of a message in mode single and
17 % in async; beyond 10,000 nothing more was won, and cycles that a handler leaves would live longer."""
_DEFAULTS = (700, 2_000)
"""Of Python up to 3.13, and of 3.14."""


@contextmanager
def collected_in_larger_steps() -> Iterator[None]:
    """Raise the youngest generation's threshold from Python's default, for as long as this lasts."""
    before = gc.get_threshold()
    if before[0] in _DEFAULTS:
        gc.set_threshold(YOUNG_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
