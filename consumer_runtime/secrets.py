"""Credentials and certificates from mounted files into the settings: never from the ConfigMap.

The paths are the contract's (`contract.environment`). Values are never logged; a rotated file is seen by `fingerprint`.
"""

import os
from hashlib import sha256
from pathlib import Path

from pydantic import SecretStr

from consumer_runtime.contract import environment
from consumer_runtime.contract.settings import RuntimeSettings

_FILES = (
    environment.USERNAME_FILE,
    environment.PASSWORD_FILE,
    environment.CA_FILE,
    environment.CERTIFICATE_FILE,
    environment.KEY_FILE,
)
_BYTES_AT_MOST = 1_048_576
"""A Secret's own limit in Kubernetes."""


def directory() -> Path:
    """Return where Secrets are mounted: the environment's word, else the contract's default."""
    return Path(os.environ.get(environment.SECRETS_DIRECTORY_VARIABLE) or environment.SECRETS_DIRECTORY)


def with_secrets(settings: RuntimeSettings, mounted: Path) -> RuntimeSettings:
    """Return the settings with what is mounted filled in; what they already state stays.

    Raises OSError when a file is there and cannot be read.
    """
    kafka = settings.source.kafka
    password = _text(mounted / environment.PASSWORD_FILE)
    found = {
        "sasl_username": _text(mounted / environment.USERNAME_FILE),
        "sasl_password": SecretStr(password) if password is not None else None,
        "ca_location": _location(mounted / environment.CA_FILE),
        "certificate_location": _location(mounted / environment.CERTIFICATE_FILE),
        "key_location": _location(mounted / environment.KEY_FILE),
    }
    filled = {name: value for name, value in found.items() if value is not None and getattr(kafka, name) is None}
    source = settings.source.model_copy(update={"kafka": kafka.model_copy(update=filled)})
    return settings.model_copy(update={"source": source})


def fingerprint(mounted: Path) -> str:
    """Return a digest of every mounted secret; another one means that something was rotated."""
    digest = sha256()
    for name in _FILES:
        path = mounted / name
        digest.update(_bytes(path) if path.is_file() else b"\0")
    return digest.hexdigest()


def _text(path: Path) -> str | None:
    """A trailing newline is an editor's, not the password's."""
    return _bytes(path).decode().rstrip("\r\n") if path.is_file() else None


def _location(path: Path) -> str | None:
    return str(path) if path.is_file() else None


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_BYTES_AT_MOST)
