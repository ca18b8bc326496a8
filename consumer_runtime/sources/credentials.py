"""User name and password as two files, and their change while clients run: the next login is with the new ones.

Connections that exist go on; a broker that asks for a login anew gets the new one. Not here: OpenID Connect, whose id
and secret need a new client (`certificates`).
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from consumer_runtime.contract import pod
from consumer_runtime.contract.state import StartReason
from consumer_runtime.errors import StartFailure
from consumer_runtime.sources.watched import Watched

FIELD = "spec.source.kafka.credentialsSecretRef"
_NAMES = tuple(Path(each).name for each in (pod.USERNAME_FILE, pod.PASSWORD_FILE))
_BYTES_AT_MOST = 1_048_576
_log = structlog.get_logger(__name__)


class Login(NamedTuple):
    """What a client logs in with."""

    username: str
    password: str


class Credentials:
    """The login in a folder, for clients of which each look may give another."""

    def __init__(self, properties: Mapping[str, Any], location: str | None) -> None:
        """Take a client's properties; without a folder nothing ever changes."""
        self._location = None if is_client_secret(properties) else location
        self._watched = Watched(files(self._location))

    def renew(self, clients: Iterable[Any], now: float) -> None:
        """Give the clients the login if its files changed."""
        if self._location is None or not self._watched.changed(now):
            return
        try:
            login = read(self._location)
        except StartFailure as failure:  # between the two files
            _log.warning("new credentials cannot be used yet", error=failure.error.remedy)
            self._watched.forget()
            return
        _log.info("credentials changed: the next login is with them", username=login.username)
        for client in clients:
            client.set_sasl_credentials(*login)


def is_client_secret(properties: Mapping[str, Any]) -> bool:
    """Return whether the login is that of an OpenID client."""
    return properties.get("sasl.mechanism") == "OAUTHBEARER"


def files(location: str | None) -> list[Path]:
    """Return the files of a folder's login; none without a folder."""
    return [] if location is None else [Path(location) / name for name in _NAMES]


def read(location: str) -> Login:
    """Return the login in a folder. Raises StartFailure."""
    try:
        return Login(*(_text(file) for file in files(location)))
    except (OSError, UnicodeDecodeError) as error:
        raise StartFailure.because(
            StartReason.INVALID_SETTINGS,
            field=FIELD,
            value=location,
            remedy=f"needs the files `username` and `password` with a line of UTF-8 text: {error}",
        ) from error


def _text(file: Path) -> str:
    """A trailing newline is an editor's, not the password's."""
    with file.open("rb") as opened:
        return opened.read(_BYTES_AT_MOST).decode().rstrip("\r\n")
