"""How long the handler's calls take of late, and what follows for how threads and messages take turns.

Not here: the calls (`async_`).
"""

import sys

CHAIN_SECONDS_AT_MOST = 0.005
"""Of work: what is handed over is out of reach of the control loop. Longer calls gain nothing from chains, since a way
back and forth takes some 0.1 ms."""
WAITING_SECONDS = 0.0003
"""A call that takes longer on average waits for something, and its timer or socket should be seen to soon."""
SHORT_TURN_SECONDS = 0.0002
"""A thread that asks for the interpreter gets it from another after this, instead of Python's 5 ms.

Measured on two noisy cores, each beside a run with 5 ms: calls of 0.5 ms 0.98, 1.16, 1.27 and 1.44 times as many a
second, of 5 ms by key 0.98, 1.26, 1.32 and 1.37; no-ops 0.90 and 0.91, so they keep the 5 ms. With 0.02 ms the
switching itself took more than it brought."""
_PYTHONS_TURN_SECONDS = 0.005
_SMOOTHING = 0.3
_SHORTEST_CALL_SECONDS = 1e-6


class Pace:
    """Follows the calls of one engine. A program that chose a switch interval itself keeps it."""

    def __init__(self) -> None:
        self._call_seconds = 1.0
        self._summed_seconds = 0.0
        """Of all calls, when that was last looked at."""
        self._is_ours = False

    @property
    def follows(self) -> int:
        """Return how many calls, as they went of late, are short enough together for a chain."""
        return int(CHAIN_SECONDS_AT_MOST / max(self._call_seconds, _SHORTEST_CALL_SECONDS))

    def took(self, calls: int, summed_seconds: float) -> None:
        """Learn of more calls, and of the sum over all since the start."""
        latest = (summed_seconds - self._summed_seconds) / calls
        self._call_seconds += _SMOOTHING * (latest - self._call_seconds)
        self._summed_seconds = summed_seconds

    def take_turns(self) -> None:
        """Have threads take short turns while calls wait, and long ones while they do not."""
        is_short = self._call_seconds > WAITING_SECONDS
        if is_short and not self._is_ours and sys.getswitchinterval() == _PYTHONS_TURN_SECONDS:
            sys.setswitchinterval(SHORT_TURN_SECONDS)
            self._is_ours = True
        elif not is_short:
            self.end()

    def end(self) -> None:
        """Leave the turns as they were found."""
        if self._is_ours:
            sys.setswitchinterval(_PYTHONS_TURN_SECONDS)
            self._is_ours = False
