"""What a case must have suffered, and what is found of it: no fault may be left out unnoticed."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.chaos import evidence, faults, plan
from benchmarks.chaos.faults import Suffered
from benchmarks.chaos.history import Assignment, Ending, History
from benchmarks.chaos.payload import Content
from benchmarks.chaos.plan import Case, Fault, Mark
from benchmarks.chaos.records import Attempt, Outcome

IN_EVERY_CASE = {
    Suffered.EXCEPTIONS, Suffered.POISON, Suffered.LARGE_VALUES, Suffered.NULL_KEYS, Suffered.NULL_VALUES
}  # fmt: skip
OF_FAMILY = {
    "crash": {Suffered.KILLS, Suffered.TERMINATIONS},
    "broker": {Suffered.BROKER_RESTARTS, Suffered.BROKER_PAUSES},
    "membership": {
        Suffered.JOINS, Suffered.TERMINATIONS, Suffered.REBALANCES, Suffered.ADDED_PARTITIONS,
        Suffered.SETTINGS_CHANGES,
    },
    "handler": {Suffered.DEAD_LETTER_TOPIC_AWAY, Suffered.DEAD_LETTERS_REFUSED, Suffered.HANGS},
}  # fmt: skip
OF_MODE = {"async": {Suffered.BLOCKED_LOOPS}, "process": {Suffered.WORKER_EXITS}}


def case_of(mode: str, families: str) -> Case:
    """A case by its parts."""
    return plan.case_named(f"{mode}-key-eager-{families}", seed=11)


@pytest.mark.parametrize("mode", list(plan.MODES))
@pytest.mark.parametrize("families", [*OF_FAMILY, "crash+broker", "membership+handler"])
def test_each_fault_that_is_promised_is_required(mode: str, families: str) -> None:
    """By family and mode; hangs, blocked loops and exits belong to family handler."""
    wanted = IN_EVERY_CASE.union(*(OF_FAMILY[family] for family in families.split("+")))
    if "handler" in families:
        wanted |= OF_MODE.get(mode, set())
    expected = faults.expected(case_of(mode, families))
    assert {what for what, least in expected.items() if least > 0} == wanted


def test_every_fault_of_a_case_is_counted_once_and_each_can_be_missed() -> None:
    """With all of them nothing is missing, and one less of any of them is told."""
    for case in plan.every_case():
        expected = faults.expected(case)
        assert faults.missing(expected, expected) == []
        for what in expected:
            fewer = Counter(expected)
            fewer[what] -= 1
            assert [text.split()[0] for text in faults.missing(expected, fewer)] == [what]


def test_two_kills_are_expected_where_two_are_scheduled() -> None:
    """The counts are those of the schedule, not merely one of a kind."""
    expected = faults.expected(case_of("async", "crash"))
    assert (expected[Suffered.KILLS], expected[Suffered.TERMINATIONS]) == (2, 2)
    assert faults.expected(case_of("process", "handler"))[Suffered.WORKER_EXITS] == 12


def test_what_the_schedule_did_is_counted_by_its_end() -> None:
    """A pause counts when it was resumed in time, an absent topic when it came back; a join by what it got."""
    caused = {Fault.KILL: 2, Fault.PAUSE_BROKER: 1, Fault.JOIN: 2, Fault.LEAVE: 1, Fault.TERMINATE: 1}
    assert faults.scheduled(caused) == {Suffered.KILLS: 2, Suffered.TERMINATIONS: 2}
    ended = {Fault.RESUME_BROKER: 1, Fault.RESTORE_DEAD_LETTER_TOPIC: 1}
    assert faults.scheduled(ended) == {Suffered.BROKER_PAUSES: 1, Suffered.DEAD_LETTER_TOPIC_AWAY: 1}


def test_marks_on_disk_are_what_the_handler_did() -> None:
    """One for each message at which it hung, blocked or exited."""
    counts = faults.by_marks([Mark.HANG, Mark.HANG, Mark.EXIT])
    assert counts == {Suffered.HANGS: 2, Suffered.WORKER_EXITS: 1}


def test_messages_tell_what_was_sent() -> None:
    """A null key, a null value, poison and a large value, each once."""
    contents = [
        Content(key=0, sequence=0, poison=False, value_bytes=100),
        Content(key=5, sequence=0, poison=False, value_bytes=None),
        Content(key=5, sequence=1, poison=True, value_bytes=100),
        Content(key=5, sequence=2, poison=False, value_bytes=1_000_000),
    ]
    counts = faults.in_messages({0: contents})
    assert counts == {Suffered.NULL_KEYS: 1, Suffered.NULL_VALUES: 1, Suffered.POISON: 1, Suffered.LARGE_VALUES: 1}


def test_attempts_tell_of_exceptions_and_added_partitions() -> None:
    """Failures, and each partition beyond the first ones of which something ran."""
    attempts = [
        Attempt(1, 1, 9, partition, 0, 1, 0, 1, outcome, 1, 2)
        for partition, outcome in ((0, Outcome.FAILED), (8, Outcome.COMPLETED), (9, Outcome.COMPLETED))
    ]
    counts = faults.in_attempts(attempts, first_partitions=8)
    assert counts == {Suffered.EXCEPTIONS: 1, Suffered.ADDED_PARTITIONS: 2}


def test_the_history_tells_of_rebalances_and_joins() -> None:
    """Partitions given up by the living, and members beyond the first three that got some."""
    held = [
        Assignment(
            member=member, incarnation=1, partition=0, began=0, ended=1, ending=ending, dropped=0, commits=(),
            commit_failed_last=False,
        )
        for member, ending in ((1, Ending.REVOKED), (2, Ending.LOST), (3, Ending.KILLED), (4, Ending.EXITED))
    ]  # fmt: skip
    counts = faults.in_history(History(assignments=tuple(held)), first_members=3)
    assert counts == {Suffered.REBALANCES: 2, Suffered.JOINS: 1}


def test_the_consumers_logs_tell_of_refusals_and_settings(tmp_path: Path) -> None:
    """A generation in force in three consumers is one change."""
    log = tmp_path / "consumer-1.1.log"
    log.write_text(
        '{"event": "DLQ publish failed", "attempt": 1}\n{"generation": 2, "event": "settings in force"}\n'
        '{"generation": 2, "event": "settings in force"}\n{"generation": 3, "event": "settings in force"}\n'
        '{"generation": 3, "event": "settings applied"}\n'
    )
    counts = evidence.log_counts([log])
    assert counts == {Suffered.DEAD_LETTERS_REFUSED: 1, Suffered.SETTINGS_CHANGES: 2}
