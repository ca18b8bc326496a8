"""The handler's own log: one small binary record for each attempt, appended whole, so that it survives kill -9.

The format and its reading. What the records mean is the verdict's business.
"""

import os
import struct
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

_RECORD = struct.Struct("<HHIIQIIHBxQQ")
_SUFFIX = ".attempts"


class Outcome(IntEnum):
    """How an attempt ended, as the handler saw it."""

    COMPLETED = 0
    FAILED = 1
    CANCELLED = 2


class Attempt(NamedTuple):
    """One call of the handler that ended, in the order of the record's fields. Times are CLOCK_MONOTONIC nanoseconds.

    That clock is one for all processes of a machine, so records of several members can be put in one order.
    """

    member: int
    incarnation: int
    """Counts the starts of this member, from 1."""
    pid: int
    partition: int
    offset: int
    key: int
    """CRC-32 of the key's bytes; 0 for a null key."""
    sequence: int
    """Position among the messages of the same partition and key, from 0."""
    attempt: int
    """As the runtime counted it, from 1."""
    outcome: Outcome
    started: int
    ended: int


class AttemptLog:
    """Appends records to one file of its own process; each is a single write, so a record is there whole or not."""

    def __init__(self, folder: Path, *, member: int, incarnation: int) -> None:
        """Open `<member>.<incarnation>-<pid>.attempts` in the folder; raises OSError when it cannot."""
        self._identity = (member, incarnation, os.getpid())
        path = folder / f"{member}.{incarnation}-{os.getpid()}{_SUFFIX}"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def append(self, *place: int, outcome: Outcome, started: int, ended: int) -> None:
        """Append one record; `place` is partition, offset, key, sequence, attempt."""
        os.write(self._file, _RECORD.pack(*self._identity, *place, outcome, started, ended))


def read_folder(folder: Path) -> Iterator[Attempt]:
    """Yield every record of every process, file by file. An incomplete last record is left out."""
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        content = path.read_bytes()
        whole = len(content) - len(content) % _RECORD.size
        for fields in _RECORD.iter_unpack(content[:whole]):
            yield Attempt._make((*fields[:8], Outcome(fields[8]), *fields[9:]))
