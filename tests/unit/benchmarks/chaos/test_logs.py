"""The handler's log, the payload, and the history read from event logs."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.chaos import evidence, payload
from benchmarks.chaos.case_file import read_case, write_case
from benchmarks.chaos.history import Death, Ending, History, of_logs
from benchmarks.chaos.plan import every_case
from benchmarks.chaos.records import Attempt, AttemptLog, Outcome, read_folder
from consumer_runtime.ledger import codec
from consumer_runtime.ledger.offsets import Progress

TOPIC = "orders"


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """Every field, with the largest offsets and hashes."""
    log = AttemptLog(tmp_path, member=4, incarnation=2)
    log.append(7, 2**40, 2**32 - 1, 9, 3, outcome=Outcome.CANCELLED, started=2**62, ended=2**62 + 1)
    assert list(read_folder(tmp_path)) == [
        Attempt(4, 2, os.getpid(), 7, 2**40, 2**32 - 1, 9, 3, Outcome.CANCELLED, 2**62, 2**62 + 1)
    ]


def test_an_incomplete_last_record_is_left_out(tmp_path: Path) -> None:
    """A machine that stops in the middle of a write must not spoil the records before it."""
    log = AttemptLog(tmp_path, member=1, incarnation=1)
    for offset in range(2):
        log.append(0, offset, 1, offset, 1, outcome=Outcome.COMPLETED, started=1, ended=2)
    path = next(tmp_path.iterdir())
    path.write_bytes(path.read_bytes()[:-3])
    assert [attempt.offset for attempt in read_folder(tmp_path)] == [0]


@given(st.binary(max_size=20) | st.none(), st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
def test_a_payload_carries_its_sequence_with_and_without_a_value(
    key: bytes | None,
    sequence: int,
    null: bool,
    poison: bool,
) -> None:
    """Null values carry it in a header."""
    value, headers = payload.encode(sequence, null=null, poison=poison)
    assert (value is None) == null
    length = None if value is None else len(value)
    assert payload.decode(key, value, headers) == (payload.key_hash(key), sequence, poison, length)


def test_a_large_value_is_a_million_bytes() -> None:
    """What the users call 1 MB."""
    value, _ = payload.encode(1, large=True)
    assert value is not None
    assert len(value) == 1_000_000


def test_a_case_survives_its_file(tmp_path: Path) -> None:
    """The processes of a case read the same case as was planned."""
    case = every_case()[17]
    write_case(case, tmp_path)
    assert read_case(tmp_path) == case


@given(st.sets(st.integers(1, 300)))
def test_ranges_of_a_commit_are_what_the_codec_wrote(beyond: set[int]) -> None:
    """The offsets in the ranges are exactly the finished ones."""
    finished = bytes(offset in beyond for offset in range(max(beyond, default=-1) + 1))
    text = codec.encode(Progress(1_000, finished)).text
    ranges = evidence.finished_ranges(text, 1_000)
    assert {offset - 1_000 for first, end in ranges for offset in range(first, end)} == beyond


def line(at: int, event: str, *, partition: int = 0, topic: str = TOPIC, **fields: str | int) -> str:
    """One line of an event log."""
    return json.dumps({"at": at, "event": event, "topic": topic, "partition": partition, **fields})


def history_of(lines: Iterable[str], *, ending: Ending = Ending.KILLED) -> History:
    """The history of one incarnation that ended at 1,000."""
    deaths = {(1, 1): Death(at=1_000, ending=ending)}
    return of_logs({(1, 1): lines}, deaths, topic=TOPIC, decode_metadata=lambda _text, _offset: ())


def a_commit(at: int, offset: int) -> Iterator[str]:
    """A commit that is sent and acknowledged."""
    yield line(at, "commit_sent", offset=offset, metadata="")
    yield line(at + 1, "commit_acknowledged", offset=offset, metadata="")


def test_an_assignment_ends_with_its_revoke() -> None:
    """It has the commits sent in it, and what was dropped."""
    history = history_of(
        [line(10, "assigned", offset=0), *a_commit(20, 5), *a_commit(30, 9), line(40, "revoked", dropped=2)]
    )
    (assignment,) = history.assignments
    assert (assignment.began, assignment.ended, assignment.ending, assignment.dropped) == (10, 40, Ending.REVOKED, 2)
    assert assignment.acknowledged is not None
    assert assignment.acknowledged.offset == 9
    assert history.stray_commits == ()


def test_what_is_open_at_the_death_ends_with_it() -> None:
    """A killed process writes no revoke."""
    (assignment,) = history_of([line(10, "assigned", offset=0), *a_commit(20, 5)]).assignments
    assert (assignment.ended, assignment.ending) == (1_000, Ending.KILLED)


def test_an_unanswered_commit_is_not_the_acknowledged_one() -> None:
    """Sent at the end and never answered: the one before it counts."""
    lines = [line(10, "assigned", offset=0), *a_commit(20, 5), line(30, "commit_sent", offset=9, metadata="")]
    (assignment,) = history_of(lines).assignments
    assert assignment.acknowledged is not None
    assert assignment.acknowledged.offset == 5


def test_a_failed_commit_is_remembered_until_one_succeeds() -> None:
    """Only the last answer says whether the end of the assignment is known to the broker."""
    failed = [line(20, "commit_sent", offset=5, metadata=""), line(21, "commit_failed", offset=5, metadata="")]
    (assignment,) = history_of([line(10, "assigned", offset=0), *failed, line(40, "revoked", dropped=0)]).assignments
    assert assignment.commit_failed_last
    lines = [line(10, "assigned", offset=0), *failed, *a_commit(30, 5), line(40, "revoked", dropped=0)]
    (assignment,) = history_of(lines).assignments
    assert not assignment.commit_failed_last


def test_a_commit_after_the_revoke_is_stray() -> None:
    """Nothing may be sent for a partition that was given up."""
    history = history_of([line(10, "assigned", offset=0), line(40, "revoked", dropped=0), *a_commit(50, 7)])
    assert [(member, partition, commit.offset) for member, partition, commit in history.stray_commits] == [(1, 0, 7)]


def test_a_partition_that_comes_back_is_another_assignment() -> None:
    """Its commits belong to the second time."""
    lines = [line(10, "assigned", offset=0), line(20, "lost"), line(30, "assigned", offset=3), *a_commit(40, 7)]
    first, second = history_of(lines).assignments
    assert (first.ending, first.commits) == (Ending.LOST, ())
    assert (second.began, len(second.commits)) == (30, 1)


def test_other_topics_and_cut_lines_are_left_out() -> None:
    """A process killed in the middle of a line, and a topic that is not judged."""
    cut = line(50, "assigned", offset=0)[:20]
    assert history_of([line(10, "assigned", topic="other", offset=0), cut]).assignments == ()


def test_an_exceeded_poll_interval_is_counted_from_events_and_from_the_client_log(tmp_path: Path) -> None:
    """Whichever of the two says so."""
    said = json.dumps({"at": 5, "event": "max_poll_exceeded"})
    assert history_of([said]).max_poll_exceeded == 1
    log = tmp_path / "consumer-1.1.log"
    log.write_text("%4|MAXPOLL| Application maximum poll interval (20000ms) exceeded by 231ms\nfine\n")
    assert evidence.expelled([log]) == 1


def test_a_history_needs_a_death_for_each_log() -> None:
    """Judging while a process still runs would judge half a story."""
    with pytest.raises(KeyError):
        of_logs({(1, 1): []}, {}, topic=TOPIC, decode_metadata=lambda _text, _offset: ())
