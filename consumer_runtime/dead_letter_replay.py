"""Sends dead letters back to where they came from, each confirmed by the broker before it counts as replayed.

Progress is the committed offset of a group of its own, `<consumer group>.replay`: a second run goes on where the first
one ended, and a run that is cut off repeats at most its last batch. Letters that arrive while it runs, such as those of
messages that fail again, are left to the next run. Not here: making dead letters (`dead_letter`), the command line.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from consumer_runtime.contract.settings import KafkaSettings, PayloadMode, RuntimeSettings
from consumer_runtime.contract.state import StartReason
from consumer_runtime.errors import StartFailure
from consumer_runtime.sources.problems import problem
from consumer_runtime.sources.properties import client_properties, made

HEADERS = (
    "x-error-reason", "x-error-class", "x-retry-attempt", "x-first-failure", "x-last-failure", "x-payload-mode",
    "source-topic", "partition", "offset", "timestamp", "epoch",
)  # fmt: skip
"""What `dead_letter.headers` appends to a message's own; a test holds the two together."""
_BATCH = 500
_ANSWER_SECONDS = 15.0
_POLL_SECONDS = 0.5
_SILENT_POLLS_AT_MOST = 60
Header = tuple[str, bytes | None]


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, taken apart."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[Header]
    """The message's own."""
    error_class: str
    payload_mode: PayloadMode


@dataclass(slots=True)
class Replay:
    """What a run did, or in a dry run would do."""

    total: int = 0
    """Letters between the last run's end and the topic's end at the start of this one."""
    seen: int = 0
    replayed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By topic and error class."""
    passed_over: int = 0
    """Left out by the filter on error classes; they count as seen and do not come again."""
    unreadable: int = 0
    """Not written by this runtime: without the headers that say where they came from."""
    gone: int = 0
    """Letters of metadata alone whose message is no longer in its topic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to replay."""

    topic: str | None = None
    """The dead letter topic; None: that of the settings."""
    error_class: str | None = None
    """Only letters of this error class, as its header spells it; None: all."""
    at_most: int = 0
    """Letters to look at; 0: all."""
    from_beginning: bool = False
    """Whether letters of earlier runs come again."""
    dry_run: bool = False
    """Look, and change nothing."""


def replay(
    settings: RuntimeSettings, wanted: Wanted, *, on_progress: Callable[[Replay], None] = lambda _: None
) -> Replay:
    """Send dead letters back and return what was done. Raises StartFailure when the broker does not play along."""
    topic = wanted.topic or settings.dead_letter.topic
    if topic is None:
        raise StartFailure.because(
            StartReason.INVALID_SETTINGS,
            field="spec.deadLetter.topic",
            value="",
            remedy="is needed: name it, or --topic",
        )
    run = _Run(settings.source.kafka, topic, wanted)
    try:
        return run.go(on_progress)
    except KafkaException as error:
        raise StartFailure(problem(error.args[0], settings.source.kafka, value=topic)) from error
    finally:
        run.close()


def take_apart(message: Any) -> Letter | None:
    """Return a letter's parts, None for a message that is no dead letter of this runtime."""
    headers: list[Header] = message.headers() or []
    own, ours = headers[: -len(HEADERS)], dict(headers[-len(HEADERS) :])
    try:
        return Letter(
            topic=_text(ours["source-topic"]),
            partition=int(_text(ours["partition"])),
            offset=int(_text(ours["offset"])),
            key=message.key(),
            value=message.value(),
            headers=own,
            error_class=_text(ours["x-error-class"]),
            payload_mode=PayloadMode(_text(ours["x-payload-mode"])),
        )
    except (KeyError, ValueError):
        return None


