"""Simulated failures come at their rate, the same in every run; totals follow the arithmetic."""

import pytest
from rich.progress import Progress

from benchmarks.failures import handlers, rates
from benchmarks.failures.__main__ import _telling
from benchmarks.failures.bench import Bench, Kept, Retry
from benchmarks.scenarios.broker import Broker
from benchmarks.scenarios.errors import ScenarioFileError
from benchmarks.scenarios.job import Outcome
from consumer_runtime import Message


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_every_attempt_fails_at_the_rate(monkeypatch, attempt: int) -> None:
    """30 % of first attempts fail, and 30 % of the second and third ones too, whichever failed before."""
    monkeypatch.setattr(handlers, "_RATE", 0.3)

    def failed(number: int, upto: int) -> bool:
        return all(handlers.fails(Message("t", 0, number, None, b"", attempt=each)) for each in range(1, upto + 1))

    survivors = [number for number in range(20_000) if failed(number, attempt - 1)]
    share = sum(failed(number, attempt) for number in survivors) / len(survivors)
    assert share == pytest.approx(0.3, abs=0.04)


def test_same_attempt_has_the_same_fate(monkeypatch) -> None:
    """Runs can be compared: a message's attempt fails always or never."""
    monkeypatch.setattr(handlers, "_RATE", 0.5)
    found = [[handlers.fails(Message("t", 1, number, None, b"")) for number in range(100)] for _ in range(2)]
    assert found[0] == found[1]
    assert {True, False} == set(found[0])


def test_retry_settings_are_valid_for_the_runtime() -> None:
    """The longest wait is the last of the doubling ones."""
    assert Retry(max_retries=3, backoff_ms=100).section() == {
        "max_retries": 3, "backoff_ms": 100, "max_backoff_ms": 400, "jitter_percent": 20,
    }  # fmt: skip
    assert Retry(max_retries=0, backoff_ms=10).section()["max_backoff_ms"] == 10


def test_totals_account_for_every_message() -> None:
    """What neither succeeded nor was dead-lettered is an error, be it skipped or not reached."""
    outcome = Outcome(seconds=2.0, reached=False, succeeded=90, failed=2, dead_lettered=5, retried=40)
    row = rates.totals(100, outcome, 0.3, Retry(max_retries=3))
    names = ("SuccessfulMessages", "RetriedMessages", "DeadLetteredMessages", "ErrorMessages")
    assert [row[name] for name in names] == [90, 40, 5, 5]
    assert (row["expected_retried"], row["success_rate_percent"]) == (42, 90.0)


def test_parts_are_kept_one_by_one(tmp_path) -> None:
    """A part replaces its own rows and no others; a file that is none is refused."""
    file = tmp_path / "f.json"
    Kept.at(file).add("idle", [{"a": 1}])
    Kept.at(file).add("memory", [{"b": 2}])
    Kept.at(file).add("idle", [{"a": 3}])
    assert Kept.at(file).parts == {"idle": [{"a": 3}], "memory": [{"b": 2}]}
    for content in ("[]", "{}", '{"parts": []}'):
        file.write_text(content)
        with pytest.raises(ScenarioFileError):
            Kept.at(file)


def test_progress_counts_consumers() -> None:
    """A part of three consumers is half done in the middle of its second."""
    with Progress(disable=True) as bars:
        task = bars.add_task("part", total=3)
        told = _telling(bars, task)
        for share in (0.4, 1.0, 0.5):
            told(share)
        assert bars.tasks[0].percentage == 50


def test_wrong_entry_point_ends_with_the_runtimes_words() -> None:
    """A handler that cannot be imported is told as such, from the consumer's own process."""
    bench = Bench(Broker("127.0.0.1:1"))

    def missing() -> None: ...

    with pytest.raises(Exception, match="missing"):
        bench.run("t", missing, seconds=1, retry=Retry(), execution={})
