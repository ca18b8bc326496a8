"""The runtime as a program: settings file, handler, consumer, pages, watch and signals put together.

Not here: the command line (`__main__`), the data plane (`consume`), what each part does.
"""

import signal
import sys
from pathlib import Path
from types import FrameType

import structlog

from consumer_runtime import health, logs, secrets, settings_file
from consumer_runtime.aftermath import Aftermath
from consumer_runtime.consumer import ParallelConsumer, reference_of
from consumer_runtime.contract import pod
from consumer_runtime.contract.settings import DeadLetterSettings, LogLevel, RuntimeSettings
from consumer_runtime.contract.state import RuntimeState, StartReason
from consumer_runtime.errors import StartFailure
from consumer_runtime.handler import Handler, refer
from consumer_runtime.http_server import HttpServer
from consumer_runtime.reload import SettingsWatch
from consumer_runtime.settings_file import SettingsRejectedError
from consumer_runtime.sources.properties import require_accepted
from consumer_runtime.sources.until import Until

_log = structlog.get_logger(__name__)


def load_settings(path: Path) -> RuntimeSettings:
    """Return what the file states, without secrets. Raises StartFailure (InvalidSettings).

    From then on the user's modules are looked for in the mounted folder and the working directory first.
    """
    for folder in (str(Path.cwd()), pod.HANDLER_DIRECTORY):
        if folder not in sys.path and Path(folder).is_dir():
            sys.path.insert(0, folder)
    try:
        return settings_file.read(path)
    except SettingsRejectedError as error:
        raise error.start_failure() from error


def load_settings_with_secrets(path: Path) -> RuntimeSettings:
    """Return what the file states and what is mounted. Raises StartFailure (InvalidSettings)."""
    return _with_secrets(load_settings(path))


def load_handler(settings: RuntimeSettings) -> Handler:
    """Import the user's handler. Raises StartFailure."""
    if settings.handler is None:
        raise StartFailure.because(
            StartReason.INVALID_SETTINGS,
            field="spec.handler.entrypoint",
            value="",
            remedy="is needed and missing: package.module:function",
        )
    return refer(reference_of(settings.handler))


def check(path: Path) -> Handler:
    """Return the handler of a settings file with which one could begin; nothing connects. Raises StartFailure."""
    settings = load_settings(path)
    handler = load_handler(settings)
    without_producer = settings.model_copy(update={"dead_letter": DeadLetterSettings()})
    ParallelConsumer(without_producer, handler)
    require_accepted(settings.source.kafka)
    return handler


def run(path: Path) -> None:
    """Consume until SIGTERM or SIGINT. Raises StartFailure when it cannot begin, or cannot go on."""
    logs.configure(LogLevel.INFO)
    stated = load_settings(path)
    logs.set_level(stated.log_level)
    settings = _with_secrets(stated)
    consumer = ParallelConsumer(settings, load_handler(settings), aftermath=Aftermath.of_environment())
    program = _Program(path, stated, consumer)
    program.run()


def run_until(path: Path, settings: RuntimeSettings, until: Until) -> None:
    """Consume as `run` does, with settings that have their secrets, until all before `until` is finished."""
    consumer = ParallelConsumer(settings, load_handler(settings), until=until)
    _Program(path, load_settings(path), consumer, port=settings.http.port).run()


def _with_secrets(stated: RuntimeSettings) -> RuntimeSettings:
    try:
        return secrets.with_secrets(stated, secrets.directory())
    except (OSError, UnicodeDecodeError) as error:
        raise StartFailure.because(
            StartReason.INVALID_SETTINGS,
            field="spec.source.kafka.credentialsSecretRef",
            value=str(secrets.directory()),
            remedy=f"a mounted secret cannot be read: {error}",
        ) from error


class _Program:
    """Everything around one consumer, for as long as it runs."""

    def __init__(
        self, path: Path, stated: RuntimeSettings, consumer: ParallelConsumer, *, port: int | None = None
    ) -> None:
        self._consumer = consumer
        self._watch = SettingsWatch(path, stated, self, on_rejected=self._set_rejected)
        routes = health.routes(state=self.state, snapshot=consumer.statistics.snapshot)
        http = stated.http if port is None else stated.http.model_copy(update={"port": port})
        self._http = HttpServer(http, routes)

    def run(self) -> None:
        self._http.start()
        self._watch.start()
        _log.info("serving", port=self._http.port, pages=["/metrics", "/healthz", "/readyz", "/startupz", "/state"])
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        try:
            self._consumer.run()
        finally:
            self._watch.stop()
            self._http.stop()

    def state(self) -> RuntimeState:
        """Return the consumer's state with what is wrong with the settings file."""
        return self._consumer.state().model_copy(update={"rejected": self._watch.rejected})

    def apply(self, settings: RuntimeSettings) -> None:
        """Bring new settings into force; the source stays as it is in force, with the secrets it was given at start."""
        logs.set_level(settings.log_level)
        self._consumer.apply(settings.model_copy(update={"source": self._consumer.settings.source}))

    def _set_rejected(self, rejected: bool) -> None:  # noqa: FBT001 - a callback of one flag
        self._consumer.statistics.config_rejected = rejected

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        """Also what makes it safe as PID 1, for which the kernel ignores signals without a handler."""
        _log.info("stopping: admitted work is finished first", signal=signal.Signals(number).name)
        self._consumer.stop()
