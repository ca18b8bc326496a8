"""Before the group is joined: can a broker be reached, does it let us in, do the topics exist.

Waits for brokers as long as it takes, with `problem` set and a line in the log: a consumer that starts before its
broker should not crash-loop. What only a change of settings can mend raises StartFailure at once.
"""

import time
from collections.abc import Callable

import structlog
from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from consumer_runtime.contract.settings import KafkaSettings
from consumer_runtime.contract.state import StartError, StartReason
from consumer_runtime.errors import StartFailure
from consumer_runtime.sources.problems import problem, reason_of

_TRY_SECONDS = 5.0
_PAUSE_SECONDS = 1.0
_DEFINITE = (StartReason.AUTHENTICATION_FAILED, StartReason.AUTHORIZATION_FAILED, StartReason.TOPIC_NOT_FOUND)

_log = structlog.get_logger(__name__)


class Preflight:
    """Asks the broker about topics until it answers, or `is_stopping` says so."""

    def __init__(
        self,
        admin: AdminClient,
        settings: KafkaSettings,
        *,
        refused_login: Callable[[AdminClient], StartError | None],
        report: Callable[[StartError | None], None],
        is_stopping: Callable[[], bool],
    ) -> None:
        """`refused_login` serves a client's callbacks and says what they heard; `report` takes the problem, or None."""
        self._admin = admin
        self._settings = settings
        self._refused_login = refused_login
        self._report = report
        self._is_stopping = is_stopping

    def require_topics(self, topics: list[str], *, missing: StartReason, field: str) -> None:
        """Return when all topics exist, or when stopping. Raises StartFailure for one that does not.

        With no topics to name (a pattern), it only waits for a broker.
        """
        while not self._is_stopping():
            found = self._ask(topics)
            if found is None:
                self._report(None)
                return
            if found.reason is StartReason.TOPIC_NOT_FOUND:
                found = found.model_copy(update={"reason": missing, "field": field})
                raise StartFailure(found)
            if found.reason in _DEFINITE:
                raise StartFailure(found)
            self._report(found)
            _log.error("waiting for Kafka", reason=found.reason.value, field=found.field, value=found.value)
            time.sleep(_PAUSE_SECONDS)

    def _ask(self, topics: list[str]) -> StartError | None:
        """Look at the list first, which the embedded Kafka answers too; only the question about one topic says why not.

        Without leave to describe a topic a broker leaves it out of the list.
        """
        try:
            listed = self._admin.list_topics(timeout=_TRY_SECONDS).topics
            unlisted = [topic for topic in topics if topic not in listed]
            if not unlisted:
                return None
            described = self._admin.describe_topics(TopicCollection(unlisted), request_timeout=_TRY_SECONDS)
        except KafkaException as error:
            return self._problem(error)
        for topic, future in described.items():
            try:
                future.result(2 * _TRY_SECONDS)
            except KafkaException as error:
                return self._problem(error, topic)
        return None

    def _problem(self, error: KafkaException, topic: str = "") -> StartError:
        """Prefer what the client heard of the login: the request itself only says that its time was up."""
        heard = self._refused_login(self._admin)
        if heard is not None:
            return heard
        kafka_error = error.args[0]
        about_topic = reason_of(kafka_error) in (StartReason.TOPIC_NOT_FOUND, StartReason.AUTHORIZATION_FAILED)
        return problem(kafka_error, self._settings, value=topic if about_topic else "")
