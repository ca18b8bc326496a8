"""Dead letters: published with all that is known of the failure, and held until the broker confirms them.

A refused or lost publication is tried again, for as long as it takes: the message's offset is not finished before. Not
here: when a message becomes a dead letter (`settle`).
"""

from collections import deque
from dataclasses import dataclass
from functools import partial

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as Delivered

from consumer_runtime.contract.metrics import DeadLetterOutcome
from consumer_runtime.contract.settings import DeadLetterSettings, KafkaSettings, PayloadMode
from consumer_runtime.errors import StartFailure
from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.message import FailureHistory, Message
from consumer_runtime.sources.certificates import Certificates
from consumer_runtime.sources.credentials import Credentials
from consumer_runtime.sources.properties import Properties, client_properties, made
from consumer_runtime.statistics import Statistics

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_LAST_WORDS_SECONDS = 1.0
_DELIVERED_WITHIN_MS = 10_000
"""Then it counts as failed, is told and tried again: the client itself would go on trying without a word."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Held:
    """One message that is to become a dead letter."""

    message: Message
    payload_mode: PayloadMode
    attempts: int = 0
    due_at: float = 0.0


class DeadLetters:
    """Publishes to one topic; every method is called by the control thread, and so are the delivery callbacks."""

    def __init__(self, kafka: KafkaSettings, settings: DeadLetterSettings, statistics: Statistics) -> None:
        self._settings = settings
        self._topic = settings.topic or ""
        self._statistics = statistics
        self._kafka = kafka
        properties = _properties(kafka)
        self._producer = made(Producer, properties) if settings.enabled else None
        self._certificates = Certificates(properties, credentials_location=kafka.credentials_location)
        self._credentials = Credentials(properties, kafka.credentials_location)
        self._held: dict[_Held, None] = {}
        self._waiting: deque[_Held] = deque()
        self._delivered: list[Message] = []
        self._now = 0.0

    def apply(self, settings: DeadLetterSettings) -> None:
        """Take a new payload mode, for messages from now on; enabled and topic need a restart."""
        self._settings = settings

    @property
    def is_enabled(self) -> bool:
        """Whether there is a topic for them; if not, exhausted messages are skipped."""
        return self._producer is not None

    def __len__(self) -> int:
        return len(self._held)

    def messages(self) -> list[Message]:
        """Return what is held until it is confirmed."""
        return [held.message for held in self._held] + self._delivered

    def publish(self, message: Message, now: float) -> None:
        """Take a message; it comes back from `tick` once its dead letter is confirmed."""
        self._now = now
        self._look_at_files(self._producer)
        held = _Held(message, self._settings.payload_mode)
        self._held[held] = None
        self._produce(held)

    def tick(self, now: float) -> list[Message]:
        """Serve callbacks, try again what is due, and return what was confirmed."""
        if self._producer is None or not self._held:
            return []
        self._now = now
        self._look_at_files(self._producer)
        self._producer.poll(0)
        for _ in range(len(self._waiting)):
            held = self._waiting.popleft()
            if held.due_at <= now:
                self._produce(held)
            else:
                self._waiting.append(held)
        delivered, self._delivered = self._delivered, []
        return delivered

    def drop(self, assignment: PartitionOffsets) -> list[Message]:
        """Forget the messages of a partition that is given up, and return them: its next owner publishes them again."""
        dropped = [held.message for held in self._held if held.message.assignment is assignment]
        self._held = {held: None for held in self._held if held.message.assignment is not assignment}
        self._waiting = deque(held for held in self._waiting if held in self._held)
        return dropped

    def close(self, seconds: float) -> None:
        """Send what is on its way, within `seconds`."""
        if self._producer is not None:
            self._producer.flush(seconds)

    def _look_at_files(self, producer: Producer | None) -> None:
        if producer is not None:
            self._credentials.renew([producer], self._now)
        if self._certificates.changed(self._now):
            self._renew()

    def _renew(self) -> None:
        """Take a client that has read the new certificates; what the old one does not get confirmed is sent again."""
        try:
            producer = Producer(_properties(self._kafka))
        except (KafkaException, StartFailure) as error:
            _log.warning("new certificates cannot be used yet", error=str(error))
            self._certificates.forget()
            return
        self.close(_LAST_WORDS_SECONDS)
        for held in self._held:
            held.due_at = self._now
        self._waiting = deque(self._held)
        self._producer = producer

    def _produce(self, held: _Held) -> None:
        if self._producer is None:
            return
        held.attempts += 1
        full = held.payload_mode is PayloadMode.FULL
        try:
            self._producer.produce(
                self._topic,
                key=held.message.key if full else None,
                value=held.message.value if full else None,
                headers=headers(held.message, held.payload_mode),
                on_delivery=partial(self._answered, held),
            )
        except BufferError:
            self._again(held, "the producer's queue is full")
        except KafkaException as error:
            self._failed(held, error.args[0])

    def _answered(self, held: _Held, error: KafkaError | None, _delivered: Delivered) -> None:
        if held not in self._held:  # given up at a rebalance
            return
        if error is not None:
            self._failed(held, error)
            return
        self._statistics.dead_letters[DeadLetterOutcome.DELIVERED] += 1
        del self._held[held]
        self._delivered.append(held.message)

    def _failed(self, held: _Held, error: KafkaError) -> None:
        self._statistics.dead_letters[DeadLetterOutcome.FAILED] += 1
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE and held.payload_mode is PayloadMode.FULL:
            held.payload_mode = PayloadMode.METADATA_ONLY  # else it would be held for ever
        self._again(held, f"{error.name()}: {error.str()}")

    def _again(self, held: _Held, reason: str) -> None:
        pause = min(_FIRST_PAUSE_SECONDS * 2 ** min(held.attempts - 1, 16), _LONGEST_PAUSE_SECONDS)
        held.due_at = self._now + pause
        self._waiting.append(held)
        message = held.message
        _log.error(
            "DLQ publish failed", topic=self._topic, reason=reason, attempt=held.attempts, again_in_seconds=pause,
            source=f"{message.topic}[{message.partition}]@{message.offset}",
        )  # fmt: skip


def headers(message: Message, payload_mode: PayloadMode) -> list[tuple[str, str | bytes | None]]:
    """Return the original headers, then ours; times are seconds since the epoch, `timestamp` is the message's own."""
    history = message.history or FailureHistory(first_at=0.0, last_at=0.0, error_class="", error_text="")
    epoch = message.assignment.epoch if message.assignment is not None else 0
    ours = {
        "x-error-reason": history.error_text,
        "x-error-class": history.error_class,
        "x-retry-attempt": message.attempt,
        "x-first-failure": f"{history.first_at:.3f}",
        "x-last-failure": f"{history.last_at:.3f}",
        "x-payload-mode": payload_mode.value,
        "source-topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "timestamp": message.timestamp,
        "epoch": epoch,
    }
    return [*message.headers, *((name, str(value).encode()) for name, value in ours.items())]


def _properties(kafka: KafkaSettings) -> Properties:
    return client_properties(kafka) | {
        # A topic made again knows nothing of the sequence numbers of an idempotent producer, which begin anew: a letter
        # can be taken for the repeat of another and be confirmed unwritten. Without them it may come twice instead.
        "enable.idempotence": False,
        "acks": "all",
        "linger.ms": 5,
        "message.timeout.ms": _DELIVERED_WITHIN_MS,
        # As large as librdkafka allows: what the broker refuses is told by the broker.
        "message.max.bytes": 1_000_000_000,
        # Raw lines on standard error are no structured log; each delivery says how it failed.
        "log_level": 0,
    }
