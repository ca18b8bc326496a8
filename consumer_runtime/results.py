"""What a handler returns is produced to a topic, and confirmed by the brokers before the message counts as done.

Works in every mode, since it happens inside the handler's call: each process has one producer, made at first use. A
result that is refused is a failed attempt, so results come at least once. Not here: transactions.
"""

import asyncio
import functools
import json
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from confluent_kafka import KafkaException, Producer

from consumer_runtime.errors import ConsumerError, StartFailure
from consumer_runtime.handler import Handler
from consumer_runtime.sources.certificates import Certificates
from consumer_runtime.sources.credentials import Credentials
from consumer_runtime.sources.properties import CREDENTIALS, restored

_POLL_SECONDS = 0.1
_DEFAULTS = {
    "enable.idempotence": True,
    # Whoever waits for a confirmation pays for each millisecond; a little still makes batches under load.
    "linger.ms": 1,
    "message.timeout.ms": 30_000,
    # How long a topic may be unknown before it counts as missing: a new one reaches all brokers within a second or two.
    "topic.metadata.propagation.max.ms": 5_000,
    "log_level": 0,
}


class ResultsNotDeliveredError(ConsumerError):
    """The brokers did not take a result; the attempt counts as failed."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a handler may return; bytes alone are a value without a key."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    topic: str | None = None
    """None: the topic of the settings."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where results go: client properties as JSON, so that one producer serves all who state the same."""

    topic: str
    properties: str


def producing(handler: Handler, to: Destination) -> Handler:
    """Return the handler with its results produced and confirmed within its call."""
    another = functools.partial(_another, handler.another, to) if handler.another else None
    call = _producing_async(handler.call, to) if handler.is_async else _producing(handler.call, to)
    return replace(handler, call=call, another=another)


def results_of(returned: object) -> list[Result]:
    """Return what a handler's return value means. Raises TypeError for what cannot be a result."""
    if returned is None:
        return []
    if isinstance(returned, bytes):
        return [Result(returned)]
    if isinstance(returned, Result):
        return [returned]
    if isinstance(returned, list | tuple):
        return [result for each in returned for result in results_of(each)]
    raise TypeError(
        f"the handler returned a {type(returned).__name__}; with results on it returns bytes, Result or lists"
    )


def _another(another: Callable[[], Handler], to: Destination) -> Handler:
    return producing(another(), to)


def _producing(call: Callable[[Any], Any], to: Destination) -> Callable[[Any], Any]:
    @functools.wraps(call)
    def called(message: Any) -> None:
        if results := results_of(call(message)):
            _raise_if_refused(_producer(to.properties).send(results, to.topic).result())

    return called


def _producing_async(call: Callable[[Any], Awaitable[Any]], to: Destination) -> Callable[[Any], Awaitable[Any]]:
    @functools.wraps(call)
    async def called(message: Any) -> None:
        if results := results_of(await call(message)):
            sent = _producer(to.properties).send(results, to.topic)
            _raise_if_refused(await asyncio.wrap_future(sent))

    return called


def _raise_if_refused(reason: str | None) -> None:
    if reason is not None:
        raise ResultsNotDeliveredError(reason)


class _ConfirmingProducer:
    """A producer with a thread that serves its confirmations."""

    def __init__(self, properties: dict[str, Any]) -> None:
        self._properties = properties
        self._producer = self._made()
        location = properties.get(CREDENTIALS)
        self._certificates = Certificates(properties, credentials_location=location)
        self._credentials = Credentials(properties, location)
        self._old: list[Any] = []
        """Clients with certificates of before, until their last confirmation."""
        threading.Thread(target=self._serve, name="results", daemon=True).start()

    def send(self, results: list[Result], topic: str) -> "Future[str | None]":
        """Return a future of why they were refused, None once all are confirmed."""
        waiting = _Confirmations(len(results))
        for result in results:
            self._send(result, topic, waiting)
        return waiting.future

    def _send(self, result: Result, topic: str, waiting: "_Confirmations") -> None:
        try:
            self._producer.produce(
                result.topic or topic, result.value, result.key, -1, waiting.one, headers=list(result.headers)
            )
        except (BufferError, KafkaException) as error:
            waiting.one(error, None)

    def _serve(self) -> None:
        while True:
            self._producer.poll(_POLL_SECONDS)
            self._old = [old for old in self._old if old.flush(0)]
            now = time.monotonic()
            self._credentials.renew([self._producer, *self._old], now)
            if self._certificates.changed(now):
                self._renew()

    def _made(self) -> Producer:
        return Producer(_DEFAULTS | restored(self._properties))

    def _renew(self) -> None:
        """From now on results go through a client that has read the new certificates."""
        try:
            renewed = self._made()
        except (KafkaException, StartFailure):  # certificate and key come one by one
            self._certificates.forget()
            return
        self._old.append(self._producer)
        self._producer = renewed


class _Confirmations:
    """Waits for the answers about one call's results."""

    def __init__(self, count: int) -> None:
        self.future: Future[str | None] = Future()
        self._left = count
        self._refused: str | None = None
        self._lock = threading.Lock()

    def one(self, error: object, _: Any) -> None:
        with self._lock:
            self._left -= 1
            if error is not None:
                self._refused = f"a result was not taken: {error}"
            is_last = self._left == 0
        if is_last and not self.future.cancelled():
            self.future.set_result(self._refused)


_making = threading.Lock()
_made: dict[str, _ConfirmingProducer] = {}


def _producer(properties: str) -> _ConfirmingProducer:
    """One for each process: a fork of a handler's would not survive, and a thread pool needs no more."""
    with _making:
        if properties not in _made:
            _made[properties] = _ConfirmingProducer(json.loads(properties))
        return _made[properties]
