"""Kafka as a source: the only place that makes and polls a consumer, and the owner of the ledger.

One thread calls everything here. Not here: commits (`commits`), coming and going of partitions (`rebalance`), checks
before the start (`preflight`), the end of the log (`end_offsets`), properties (`properties`).
"""

import json
import time
from collections.abc import Callable
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage
from confluent_kafka.admin import AdminClient

from consumer_runtime.contract.properties import is_kip_848
from consumer_runtime.contract.settings import KafkaSettings
from consumer_runtime.contract.state import StartError, StartReason
from consumer_runtime.errors import StartFailure
from consumer_runtime.event_log import Event, EventLog
from consumer_runtime.ledger import codec
from consumer_runtime.ledger.offsets import SPAN_AT_MOST, PartitionOffsets
from consumer_runtime.message import Message
from consumer_runtime.sources.certificates import Certificates
from consumer_runtime.sources.client_log import ClientLog
from consumer_runtime.sources.commits import Commits
from consumer_runtime.sources.coordinator import Coordinator, session_seconds
from consumer_runtime.sources.credentials import Credentials
from consumer_runtime.sources.end_offsets import EndOffsets, tell_deleted
from consumer_runtime.sources.leaving import leave
from consumer_runtime.sources.preflight import Preflight
from consumer_runtime.sources.problems import is_over, problem, reason_of, silent_coordinator
from consumer_runtime.sources.properties import (
    Properties,
    client_properties,
    consumer_properties,
    invalid_property,
    is_incremental,
    made,
)
from consumer_runtime.sources.rebalance import Rebalance
from consumer_runtime.sources.source import Fetched, Listener, Run
from consumer_runtime.sources.stall import STALLED_AFTER_SECONDS, StallWatch, fetch_anew
from consumer_runtime.sources.until import Until
from consumer_runtime.statistics import Statistics

_TOPICS_FIELD = "spec.source.kafka.topics"
_NARROW_CHARACTERS = codec.TEXT_CHARACTERS_AT_MOST * codec.NARROW_ABOVE_PERCENT // 100
_LOG_EVERY_SECONDS = 10.0
_FINAL = (KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.FENCED_INSTANCE_ID, KafkaError._FATAL)  # noqa: SLF001
_NO_OFFSET = (KafkaError._NO_OFFSET, KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)  # noqa: SLF001

_log = structlog.get_logger(__name__)


