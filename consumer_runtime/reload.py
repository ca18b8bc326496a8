"""Watches the settings file and hands each valid version to the running consumer; a bad one changes nothing.

Looks at the file's identity five times a second instead of waiting for inotify: a kubelet replaces a ConfigMap by
swapping the symlink `..data`, which each look sees through, and nodes run out of inotify instances before they run out
of `stat` calls. Not here: parsing (`settings_file`), and applying (the consumer's own).
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import structlog
from pydantic import BaseModel

from consumer_runtime import settings_file
from consumer_runtime.contract.knobs import Knobs, ProcessKnobs
from consumer_runtime.contract.settings import RuntimeSettings
from consumer_runtime.contract.state import RejectedSettings
from consumer_runtime.errors import StartFailure
from consumer_runtime.settings_file import SettingsRejectedError, field_path

LOOK_SECONDS = 0.2
_log = structlog.get_logger(__name__)
_Location = tuple[str | int, ...]


class Target(Protocol):
    """What new settings are handed to."""

    def apply(self, settings: RuntimeSettings) -> None:
        """Bring the hot settings into force; safe from any thread.

        Raises StartFailure when a value cannot be taken, TimeoutError when the consumer is too busy to answer.
        """


class SettingsWatch:
    """One daemon thread between a settings file and a consumer.

    `rejected` is why the file on disk is not in force, None while it is. `restart_needed` names the fields whose new
    values wait for a restart.
    """

    def __init__(
        self, path: Path, settings: RuntimeSettings, target: Target, *, on_rejected: Callable[[bool], None]
    ) -> None:
        """Take the settings that `path` held at start, without the mounted secrets; nothing runs before `start`."""
        self._path = path
        self._started_with = settings
        self._in_force = settings
        self._target = target
        self._on_rejected = on_rejected
        self._identity: tuple[int, ...] | None = None
        self._content: bytes | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="settings-watch", daemon=True)
        self.rejected: RejectedSettings | None = None
        self.restart_needed: tuple[str, ...] = ()

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; returns within a second."""
        self._stopped.set()
        self._thread.join(timeout=1.0)

    def look(self) -> None:
        """Take the file in if it changed since the last look. Never raises: what is wrong with it is told."""
        identity = _identity(self._path)
        if identity == self._identity:
            return
        self._identity = identity
        try:
            content = settings_file.read_bytes(self._path)
            if content == self._content:
                return
            self._content = content
            self._take(settings_file.parse(content))
        except SettingsRejectedError as error:
            self._refuse(error)

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            self.look()

    def _take(self, settings: RuntimeSettings) -> None:
        if settings == self._in_force:
            self._accept(settings)
            return
        self.restart_needed = restart_fields(self._started_with, settings)
        live = keep_restart_fields(self._started_with, settings)
        if not self._applied(live):
            return
        self._accept(settings)
        changes = {field_path(where): after for where, _, after in differences(self._in_force, settings)}
        self._in_force = settings
        _log.info("settings applied", generation=settings.generation, changes=changes)
        if self.restart_needed:
            _log.warning("settings that need a restart are not in force yet", fields=list(self.restart_needed))

    def _accept(self, settings: RuntimeSettings) -> None:
        if self.rejected is not None:
            _log.info("settings file is good again", generation=settings.generation)
        self.rejected = None
        self._on_rejected(False)

    def _applied(self, live: RuntimeSettings) -> bool:
        try:
            self._target.apply(live)
        except StartFailure as failure:
            told = failure.error
            raise SettingsRejectedError(field=told.field, value=told.value, remedy=told.remedy) from failure
        except TimeoutError:
            _log.warning("the consumer is too busy to take new settings; trying again", generation=live.generation)
            self._identity = self._content = None
            return False
        return True

    def _refuse(self, error: SettingsRejectedError) -> None:
        self.rejected = error.rejected
        self._on_rejected(True)
        told = error.rejected
        _log.error(
            "settings file refused; the last good settings stay in force",
            field=told.field,
            value=told.value,
            remedy=told.remedy,
            generation_in_force=self._in_force.generation,
        )


def differences(before: BaseModel, after: BaseModel, at: _Location = ()) -> list[tuple[_Location, Any, Any]]:
    """Return (location, before, after) of each leaf that differs. Lists count as one leaf."""
    found = []
    for name in type(before).model_fields:
        old, new, here = getattr(before, name), getattr(after, name), (*at, name)
        if isinstance(old, BaseModel) and isinstance(new, BaseModel):
            found += differences(old, new, here)
        elif old != new:
            found.append((here, old, new))
    return found


def is_hot(location: _Location) -> bool:
    """Return whether a field takes a new value while the consumer runs."""
    match location:
        case ("generation",) | ("profile",) | ("log_level",) | ("retry", *_):
            return True
        case ("execution", "process", str(name)):
            return _changes_hot(ProcessKnobs, name)
        case ("execution", str(name)) if name in Knobs.model_fields:
            return _changes_hot(Knobs, name)
        case ("dead_letter", "payload_mode"):
            return True
    return False


def restart_fields(before: RuntimeSettings, after: RuntimeSettings) -> tuple[str, ...]:
    """Return the paths of changed fields that only a restart brings into force."""
    return tuple(field_path(where) for where, _, _ in differences(before, after) if not is_hot(where))


def keep_restart_fields(started_with: RuntimeSettings, wanted: RuntimeSettings) -> RuntimeSettings:
    """Return the wanted settings with every field that is not hot as it was at start."""
    document = wanted.model_dump()
    for where, old, _ in differences(started_with, wanted):
        if not is_hot(where):
            _put(document, where, old)
    return RuntimeSettings.model_validate(document)


def _put(document: dict[Any, Any], where: _Location, value: Any) -> None:
    *parents, last = where
    for part in parents:
        document = document[part]
    document[last] = value.model_dump() if isinstance(value, BaseModel) else value


def _changes_hot(model: type[BaseModel], name: str) -> bool:
    extra = model.model_fields[name].json_schema_extra
    return isinstance(extra, dict) and extra["x-change"] == "hot"


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
