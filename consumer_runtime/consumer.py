"""The library's front door: settings and a handler in, a running consumer out.

Puts the parts together and nothing more. Not here: the command line, HTTP, watching the settings file.
"""

import threading
from collections.abc import Callable
from typing import Any, Self

import structlog

from consumer_runtime.aftermath import Aftermath
from consumer_runtime.consume import ControlLoop
from consumer_runtime.contract.settings import ExecutionSettings, HandlerSettings, Mode, RuntimeSettings, ValueFormat
from consumer_runtime.contract.state import Phase, RuntimeState, StartError, StartReason
from consumer_runtime.dead_letter import DeadLetters
from consumer_runtime.engines.async_ import AsyncEngine
from consumer_runtime.engines.auto import AutoEngine, Choice
from consumer_runtime.engines.engine import Engine
from consumer_runtime.engines.process import ProcessEngine
from consumer_runtime.engines.single import SingleEngine
from consumer_runtime.engines.thread import ThreadEngine
from consumer_runtime.errors import ConsumerError, StartFailure
from consumer_runtime.garbage import collected_in_larger_steps
from consumer_runtime.handler import Handler, Reference, refer, wrap
from consumer_runtime.handler_options import Options, with_options
from consumer_runtime.profile_workers import with_workers
from consumer_runtime.sources.kafka import KafkaSource
from consumer_runtime.sources.properties import portable_properties
from consumer_runtime.sources.until import Until
from consumer_runtime.statistics import Statistics

_log = structlog.get_logger(__name__)

_DEFAULT_MAX_POLL_INTERVAL_MS = 300_000
_RESULTS_FIELD = "spec.results.topic"
_DEAD_LETTER_FIELD = "spec.deadLetter.topic"