class KafkaSource:
    """A member of a consumer group, with the ledger of each partition that it holds."""

    def __init__(
        self,
        settings: KafkaSettings,
        statistics: Statistics,
        *,
        is_stopping: Callable[[], bool] = lambda: False,
        until: Until | None = None,
        on_done: Callable[[], None] = lambda: None,
    ) -> None:
        """Translate settings; raises StartFailure (InvalidSettings) for a property that is refused.

        With `until` nothing is taken beyond it, and `on_done` is called when all before it is finished.
        """
        self._until = until
        self._on_done = on_done
        self.problem: StartError | None = None
        self.assignments: dict[tuple[str, int], PartitionOffsets] = {}
        self._settings = settings
        self._statistics = statistics
        self._is_stopping = is_stopping
        self._properties = consumer_properties(settings)
        self._events = EventLog.of_environment()
        self._commits = Commits(statistics, self._events)
        self._refused_login: StartError | None = None
        self._logged_at: dict[int, float] = {}
        self._problem_at = 0.0
        self._earliest: dict[tuple[str, int], int] = {}
        self._only_topic = settings.topics[0] if len(settings.topics) == 1 else None
        self._paused: set[PartitionOffsets] = set()
        self._stalls = StallWatch()
        self._certificates = Certificates(self._properties, credentials_location=settings.credentials_location)
        self._credentials = Credentials(self._properties, settings.credentials_location)
        self._coordinator = Coordinator(float("inf"), 0)
        self._consumer: Consumer | None = None
        self._admin: AdminClient | None = None
        self._rebalance: Rebalance | None = None
        self._end_offsets: EndOffsets | None = None

    def start(self, listener: Listener) -> None:
        """Wait for a broker, check the topics, join the group."""
        consumer, admin = self._clients()
        self._consumer = consumer
        self.preflight(admin).require_topics(
            self._settings.topics, missing=StartReason.TOPIC_NOT_FOUND, field=_TOPICS_FIELD
        )
        self._rebalance = Rebalance(
            commits=self._commits,
            statistics=self._statistics,
            listener=listener,
            reset=self._settings.auto_offset_reset,
            incremental=is_incremental(self._properties),
            events=self._events,
        )
        self.assignments = self._rebalance.assignments
        if is_kip_848(self._properties):
            session = session_seconds(admin, self._settings.consumer_group)
            self._coordinator = Coordinator(session, int(self._properties["statistics.interval.ms"]) / 1000)
        self._join(self._rebalance, consumer, admin)

    def _join(self, rebalance: Rebalance, consumer: Consumer, admin: AdminClient) -> None:
        committed_only = self._properties.get("isolation.level", "read_committed") == "read_committed"
        self._admin = admin
        self._end_offsets = EndOffsets(admin, lambda: tuple(self.assignments), is_committed_only=committed_only)
        self._end_offsets.start()
        rebalance.on_change = self._assigned
        topics = [self._settings.topic_pattern] if self._settings.topic_pattern else self._settings.topics
        consumer.subscribe(topics, on_assign=rebalance.assign, on_revoke=rebalance.revoke, on_lost=rebalance.lose)

    def _assigned(self) -> None:
        if self._end_offsets is not None:
            self._end_offsets.ask_soon()
        self._coordinator.answered()

    @property
    def may_begin(self) -> bool:
        """Whether messages may be begun: not once the group may have given all partitions to others."""
        return not self._coordinator.is_silent

    def preflight(self, admin: AdminClient | None = None) -> Preflight:
        """Return checks against this source's brokers."""
        return Preflight(
            admin or made(AdminClient, self._admin_properties() | {"log_level": 0}),  # each request says how it failed
            self._settings,
            refused_login=self._serve_callbacks,
            report=self._report,
            is_stopping=self._is_stopping,
        )

    def _serve_callbacks(self, admin: AdminClient) -> StartError | None:
        """Return how a broker refused the login, if one did: a request itself only says that its time was up."""
        admin.poll(0)
        if self._consumer is not None:
            self._consumer.poll(0)
        return self._refused_login

    def poll(self, count: int, timeout_seconds: float) -> Fetched:
        """Return what is there; `consume(N, t)` would wait the whole `t` unless N are ready, so it gets none."""
        consumer = self._require_consumer()
        try:
            raw: list[Any] = consumer.consume(count, 0)
            if not raw and timeout_seconds > 0:
                first = consumer.poll(timeout_seconds)
                raw = [] if first is None else [first, *consumer.consume(count, 0)]
        except KafkaException as error:
            raise StartFailure(problem(error.args[0], self._settings)) from error
        return self._fetched(raw) if raw else Fetched()

    def acknowledge(self, assignment: PartitionOffsets, messages: list[Message]) -> None:
        """Mark messages as finished in the ledger of their assignment."""
        assignment.finish_each([message.offset for message in messages])

    def acknowledge_run(self, run: Run) -> None:
        """Mark a run as finished: one slice when its offsets have no holes."""
        first, last = run.messages[0].offset, run.messages[-1].offset
        if last - first + 1 == len(run.messages):
            run.assignment.finish_run(first, len(run.messages))
        else:
            self.acknowledge(run.assignment, run.messages)

    def pause(self, assignments: list[PartitionOffsets]) -> None:
        """Pause partitions (0.5 ms: it throws the prefetch away)."""
        self._require_consumer().pause(_partitions(assignments))
        self._paused = {each for each in (*self._paused, *assignments) if each.is_open}

    def resume(self, assignments: list[PartitionOffsets]) -> None:
        """Resume partitions (0.03 ms)."""
        self._require_consumer().resume(_partitions(assignments))
        self._paused.difference_update(assignments)

    def tick(self, now: float) -> None:
        """Commit what is due, fetch anew what stalls, and see whether a problem is over."""
        consumer = self._require_consumer()
        self._commits.tick(consumer, self.assignments.values(), now)
        if self._until is not None and self._until.is_done(self.assignments.values()):
            self._on_done()
        if self._end_offsets is None:
            return
        if self.problem is not None and is_over(self.problem, self._problem_at, self._end_offsets.answered_at, now):
            _log.info("problem over", reason=self.problem.reason.value)
            self._report(None)
        if self._end_offsets.earliest is not self._earliest:
            self._earliest = self._end_offsets.earliest
            tell_deleted(self.assignments.values(), self._earliest)
        if now - self._end_offsets.answered_at < STALLED_AFTER_SECONDS:
            fetched = (each for each in self.assignments.values() if each not in self._paused)
            for each in self._stalls.stalled(fetched, self._end_offsets.latest, now):
                fetch_anew(consumer, each)
        self._credentials.renew((consumer, self._admin), now)
        if self._rebalance is not None and self._certificates.changed(now):
            self._renew(self._rebalance, now)

    def _renew(self, rebalance: Rebalance, now: float) -> None:
        """Join again with a client that has read the new certificates, as after an orderly revoke.

        Static members keep their partitions by that, and dynamic ones cost the group a rebalance.
        """
        try:
            self._properties = consumer_properties(self._settings)
            consumer, admin = self._clients()
        except StartFailure as failure:
            _log.warning("new certificates cannot be used yet", error=failure.error.remedy)
            self._certificates.forget()
            return
        _log.info("certificates changed: the group is joined with them")
        held = [TopicPartition(*each) for each in self.assignments]
        rebalance.revoke(self._require_consumer(), held)
        self.close(now)
        rebalance.is_closing = False
        self._consumer = consumer
        self._join(rebalance, consumer, admin)

    def committed(self, assignment: PartitionOffsets) -> int:
        """Return the acknowledged offset, or where the assignment began."""
        committed = self._commits.watermark(assignment)
        return committed if committed >= 0 else assignment.start

    def end_offset(self, assignment: PartitionOffsets) -> int | None:
        """Return the end offset as of the last answer, at most about 5 s old while brokers answer."""
        if self._end_offsets is None:
            return None
        return self._end_offsets.latest.get((assignment.topic, assignment.partition))

    def metadata_bytes(self, assignment: PartitionOffsets) -> int:
        """Return the characters of the last offset map; each is a byte."""
        return self._commits.metadata_characters(assignment)

    def is_narrow(self, assignment: PartitionOffsets) -> bool:
        """Return whether the map fills three quarters of its room, or the ledger its span.

        Not before everything that a restored map speaks of has arrived: only that can shrink it.
        """
        if assignment.is_refilling:
            return False
        return self.metadata_bytes(assignment) > _NARROW_CHARACTERS or assignment.span >= SPAN_AT_MOST

    def close(self, now: float) -> None:
        """Commit and leave; revoke callbacks run in here and find nothing left to do."""
        if self._end_offsets is not None:
            self._end_offsets.stop()
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            leave(partial(self._say_goodbye, consumer, now))

    def _say_goodbye(self, consumer: Consumer, now: float) -> None:
        self._commits.commit_now(consumer, list(self.assignments.values()), now)
        if self._rebalance is not None:
            self._rebalance.is_closing = True
        consumer.close()

    def _clients(self) -> tuple[Consumer, AdminClient]:
        callbacks = {"on_commit": self._commits.answered, "error_cb": self._on_error, "stats_cb": self._on_statistics}
        try:
            consumer = Consumer(self._properties | callbacks, logger=ClientLog())
            admin = AdminClient(self._admin_properties(), logger=ClientLog())
        except (KafkaException, TypeError, ValueError) as error:
            if isinstance(error, KafkaException) and reason_of(error.args[0]) is StartReason.AUTHENTICATION_FAILED:
                raise StartFailure(problem(error.args[0], self._settings)) from error  # no token within 10 s
            raise invalid_property(error, self._properties) from error
        return consumer, admin

    def _admin_properties(self) -> Properties:
        return client_properties(self._settings) | {"error_cb": self._on_error}

    def _require_consumer(self) -> Consumer:
        if self._consumer is None:
            message = "the source is not started, or closed"
            raise RuntimeError(message)
        return self._consumer

    def _fetched(self, raw: list[Any]) -> Fetched:
        """Turn the client's messages into runs of one partition each. The hot path: loops that are comprehensions."""
        now = time.monotonic()
        fetched = Fetched(count=len(raw))
        topic, start = self._only_topic, 0
        if topic is not None:
            places: list[Any] = [each.partition() for each in raw]
        else:
            places = [(each.topic(), each.partition()) for each in raw]
        for place, group in groupby(places):
            end = start + len(list(group))
            self._end_run(fetched, *self._run(topic, place, raw[start:end], now))
            start = end
        return fetched

    def _run(
        self, only_topic: str | None, place: Any, raw: list[Any], now: float
    ) -> tuple[PartitionOffsets | None, list[Message]]:
        topic, partition = place if only_topic is None else (only_topic, place)
        events = [each for each in raw if each.error() is not None]
        if events:
            raw = [each for each in raw if each.error() is None]
            for each in events:
                self._on_event(each)
        if not raw:
            return None, []
        assignment = self._assignment(topic, partition, raw[0].offset())
        return assignment, [
            Message(
                topic, partition, each.offset(), each.key(), each.value(), each.headers() or (), each.timestamp()[1],
                assignment, now,
            )
            for each in raw
        ]  # fmt: skip

    def _end_run(self, fetched: Fetched, assignment: PartitionOffsets | None, messages: list[Message]) -> None:
        """Book a run as arrived, without what was finished before it came."""
        if assignment is not None and messages and self._until is not None:
            found, messages = len(messages), self._until.within(assignment, messages)
            if len(messages) < found:
                self.pause([assignment])
        if assignment is None or not messages:
            return
        first, last = messages[0].offset, messages[-1].offset
        if last - first + 1 == len(messages):
            is_new = assignment.arrive(first, len(messages))
        else:
            arrived = [assignment.arrive(each.offset, 1) for each in messages]
            is_new = all(arrived)
        if not is_new:
            messages = [each for each in messages if not assignment.is_finished(each.offset)]
        if messages:
            fetched.runs.append(Run(assignment, messages))

    def _assignment(self, topic: str, partition: int, offset: int) -> PartitionOffsets | None:
        rebalance = self._rebalance
        if rebalance is None:
            return None
        assignment = rebalance.first_message(topic, partition, offset)
        if assignment is not None and offset < assignment.arrived:
            return rebalance.restart(assignment, offset)
        return assignment

    def _on_event(self, event: KafkaMessage) -> None:
        error = event.error()
        if error is None or error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's own name
            return
        if error.code() == KafkaError._MAX_POLL_EXCEEDED:  # noqa: SLF001 - the client's own name
            self._events.record(Event.MAX_POLL_EXCEEDED)
        found = problem(error, self._settings, value=event.topic() or "")
        if error.code() in _FINAL or error.fatal():
            raise StartFailure(found)
        if error.code() in _NO_OFFSET:
            remedy = f"the group has no valid offset and auto_offset_reset is error: {error.str()}"
            raise StartFailure.because(
                StartReason.KAFKA_FAILED, field="spec.source.kafka.autoOffsetReset", value=event.topic(), remedy=remedy
            )
        self._report(found)
        _log.error("Kafka says", error=error.name(), text=error.str(), topic=event.topic())

    def _on_error(self, error: KafkaError) -> None:
        """Take what concerns the client as a whole; called inside `poll` of whichever client."""
        found, now = problem(error, self._settings), time.monotonic()
        if found.reason is StartReason.AUTHENTICATION_FAILED:
            self._refused_login = found
        if found.reason is not StartReason.KAFKA_FAILED and error.code() != KafkaError._TRANSPORT:  # noqa: SLF001
            self._report(found)
        if now - self._logged_at.get(error.code(), float("-inf")) >= _LOG_EVERY_SECONDS:
            self._logged_at[error.code()] = now
            _log.warning("Kafka client", error=error.name(), text=error.str())

    def _on_statistics(self, report: str) -> None:
        told = self._statistics.librdkafka = json.loads(report)
        self._coordinator.report(told)
        if not self.may_begin:
            self._report(silent_coordinator(self._settings))

    def _report(self, found: StartError | None) -> None:
        self.problem = found
        self._problem_at = time.monotonic()
        if found is not None and self._end_offsets is not None:
            self._end_offsets.doubt()


def _partitions(assignments: list[PartitionOffsets]) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for topic, partition in map(attrgetter("topic", "partition"), assignments)]
