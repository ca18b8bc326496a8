"""A bounded backfill: the handler over a stretch of the topics once more, which ends by itself.

It runs as a group of its own, so that the consumers of the real one go on meanwhile, and what is finished is known if
it is stopped: the next start goes on where it stood. At the end the group is deleted. Not here: the command line, and
moving the real group (`group_offsets`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog

from consumer_runtime import logs, program
from consumer_runtime.contract.settings import RuntimeSettings
from consumer_runtime.group_offsets import GroupOffsets, Place, Stand, Target
from consumer_runtime.sources.until import Until

SUFFIX = "-backfill"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one partition: from `begin` up to, and without, `end`."""

    place: Place
    begin: int
    end: int

    @property
    def messages(self) -> int:
        """Offsets in it; fewer messages after compaction."""
        return max(self.end - self.begin, 0)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a backfill has to do."""

    group: str
    spans: list[Span]
    is_resumed: bool
    """An earlier run was stopped: it goes on where that stood."""

    @property
    def messages(self) -> int:
        """Offsets left to do."""
        return sum(each.messages for each in self.spans)


def as_backfill(settings: RuntimeSettings, *, group: str | None, topics: list[str], port: int) -> RuntimeSettings:
    """Return the settings of the backfill: another group, dynamic members, and a port of its own."""
    kafka = settings.source.kafka
    changes = {"consumer_group": group or kafka.consumer_group + SUFFIX, "topics": topics, "topic_pattern": None}
    source = settings.source.model_copy(update={"kafka": kafka.model_copy(update=changes)})
    http = settings.http.model_copy(update={"port": port})
    return settings.model_copy(update={"source": source, "http": http})


def plan(settings: RuntimeSettings, begin: Target, end: Target) -> Plan:
    """Return what is to be done, from the beginning or from where an earlier run stood. Raises StartFailure."""
    kafka = settings.source.kafka
    offsets = GroupOffsets(kafka)
    begins, ends = offsets.plan(kafka.topics, begin), offsets.plan(kafka.topics, end)
    is_resumed = any(each.committed is not None for each in begins)
    froms = [each.committed if is_resumed and each.committed is not None else _target(each) for each in begins]
    spans = [Span(to.place, start, _target(to)) for to, start in zip(ends, froms, strict=True)]
    return Plan(kafka.consumer_group, spans, is_resumed)


def run(path: Path, settings: RuntimeSettings, todo: Plan) -> int:
    """Do it; return how many offsets are left, 0 unless it was stopped before its end. Raises StartFailure.

    Raises GroupInUseError when the same backfill runs elsewhere and has not committed anything yet.
    """
    logs.configure(settings.log_level)
    offsets = GroupOffsets(settings.source.kafka)
    if not todo.is_resumed:
        offsets.move([Stand(each.place, 0, each.end, None, each.begin) for each in todo.spans])
    until = Until({each.place: each.end for each in todo.spans})
    if todo.messages:
        _log.info("backfill begins", group=todo.group, messages=todo.messages, resumed=todo.is_resumed)
        program.run_until(path, settings, until)
    left = _left(offsets.stands(settings.source.kafka.topics), todo.spans)
    if not left:
        offsets.delete()
        _log.info("backfill done", group=todo.group, messages=todo.messages)
    return left


def _target(stand: Stand) -> int:
    if stand.moved is not None:
        return stand.moved
    return stand.committed if stand.committed is not None else stand.beginning


def _left(stands: Iterable[Stand], spans: list[Span]) -> int:
    committed = {each.place: each.committed or 0 for each in stands}
    return sum(max(each.end - max(committed[each.place], each.begin), 0) for each in spans)
