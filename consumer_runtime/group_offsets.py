"""Where a group stands, and moving it: seek, reset, backfill. Only while no member is active, and with a dry run.

Moving commits without metadata, which forgets what was finished beyond the old offsets: everything from the new place
on runs, also what ran before. Not here: the command line.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from consumer_runtime.contract.settings import KafkaSettings
from consumer_runtime.errors import ConsumerError, StartFailure
from consumer_runtime.sources.problems import problem
from consumer_runtime.sources.properties import client_properties, made

_ANSWER_SECONDS = 15.0
Place = tuple[str, int]
"""Topic and partition."""


class GroupInUseError(ConsumerError):
    """The group has active members, which would overwrite what is set."""


class Anchor(StrEnum):
    """What a target counts from."""

    EARLIEST = "earliest"
    LATEST = "latest"
    OFFSET = "offset"
    TIME = "time"
    SHIFT = "shift"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to move: the topic's beginning or end, an offset, a time, or so many messages forward or back."""

    anchor: Anchor
    number: int = 0
    """An offset, milliseconds since the epoch, or a shift."""

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Read `earliest`, `latest`, `offset:120`, `time:2026-11-20T08:00:00Z` or `shift:-500`.

        Raises ValueError, saying what is allowed. A time without a zone is in UTC.
        """
        word, _, value = text.partition(":")
        try:
            anchor = Anchor(word)
            if anchor in (Anchor.EARLIEST, Anchor.LATEST):
                number = 0 if not value else _refuse(text)
            else:
                number = _milliseconds(value) if anchor is Anchor.TIME else int(value)
        except ValueError as error:
            raise ValueError(
                f"{text!r} must be earliest, latest, offset:NUMBER, time:2026-11-20T08:00:00Z or shift:-NUMBER"
            ) from error
        return cls(anchor, number)


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a group stands in one partition, and where it would be moved."""

    place: Place
    beginning: int
    end: int
    committed: int | None
    """None: nothing was ever committed."""
    moved: int | None = None
    """None: it stays."""

    @property
    def backlog(self) -> int:
        """Messages to do, from the committed offset or from the beginning."""
        return self.end - max(self.committed if self.committed is not None else self.beginning, self.beginning)


class GroupOffsets:
    """One group on one cluster. Every method raises StartFailure when the broker does not play along."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._admin = made(AdminClient, client_properties(settings) | {"log_level": 0})

    def stands(self, topics: Iterable[str]) -> list[Stand]:
        """Return where the group stands in every partition of the topics."""
        try:
            places = self._places(topics)
            beginnings = self._list(places, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
            ends = self._list(places, OffsetSpec.latest())  # type: ignore[no-untyped-call]
            committed = self._committed(places)
        except KafkaException as error:
            raise self._failure(error) from error
        return [Stand(each, beginnings[each], ends[each], committed.get(each)) for each in places]

    def plan(self, topics: Iterable[str], target: Target) -> list[Stand]:
        """Return the stands with where each would be moved; partitions that stay have None."""
        stands = self.stands(topics)
        at_time: dict[Place, int] = {}
        if target.anchor is Anchor.TIME:
            try:
                at_time = self._list([each.place for each in stands], OffsetSpec.for_timestamp(target.number))
            except KafkaException as error:
                raise self._failure(error) from error
        return [moved(each, target, at_time=at_time.get(each.place, -1)) for each in stands]

    def move(self, plan: list[Stand]) -> None:
        """Commit the plan. Raises GroupInUseError while the group has active members."""
        self._require_unused()
        wanted = [TopicPartition(*each.place, each.moved) for each in plan if each.moved is not None]
        if not wanted:
            return
        asked = [ConsumerGroupTopicPartitions(self._settings.consumer_group, wanted)]
        try:
            answer = self._admin.alter_consumer_group_offsets(asked)[self._settings.consumer_group]
            answered = answer.result(_ANSWER_SECONDS).topic_partitions
        except KafkaException as error:
            raise self._failure(error) from error
        for each in answered:
            if each.error is not None:
                raise StartFailure(problem(each.error, self._settings))

    def delete(self) -> None:
        """Forget the group with all its offsets."""
        group = self._settings.consumer_group
        try:
            self._admin.delete_consumer_groups([group])[group].result(_ANSWER_SECONDS)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
                raise self._failure(error) from error

    def _require_unused(self) -> None:
        group = self._settings.consumer_group
        try:
            described = self._admin.describe_consumer_groups([group])[group].result(_ANSWER_SECONDS)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return
            raise self._failure(error) from error
        if described.members:
            raise GroupInUseError(
                f"group {group!r} has {len(described.members)} active members; stop them first: spec.suspend: true"
            )

    def _places(self, topics: Iterable[str]) -> list[Place]:
        listed = self._admin.list_topics(timeout=_ANSWER_SECONDS).topics
        found: list[Place] = []
        for topic in topics:
            if topic not in listed:
                missing = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, f"there is no topic {topic!r}")
                raise StartFailure(problem(missing, self._settings, value=topic))
            found += [(topic, partition) for partition in sorted(listed[topic].partitions)]
        return found

    def _list(self, places: list[Place], spec: OffsetSpec) -> dict[Place, int]:
        asked = self._admin.list_offsets({TopicPartition(*each): spec for each in places})
        return {(each.topic, each.partition): future.result(_ANSWER_SECONDS).offset for each, future in asked.items()}

    def _committed(self, places: list[Place]) -> dict[Place, int]:
        group = self._settings.consumer_group
        asked = [ConsumerGroupTopicPartitions(group, [TopicPartition(*each) for each in places])]
        answer: Any = self._admin.list_consumer_group_offsets(asked)[group].result(_ANSWER_SECONDS)
        return {(each.topic, each.partition): each.offset for each in answer.topic_partitions if each.offset >= 0}

    def _failure(self, error: KafkaException) -> StartFailure:
        return StartFailure(problem(error.args[0], self._settings))


def moved(stand: Stand, target: Target, *, at_time: int) -> Stand:
    """Return the stand with its new offset, kept between the partition's beginning and end.

    `at_time` is the first offset at or after the target's time, -1 when there is none: then the end. Pure.
    """
    committed = stand.committed if stand.committed is not None else stand.beginning
    wanted = {
        Anchor.EARLIEST: stand.beginning,
        Anchor.LATEST: stand.end,
        Anchor.OFFSET: target.number,
        Anchor.TIME: at_time if at_time >= 0 else stand.end,
        Anchor.SHIFT: committed + target.number,
    }[target.anchor]
    within = min(max(wanted, stand.beginning), stand.end)
    new = None if within == stand.committed else within
    return Stand(stand.place, stand.beginning, stand.end, stand.committed, new)


def _milliseconds(text: str) -> int:
    when = datetime.fromisoformat(text)
    return int((when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp() * 1_000)


def _refuse(text: str) -> int:
    raise ValueError(text)