class _Run:
    """One pass over a dead letter topic."""

    def __init__(self, kafka: KafkaSettings, topic: str, wanted: Wanted) -> None:
        self._wanted = wanted
        self._topic = topic
        self._did = Replay()
        reading = {"enable.auto.commit": False, "enable.partition.eof": True, "auto.offset.reset": "earliest"}
        client = client_properties(kafka) | {"log_level": 0}
        self._letters = made(Consumer, client | reading | {"group.id": f"{kafka.consumer_group}.replay"})
        self._originals = made(Consumer, client | reading | {"group.id": f"{kafka.consumer_group}.replay-originals"})
        self._producer = made(Producer, client | {"enable.idempotence": True, "message.timeout.ms": 30_000})
        self._partitions_of: dict[str, set[int]] = {}
        self._refused: KafkaError | None = None

    def go(self, on_progress: Callable[[Replay], None]) -> Replay:
        ends = self._assign()
        on_progress(self._did)
        silent = 0
        while ends and not self._is_enough():
            batch = self._letters.consume(self._room(), _POLL_SECONDS)
            silent = 0 if batch else silent + 1
            if silent > _SILENT_POLLS_AT_MOST:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 - the package's name for it
            positions = self._take(batch, ends)
            self._finish(positions)
            on_progress(self._did)
        return self._did

    def close(self) -> None:
        self._letters.close()
        self._originals.close()

    def _assign(self) -> dict[int, int]:
        """Begin where the last run ended; return the end of each partition that has letters."""
        found = self._metadata(self._topic)
        asked = [TopicPartition(self._topic, number) for number in found]
        starts = {each.partition: each.offset for each in self._letters.committed(asked, timeout=_ANSWER_SECONDS)}
        ends: dict[int, int] = {}
        begin = []
        for each in asked:
            low, high = self._letters.get_watermark_offsets(each, timeout=_ANSWER_SECONDS)
            start = low if self._wanted.from_beginning else max(starts[each.partition], low)
            if start < high:
                ends[each.partition] = high
                self._did.total += high - start
                begin.append(TopicPartition(self._topic, each.partition, start))
        self._letters.assign(begin)
        return ends

    def _take(self, batch: list[Any], ends: dict[int, int]) -> dict[int, int]:
        """Handle each letter up to its partition's end; return the positions after them."""
        positions: dict[int, int] = {}
        for message in batch:
            number, error = message.partition(), message.error()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - the package's name for it
                    raise KafkaException(error)
                ends.pop(number, None)
            elif number in ends and message.offset() < ends[number]:
                self._letter(message)
                positions[number] = message.offset() + 1
                if positions[number] >= ends[number]:
                    del ends[number]
        return positions

    def _letter(self, message: Any) -> None:
        self._did.seen += 1
        letter = take_apart(message)
        if letter is None:
            self._did.unreadable += 1
        elif self._wanted.error_class not in (None, letter.error_class):
            self._did.passed_over += 1
        else:
            self._send_back(letter)

    def _send_back(self, letter: Letter) -> None:
        key, value = letter.key, letter.value
        if letter.payload_mode is PayloadMode.METADATA_ONLY:
            original = self._original(letter)
            if original is None:
                self._did.gone += 1
                return
            key, value = original.key(), original.value()
        self._did.replayed[letter.topic, letter.error_class] += 1
        if not self._wanted.dry_run:
            self._produce(letter, key, value)

    def _produce(self, letter: Letter, key: bytes | None, value: bytes | None) -> None:
        """To the partition it came from: another client's partitioner may have chosen it."""
        still_there = letter.partition in self._metadata(letter.topic)
        partition = letter.partition if still_there else -1
        headers: list[tuple[str, str | bytes | None]] = list(letter.headers)
        self._producer.produce(letter.topic, value, key, partition, self._delivered, headers=headers)

    def _delivered(self, error: KafkaError | None, _: Any) -> None:
        self._refused = self._refused or error

    def _finish(self, positions: dict[int, int]) -> None:
        """Commit what was read once all that was sent is confirmed."""
        left = self._producer.flush(2 * _ANSWER_SECONDS)
        if self._refused is not None or left:
            raise KafkaException(self._refused or KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 - as above
        if positions and not self._wanted.dry_run:
            offsets = [TopicPartition(self._topic, number, offset) for number, offset in positions.items()]
            self._letters.commit(offsets=offsets, asynchronous=False)

    def _original(self, letter: Letter) -> Any:
        """Fetch a message by its place; None when retention or compaction took it."""
        place = TopicPartition(letter.topic, letter.partition, letter.offset)
        low, high = self._originals.get_watermark_offsets(place, timeout=_ANSWER_SECONDS)
        if not low <= letter.offset < high:
            return None
        self._originals.assign([place])
        found = self._originals.poll(_ANSWER_SECONDS)
        is_it = found is not None and found.error() is None and found.offset() == letter.offset
        return found if is_it else None

    def _metadata(self, topic: str) -> set[int]:
        if topic not in self._partitions_of:
            listed = self._letters.list_topics(timeout=_ANSWER_SECONDS).topics
            if topic not in listed:
                raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, f"there is no topic {topic!r}"))
            self._partitions_of[topic] = set(listed[topic].partitions)
        return self._partitions_of[topic]

    def _room(self) -> int:
        left = self._wanted.at_most - self._did.seen if self._wanted.at_most else _BATCH
        return max(min(left, _BATCH), 1)

    def _is_enough(self) -> bool:
        return bool(self._wanted.at_most) and self._did.seen >= self._wanted.at_most


def _text(value: bytes | None) -> str:
    return (value or b"").decode()
