import pytest

from consumer_runtime.sources.coordinator import Coordinator

SESSION, REPORT = 45.0, 5.0


def told(at: float, idle: float | None) -> dict:
    """A report of librdkafka's; `idle` None is a connection that has brought nothing yet."""
    coordinator = {"rxidle": -1 if idle is None else int(idle * 1e6)}
    return {"ts": int(at * 1e6), "brokers": {"GroupCoordinator": coordinator, "b:1/1": {"rxidle": 0}}}


@pytest.mark.parametrize("reconnects", [True, False])
def test_a_silence_is_told_before_the_session_ends(reconnects: bool):
    """Until the next report the member may still begin work, so the last one within the session has to say it."""
    coordinator = Coordinator(SESSION, REPORT)
    coordinator.report(told(100, 1))
    silent_at = []
    for at in range(105, 200, 5):
        coordinator.report(told(at, None if reconnects else at - 99))
        silent_at += [at] if coordinator.is_silent else []
    assert silent_at[0] == 140
    assert silent_at == list(range(140, 200, 5)), "a new connection alone is no answer"


def test_it_is_over_with_the_second_good_report():
    """The first may have come between the connection and the word that somebody else has the partitions."""
    coordinator = Coordinator(SESSION, REPORT)
    coordinator.report(told(100, 0))
    coordinator.report(told(150, None))
    assert coordinator.is_silent
    coordinator.report(told(155, 0.1))
    assert coordinator.is_silent
    coordinator.report(told(160, 0.1))
    assert not coordinator.is_silent


def test_an_assignment_is_an_answer():
    """Only the coordinator gives partitions: work begins at once, and silence counts from the next report."""
    coordinator = Coordinator(SESSION, REPORT)
    coordinator.report(told(100, 0))
    coordinator.report(told(150, None))
    coordinator.answered()
    assert not coordinator.is_silent
    coordinator.report(told(155, None))
    assert not coordinator.is_silent
    coordinator.report(told(195, None))
    assert coordinator.is_silent


def test_heartbeats_are_no_silence_however_short_the_session():
    """A session of 6 s with reports every 5 s: half of it is allowed, or each heartbeat's interval would count."""
    coordinator = Coordinator(6, REPORT)
    for at in range(100, 130, 5):
        coordinator.report(told(at, 2.9))
        assert not coordinator.is_silent
    coordinator.report(told(130, 3.0))
    assert coordinator.is_silent


def test_where_the_client_watches_the_session_nothing_is_silence():
    """The classic protocols: the client itself says that partitions are lost."""
    coordinator = Coordinator(float("inf"), 0)
    for at in (100, 10_000):
        coordinator.report({"ts": int(at * 1e6), "brokers": {}})
        assert not coordinator.is_silent
