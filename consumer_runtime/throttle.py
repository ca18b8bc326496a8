"""How many more messages may be handed out now: a rate limit and a circuit breaker. Pure; `now` enters as a value.

The rate limit is a token bucket of a tenth of a second's messages. The breaker (M. Nygard, "Release It!", 2007: closed,
open, half-open) stops handing out when most attempts fail, as when a database is away, so that retries are not used up
on what cannot work. Not here: what a failure means for its own message (`settle`).
"""

from collections import deque
from collections.abc import Sequence
from enum import StrEnum

from consumer_runtime.contract.settings import CircuitBreakerSettings
from consumer_runtime.engines.engine import Failure, FailureKind

UNLIMITED = 1 << 30
_BURST_SECONDS = 0.1
_DOWNSTREAM = (FailureKind.ERROR, FailureKind.TIMEOUT, FailureKind.WORKER_LOST)
"""What may mean that something behind the handler is away; Reject and RetryAfter are the handler's own judgement."""


class Circuit(StrEnum):
    """Where the breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    """One message is tried; it decides."""


class RateLimit:
    """A token bucket. Times are `time.monotonic()` seconds."""

    def __init__(self, per_second: int, now: float) -> None:
        """Begin with a full bucket; 0 per second is no limit."""
        self.per_second = per_second
        self._burst = max(per_second * _BURST_SECONDS, 1.0)
        self._tokens = self._burst
        self._filled_at = now

    def room(self, now: float) -> int:
        """Return how many messages may go now."""
        if not self.per_second:
            return UNLIMITED
        self._tokens = min(self._tokens + (now - self._filled_at) * self.per_second, self._burst)
        self._filled_at = now
        return int(self._tokens)

    def taken(self, messages: int) -> None:
        """Count messages that went."""
        self._tokens -= messages


class Breaker:
    """Opens when at least `failure_percent` of the last `window_attempts` failed."""

    def __init__(self, settings: CircuitBreakerSettings) -> None:
        self.circuit = Circuit.CLOSED
        self._settings = settings
        self._outcomes: deque[bool] = deque(maxlen=settings.window_attempts)
        self._open_until = 0.0
        self._is_probing = False

    def room(self, now: float) -> int:
        """Return how many messages may go now."""
        if self.circuit is Circuit.OPEN and now >= self._open_until:
            self.circuit, self._is_probing = Circuit.HALF_OPEN, False
        if self.circuit is Circuit.HALF_OPEN:
            return 0 if self._is_probing else 1
        return UNLIMITED if self.circuit is Circuit.CLOSED else 0

    def taken(self) -> None:
        """Take note that messages went."""
        self._is_probing = True

    def observe(self, *, succeeded: int, failed: int, now: float) -> None:
        """Count finished attempts. Those that were under way when it opened do not decide a probe before it is made."""
        if self.circuit is Circuit.OPEN:
            return
        if self.circuit is Circuit.HALF_OPEN:
            if self._is_probing and (succeeded or failed):
                self._decide(closed=not failed, now=now)
            return
        self._outcomes.extend([True] * min(succeeded, self._settings.window_attempts))
        self._outcomes.extend([False] * min(failed, self._settings.window_attempts))
        failures = self._outcomes.count(False)
        enough = len(self._outcomes) == self._settings.window_attempts
        if enough and 100 * failures >= self._settings.failure_percent * len(self._outcomes):
            self._decide(closed=False, now=now)

    def _decide(self, *, closed: bool, now: float) -> None:
        self._outcomes.clear()
        self.circuit = Circuit.CLOSED if closed else Circuit.OPEN
        self._open_until = now + self._settings.open_ms / 1_000


class Throttle:
    """Rate limit and breaker together."""

    def __init__(self, *, per_second: int, breaker: CircuitBreakerSettings | None, now: float) -> None:
        self._rate = RateLimit(per_second, now)
        self._breaker = Breaker(breaker) if breaker is not None else None

    @property
    def is_idle(self) -> bool:
        """Whether there is neither a limit nor a breaker: then nothing needs to be counted."""
        return not self._rate.per_second and self._breaker is None

    @property
    def circuit(self) -> Circuit:
        """Where the breaker stands; closed without one."""
        return self._breaker.circuit if self._breaker is not None else Circuit.CLOSED

    def limit(self, per_second: int, now: float) -> None:
        """Take a new rate limit; the breaker keeps its memory."""
        if per_second != self._rate.per_second:
            self._rate = RateLimit(per_second, now)

    def room(self, now: float) -> int:
        """Return how many messages may go now."""
        room = self._rate.room(now)
        return min(room, self._breaker.room(now)) if self._breaker is not None else room

    def taken(self, messages: int) -> None:
        """Count messages that went."""
        self._rate.taken(messages)
        if self._breaker is not None and messages:
            self._breaker.taken()

    def observe(self, *, succeeded: int, failures: Sequence[Failure], now: float) -> None:
        """Count finished attempts."""
        if self._breaker is not None:
            failed = sum(each.kind in _DOWNSTREAM for each in failures)
            self._breaker.observe(succeeded=succeeded, failed=failed, now=now)