class ParallelConsumer:
    """Consumes topics as one member of a group, and runs a handler over many messages at once.

        consumer = ParallelConsumer(settings, handle)
        signal.signal(signal.SIGTERM, lambda *_: consumer.stop())
        consumer.run()  # until stop(), from a signal handler or another thread

    Or beside other work, in a thread of its own; leaving the block stops it in the same good order:

        with ParallelConsumer(settings, handle) as consumer:
            consumer.wait()  # or anything else; Ctrl-C leaves the block, too

    One consumer runs once. `statistics.snapshot()` and `state()` tell how it goes.
    """

    def __init__(
        self,
        settings: RuntimeSettings,
        handler: Handler | Callable[[Any], Any] | type | None = None,
        *,
        statistics: Statistics | None = None,
        aftermath: Aftermath | None = None,
        until: Until | None = None,
    ) -> None:
        """Take a handler, or None for the one that the settings name; and how to begin after a crash (the program's).

        With `until` the run ends by itself once all before it is finished (`backfill`).

        Raises StartFailure: for an unsuitable handler, a refused property, a retry policy's class that does not exist.
        """
        _require_settings(settings)
        settings = with_workers(settings)
        self._thread: threading.Thread | None = None
        self._ended_by: BaseException | None = None
        self.statistics = statistics or Statistics()
        self._source = KafkaSource(
            settings.source.kafka,
            self.statistics,
            is_stopping=lambda: self._loop.is_stopping,
            until=until,
            on_done=self.stop,
        )
        self._engine, self._mode, self._mode_reason = _engine(
            with_options(_handler(settings, handler), _options(settings)), settings
        )
        self._loop = ControlLoop(
            settings,
            source=self._source,
            engine=self._engine,
            dead_letters=DeadLetters(settings.source.kafka, settings.dead_letter, self.statistics),
            statistics=self.statistics,
            before_start=self._require_topics_written_to,
            aftermath=aftermath,
        )

    @property
    def settings(self) -> RuntimeSettings:
        """The settings in force."""
        return self._loop.settings

    @property
    def problem(self) -> StartError | None:
        """Why the consumer cannot do its work at present, such as that no broker answers; None while all is well."""
        return self._source.problem

    def run(self) -> None:
        """Consume until `stop`; then drain for `shutdown_grace_seconds`, commit and leave the group.

        While no broker answers it keeps trying, with `problem` set. Raises StartFailure for what only a change mends:
        a missing topic, refused credentials or access, a handler that hangs.
        """
        if self._loop.phase is not Phase.STARTING:
            raise ConsumerError("a consumer runs once: make another one")
        with collected_in_larger_steps():
            self._loop.run()

    def __enter__(self) -> Self:
        """Run in a thread of its own."""
        self._thread = threading.Thread(target=self._run_in_thread, name="parallel-consumer", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Stop, and wait for the end; raises what ended it, unless the block itself raises."""
        self.stop()
        if kind is None:
            self.wait()
        elif self._thread is not None:
            self._thread.join()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the end of what `with` began, for so long at most; return whether it has ended.

        Raises what ended it, such as StartFailure.
        """
        if self._thread is None:
            raise ConsumerError("there is nothing to wait for: begin with `with ParallelConsumer(...) as consumer:`")
        self._thread.join(seconds)
        if self._ended_by is not None:
            raise self._ended_by
        return not self._thread.is_alive()

    def _run_in_thread(self) -> None:
        try:
            self.run()
        except BaseException as error:  # noqa: BLE001 - raised by `wait`, in the caller's thread
            self._ended_by = error

    def stop(self) -> None:
        """Ask `run` to end; returns at once. Safe from any thread and from signal handlers."""
        self._loop.stop()

    def apply(self, settings: RuntimeSettings) -> None:
        """Bring the hot settings (knobs, retry) into force while running; returns when they are.

        Settings that need a restart must be those in force. Raises StartFailure, and TimeoutError after 5 s.
        """
        self._loop.apply(with_workers(settings))

    def state(self) -> RuntimeState:
        """Return what the runtime says of itself. Safe from any thread."""
        statistics = self.statistics
        return RuntimeState(
            phase=self._loop.phase,
            config_generation=statistics.config_generation,
            problem=self.problem if self._loop.phase is not Phase.STOPPED else None,
            mode=self._chosen.mode if self._chosen else self._mode,
            knobs=statistics.knobs,
            assigned_partitions=len(self._source.assignments),
            in_flight=statistics.in_flight,
            mode_reason=self._engine.mode_reason if isinstance(self._engine, AutoEngine) else self._mode_reason,
        )

    @property
    def _chosen(self) -> Choice | None:
        return self._engine.choice if isinstance(self._engine, AutoEngine) else None

    def _require_topics_written_to(self) -> None:
        results = self._loop.settings.results
        if results is not None:
            self._source.preflight().require_topics(
                [results.topic], missing=StartReason.TOPIC_NOT_FOUND, field=_RESULTS_FIELD
            )
        dead_letter = self._loop.settings.dead_letter
        if dead_letter.enabled and dead_letter.topic:
            self._source.preflight().require_topics(
                [dead_letter.topic], missing=StartReason.DEAD_LETTER_TOPIC_NOT_FOUND, field=_DEAD_LETTER_FIELD
            )


def reference_of(handler: HandlerSettings) -> Reference:
    """Return what the settings say of the handler, as worker processes are told it too."""
    return Reference(
        entrypoint=handler.entrypoint,
        topics=tuple(handler.topics.items()),
        value_format=handler.value_format,
        log_context=handler.log_context,
    )


def _require_settings(settings: object) -> None:
    if not isinstance(settings, RuntimeSettings):
        raise StartFailure.because(
            StartReason.INVALID_SETTINGS,
            field="settings",
            value=f"{settings!r:.200}",
            remedy=f"is of type {type(settings).__name__}; give RuntimeSettings, such as RuntimeSettings.for_kafka("
            '"localhost:9092", topics="orders", consumer_group="shop")',
        )


def _handler(settings: RuntimeSettings, given: Handler | Callable[[Any], Any] | type | None) -> Handler:
    if isinstance(given, Handler):
        return given
    if given is not None:
        return wrap(given)
    if settings.handler is None:
        raise StartFailure.because(
            StartReason.HANDLER_NOT_FOUND,
            field="spec.handler.entrypoint",
            value="",
            remedy="name it, or pass a callable",
        )
    return refer(reference_of(settings.handler))


def _options(settings: RuntimeSettings) -> str:
    topic = settings.results.topic if settings.results is not None else ""
    return Options(
        results_topic=topic, client=portable_properties(settings.source.kafka), schema_registry=_registry(settings)
    ).text()


def _registry(settings: RuntimeSettings) -> dict[str, object]:
    """Return the arguments of the schema registry; empty when values are not to be decoded by it."""
    kafka, handler = settings.source.kafka, settings.handler
    registry = kafka.schema_registry
    if registry is None or (handler is not None and handler.value_format is not ValueFormat.SCHEMA_REGISTRY):
        return {}
    return {
        "url": registry.url,
        "username": registry.username,
        "password": registry.password.get_secret_value() if registry.password is not None else None,
        "credentials_location": registry.credentials_location,
        "ca_location": kafka.ca_location,
        "certificate_location": kafka.certificate_location,
        "key_location": kafka.key_location,
    }


def _engine(handler: Handler, settings: RuntimeSettings) -> tuple[Engine, Mode, str]:
    """Return the engine, its mode, and why it is that mode when the settings leave it to us."""
    mode = settings.execution.mode
    if mode is not Mode.AUTO:
        return _make(mode, handler, settings), mode, ""
    hint = handler.mode_hint
    if hint is not None:
        reason = f"{hint}: {handler.name} says so (`async def`, or a decorator)"
        _log.info("mode chosen", mode=hint.value, reason=reason)
        return _make(hint, handler, settings), hint, reason

    def make(chosen: Mode, its_handler: Handler) -> Engine:
        return _make(chosen, its_handler, settings)

    return AutoEngine(handler, settings.execution, make=make), mode, ""


def _make(mode: Mode, handler: Handler, settings: RuntimeSettings) -> Engine:
    execution: ExecutionSettings = settings.execution
    if mode is Mode.ASYNC:
        return AsyncEngine(handler, execution)
    if mode is Mode.THREAD:
        return ThreadEngine(handler, execution)
    if mode is Mode.PROCESS:
        return ProcessEngine(handler, execution)
    return SingleEngine(handler, execution, max_poll_interval_seconds=_max_poll_interval_ms(settings) / 1000)


def _max_poll_interval_ms(settings: RuntimeSettings) -> float:
    name = "max.poll.interval.ms"
    given = settings.source.kafka.properties.get(name, _DEFAULT_MAX_POLL_INTERVAL_MS)
    try:
        return float(given)
    except ValueError as error:
        raise StartFailure.because(
            StartReason.INVALID_SETTINGS,
            field=f"spec.source.kafka.properties.{name}",
            value=given,
            remedy="must be a number of milliseconds",
        ) from error
