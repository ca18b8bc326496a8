"""What the consumers did to the group: assignments and commits, from event logs and the deaths we saw. Pure.

The event log is the runtime's own (`CONSUMER_EVENT_LOG`, documented in docs/reliability.md): one JSON object a line.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Ranges = tuple[tuple[int, int], ...]
"""Half-open ranges of offsets, in order."""
DecodeMetadata = Callable[[str, int], Ranges]
"""Takes a commit's metadata and offset, returns what it says is finished beyond that offset."""


class Ending(StrEnum):
    """How an incarnation's time with a partition ended."""

    REVOKED = "revoked"
    LOST = "lost"
    KILLED = "killed"
    """kill -9 by the schedule."""
    CRASHED = "crashed"
    """The process ended by itself, unasked."""
    EXITED = "exited"
    """The process ended after SIGTERM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """The end of one incarnation's process, as the harness saw it."""

    at: int
    ending: Ending
    status: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit of one partition. Times are CLOCK_MONOTONIC nanoseconds."""

    offset: int
    beyond: Ranges
    sent: int
    acknowledged: int | None

    def covers(self, offset: int) -> bool:
        """Return whether a restart from this commit would not run the offset again."""
        return offset < self.offset or any(first <= offset < end for first, end in self.beyond)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One incarnation's time with one partition."""

    member: int
    incarnation: int
    partition: int
    began: int
    ended: int
    ending: Ending
    dropped: int
    """Messages that still ran when the revoke's grace was over, as the runtime logged it."""
    commits: tuple[Commit, ...]
    """Those sent in this time."""
    commit_failed_last: bool
    """The last commit of this time was answered with an error, so what finished since may run again."""

    @property
    def acknowledged(self) -> Commit | None:
        """The newest acknowledged commit."""
        return next((commit for commit in reversed(self.commits) if commit.acknowledged is not None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Everything that the verdict needs to know beside the handler's log."""

    assignments: tuple[Assignment, ...]
    stray_commits: tuple[tuple[int, int, Commit], ...] = ()
    """(member, partition, commit) sent outside of any assignment of that incarnation."""
    max_poll_exceeded: int = 0


@dataclass(slots=True)
class _Open:
    began: int
    commits: list[dict[str, Any]] = field(default_factory=list)
    failed_last: bool = False


def of_logs(
    logs: Mapping[tuple[int, int], Iterable[str]],
    deaths: Mapping[tuple[int, int], Death],
    *,
    topic: str,
    decode_metadata: DecodeMetadata,
) -> History:
    """Join event logs, by (member, incarnation), with the deaths of those incarnations.

    Lines that are cut off (a process killed while it wrote) are left out; so are other topics. Raises KeyError for an
    incarnation without a death: histories are built when everything has ended.
    """
    readers = [_Reader(who, deaths[who], topic, decode_metadata) for who in sorted(logs)]
    for reader in readers:
        reader.read(logs[reader.who])
    return History(
        assignments=tuple(each for reader in readers for each in reader.assignments),
        stray_commits=tuple(each for reader in readers for each in reader.stray),
        max_poll_exceeded=sum(reader.max_poll_exceeded for reader in readers),
    )


class _Reader:
    """Reads one incarnation's log in order."""

    def __init__(self, who: tuple[int, int], death: Death, topic: str, decode_metadata: DecodeMetadata) -> None:
        self.who = who
        self.assignments: list[Assignment] = []
        self.stray: list[tuple[int, int, Commit]] = []
        self.max_poll_exceeded = 0
        self._death, self._topic, self._decode = death, topic, decode_metadata
        self._open: dict[int, _Open] = {}
        self._closed_commits: dict[int, list[dict[str, Any]]] = {}

    def read(self, lines: Iterable[str]) -> None:
        for line in lines:
            record = _parse(line)
            if record is not None:
                self._take(record)
        for partition in list(self._open):
            self._close(partition, at=self._death.at, ending=self._death.ending, dropped=0)

    def _take(self, record: dict[str, Any]) -> None:
        kind = record["event"]
        if kind == "max_poll_exceeded":
            self.max_poll_exceeded += 1
        elif record.get("topic") == self._topic:
            self._steps[kind](self, record["partition"], record)

    def _assigned(self, partition: int, record: dict[str, Any]) -> None:
        if partition in self._open:  # told twice without a revoke: the same time with it goes on
            return
        self._open[partition] = _Open(began=record["at"])

    def _revoked(self, partition: int, record: dict[str, Any]) -> None:
        self._close(partition, at=record["at"], ending=Ending.REVOKED, dropped=record["dropped"])

    def _lost(self, partition: int, record: dict[str, Any]) -> None:
        self._close(partition, at=record["at"], ending=Ending.LOST, dropped=0)

    def _commit_sent(self, partition: int, record: dict[str, Any]) -> None:
        sent = {**record, "acknowledged": None}
        if partition in self._open:
            self._open[partition].commits.append(sent)
        else:
            self.stray.append((self.who[0], partition, self._commit(sent)))

    def _commit_acknowledged(self, partition: int, record: dict[str, Any]) -> None:
        opened = self._open.get(partition)
        if opened is None:
            return
        opened.failed_last = False
        for sent in opened.commits:
            if sent["acknowledged"] is None and _same_commit(sent, record):
                sent["acknowledged"] = record["at"]
                return

    def _commit_failed(self, partition: int, _: dict[str, Any]) -> None:
        if partition in self._open:
            self._open[partition].failed_last = True

    def _close(self, partition: int, *, at: int, ending: Ending, dropped: int) -> None:
        opened = self._open.pop(partition, None)
        if opened is None:
            return
        member, incarnation = self.who
        closed = Assignment(
            member=member,
            incarnation=incarnation,
            partition=partition,
            began=opened.began,
            ended=at,
            ending=ending,
            dropped=dropped,
            commits=tuple(map(self._commit, opened.commits)),
            commit_failed_last=opened.failed_last,
        )
        self.assignments.append(closed)

    def _commit(self, record: dict[str, Any]) -> Commit:
        beyond = self._decode(record["metadata"], record["offset"])
        return Commit(offset=record["offset"], beyond=beyond, sent=record["at"], acknowledged=record["acknowledged"])

    _steps: Mapping[str, Callable[["_Reader", int, dict[str, Any]], None]] = {
        "assigned": _assigned,
        "revoked": _revoked,
        "lost": _lost,
        "commit_sent": _commit_sent,
        "commit_acknowledged": _commit_acknowledged,
        "commit_failed": _commit_failed,
    }


def _same_commit(sent: Mapping[str, Any], answered: Mapping[str, Any]) -> bool:
    return (sent["offset"], sent["metadata"]) == (answered["offset"], answered["metadata"])


def _parse(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "event" in record else None


def by_place(assignments: Sequence[Assignment]) -> dict[tuple[int, int, int], list[Assignment]]:
    """Return the assignments by (member, incarnation, partition), each list in order of time."""
    placed: dict[tuple[int, int, int], list[Assignment]] = {}
    for each in sorted(assignments, key=lambda assignment: assignment.began):
        placed.setdefault((each.member, each.incarnation, each.partition), []).append(each)
    return placed
