"""The handler under test: does what was drawn for a message, and logs each attempt before it returns.

It runs inside the consumer (and, in mode process, inside its workers). It knows the case from the folder named by
`CHAOS_FOLDER` and who it is from `CHAOS_MEMBER` (`member.incarnation`), both inherited through the environment.
"""

import asyncio
import os
import time
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.chaos import draws, payload
from benchmarks.chaos.case_file import read_case
from benchmarks.chaos.plan import Mark
from benchmarks.chaos.records import AttemptLog, Outcome

FOLDER_VARIABLE = "CHAOS_FOLDER"
MEMBER_VARIABLE = "CHAOS_MEMBER"
HANG_SECONDS = 9.0
"""Well past the task timeout of every case."""
EXIT_STATUS = 86
MARK_SUFFIX = ".mark"
"""Of files that say that a marked message was met: `<mark>-<partition>-<offset>.mark`."""
Place = tuple[int, int, int, int, int]


class DrawnError(Exception):
    """The failure that was drawn for this attempt, or a hang that nobody cut short."""


class _Script:
    """What this process knows of its case. Made on first use, since a spawned worker imports before it has a role."""

    def __init__(self) -> None:
        self.folder = Path(os.environ[FOLDER_VARIABLE])
        case = read_case(self.folder)
        self.seed, self.odds, self.marked = case.seed, draws.odds_of(case), draws.marked(case)
        member, incarnation = map(int, os.environ[MEMBER_VARIABLE].split("."))
        self.log = AttemptLog(self.folder, member=member, incarnation=incarnation)

    def mark_of(self, partition: int, offset: int) -> Mark | None:
        """Return the mark of a message the first time it is asked for in a case, in whichever process."""
        mark = self.marked.get((partition, offset))
        if mark is None:
            return None
        try:
            os.close(os.open(self.folder / f"{mark}-{partition}-{offset}{MARK_SUFFIX}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return None
        return mark

    def finish(self, place: Place, content: payload.Content) -> None:
        """Raise DrawnError if this attempt is to fail."""
        partition, offset, _, _, attempt = place
        if content.poison or draws.is_poison(self.seed, self.odds, partition=partition, offset=offset):
            raise DrawnError(f"poison at {partition}/{offset}")
        if draws.fails(self.seed, self.odds, partition=partition, offset=offset, attempt=attempt):
            raise DrawnError(f"drawn failure at {partition}/{offset}, attempt {attempt}")

    def seconds(self, place: Place) -> float:
        """Return how long the handler works on this message."""
        return draws.work_seconds(self.seed, self.odds, partition=place[0], offset=place[1])


_script = cache(_Script)


def handle(message: Any) -> None:
    """Run one attempt in modes single, thread and process."""
    script, started = _script(), time.monotonic_ns()
    content, place = _read(message)
    outcome = Outcome.FAILED
    try:
        _act(script.mark_of(place[0], place[1]), time.sleep)
        if seconds := script.seconds(place):
            time.sleep(seconds)
        script.finish(place, content)
        outcome = Outcome.COMPLETED
    finally:
        script.log.append(*place, outcome=outcome, started=started, ended=time.monotonic_ns())


async def handle_async(message: Any) -> None:
    """Run one attempt in mode async."""
    script, started = _script(), time.monotonic_ns()
    content, place = _read(message)
    outcome = Outcome.FAILED
    try:
        mark = script.mark_of(place[0], place[1])
        if mark is Mark.HANG:
            await asyncio.sleep(HANG_SECONDS)
            raise DrawnError("hung, and was not cut short")
        _act(mark, time.sleep)
        if seconds := script.seconds(place):
            await asyncio.sleep(seconds)
        script.finish(place, content)
        outcome = Outcome.COMPLETED
    except asyncio.CancelledError:
        outcome = Outcome.CANCELLED
        raise
    finally:
        script.log.append(*place, outcome=outcome, started=started, ended=time.monotonic_ns())


def _act(mark: Mark | None, sleep: Any) -> None:
    if mark is Mark.EXIT:
        os._exit(EXIT_STATUS)
    if mark is not None:
        sleep(HANG_SECONDS)
        raise DrawnError("hung, and was not cut short")


def _read(message: Any) -> tuple[payload.Content, Place]:
    content = payload.decode(message.key, message.value, message.headers)
    return content, (message.partition, message.offset, content.key, content.sequence, message.attempt)
