import time

from hypothesis import given
from hypothesis import strategies as st

from consumer_runtime.contract.settings import CircuitBreakerSettings
from consumer_runtime.engines.engine import Failure, FailureKind
from consumer_runtime.message import Message
from consumer_runtime.testing import run_handler
from consumer_runtime.throttle import UNLIMITED, Breaker, Circuit, RateLimit, Throttle

SETTINGS = CircuitBreakerSettings(failure_percent=50, window_attempts=10, open_ms=1_000)


@given(
    per_second=st.integers(1, 100_000),
    steps=st.lists(st.tuples(st.floats(0, 2), st.integers(0, 50_000)), min_size=1, max_size=50),
)
def test_no_more_goes_than_time_and_one_burst_allow(per_second, steps):
    """Whatever is asked for and when: the sum stays below rate x time plus a tenth of a second's worth (at least 1)."""
    limit, now, gone = RateLimit(per_second, 0.0), 0.0, 0
    for wait, wanted in steps:
        now += wait
        taken = min(wanted, limit.room(now))
        limit.taken(taken)
        gone += taken
    assert gone <= per_second * now + max(per_second / 10, 1) + 1e-6


def test_the_rate_is_reached():
    """Asking often enough gets all of it, also at one a second."""
    for per_second in (1, 7, 1_000):
        limit, gone = RateLimit(per_second, 0.0), 0
        for step in range(10_001):
            room = limit.room(step / 1_000)
            limit.taken(room)
            gone += room
        assert abs(gone - 10 * per_second) <= max(per_second / 10, 1) + 1


def test_without_a_limit_everything_goes():
    """Zero is none, and costs no counting."""
    throttle = Throttle(per_second=0, breaker=None, now=0.0)
    assert throttle.is_idle
    assert throttle.room(0.0) == UNLIMITED


def test_the_breaker_opens_tries_one_and_closes():
    """Closed, open for its time, one probe, and closed again when that succeeds."""
    breaker = Breaker(SETTINGS)
    breaker.observe(succeeded=5, failed=4, now=0.0)
    assert breaker.room(0.0) == UNLIMITED
    breaker.observe(succeeded=0, failed=1, now=0.0)
    assert (breaker.circuit, breaker.room(0.99)) == (Circuit.OPEN, 0)
    assert breaker.room(1.0) == 1
    breaker.taken()
    assert breaker.room(1.1) == 0
    breaker.observe(succeeded=1, failed=0, now=1.2)
    assert (breaker.circuit, breaker.room(1.2)) == (Circuit.CLOSED, UNLIMITED)


def test_a_probe_that_fails_opens_it_again():
    """For its time, as often as it takes; what was under way when it opened decides nothing."""
    breaker = Breaker(SETTINGS)
    breaker.observe(succeeded=0, failed=10, now=0.0)
    breaker.observe(succeeded=50, failed=0, now=0.5)
    assert breaker.room(0.9) == 0
    for opened in (1.0, 2.0, 3.0):
        assert breaker.room(opened) == 1
        breaker.taken()
        breaker.observe(succeeded=0, failed=1, now=opened)
        assert breaker.room(opened + 0.9) == 0


def test_a_few_failures_among_many_successes_open_nothing():
    """The share counts, over the last attempts only."""
    breaker = Breaker(SETTINGS)
    for _ in range(100):
        breaker.observe(succeeded=6, failed=4, now=0.0)
    assert breaker.circuit is Circuit.CLOSED


def test_what_the_handler_judges_itself_is_no_failure_of_something_behind_it():
    """Reject and RetryAfter are answers, not outages."""
    throttle = Throttle(per_second=0, breaker=SETTINGS, now=0.0)

    def failures(kind: FailureKind) -> list[Failure]:
        message = Message("t", 0, 0, None, b"")
        one = Failure(message=message, kind=kind, error_class="", error_text="", started_at=0, finished_at=0)
        return [one] * 10

    for kind in (FailureKind.REJECT, FailureKind.RETRY_AFTER):
        throttle.observe(succeeded=0, failures=failures(kind), now=0.0)
    assert throttle.circuit is Circuit.CLOSED
    throttle.observe(succeeded=0, failures=failures(FailureKind.TIMEOUT), now=0.0)
    assert throttle.circuit is Circuit.OPEN


def _times(messages: int, **sections: object) -> list[float]:
    called: list[float] = []
    run_handler(lambda _: called.append(time.monotonic()), [b"x"] * messages, **sections)  # type: ignore[arg-type]
    return called


def test_a_consumer_keeps_to_its_rate():
    """Measured at the handler: 60 messages at 30 a second take about two seconds, spread evenly."""
    called = _times(60, execution={"rate_limit_per_second": 30})
    assert 1.7 < called[-1] - called[0] < 4
    first_half = sum(each - called[0] < (called[-1] - called[0]) / 2 for each in called)
    assert 20 <= first_half <= 40


def test_an_outage_costs_attempts_of_few_messages_only():
    """While everything fails the breaker keeps the others back: afterwards all succeed and no retries were used up."""
    began, attempts = time.monotonic() + 3600, 0

    def handle(_: object) -> None:
        nonlocal began, attempts
        began = min(began, time.monotonic())
        if time.monotonic() - began < 1.5:
            attempts += 1
            raise ConnectionError("database is away")

    outcome = run_handler(
        handle,
        [b"x"] * 200,
        circuit_breaker={"window_attempts": 5, "open_ms": 300},
        retry={"max_retries": 10, "backoff_ms": 10, "max_backoff_ms": 10},
    )
    assert outcome.succeeded == 200
    assert attempts < 60
