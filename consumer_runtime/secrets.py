"""Credentials and certificates from mounted files into the settings: never from the ConfigMap.

The paths are the contract's (`contract.pod`). Values are never logged. Not here: seeing files that are replaced
(`sources.certificates`, `sources.credentials`).
"""

import os
from pathlib import Path

from pydantic import SecretStr

from consumer_runtime.contract import pod
from consumer_runtime.contract.settings import RuntimeSettings, SchemaRegistrySettings

_ROOT = Path(pod.SECRETS_DIRECTORY)
_USERNAME = Path(pod.USERNAME_FILE).relative_to(_ROOT)
_PASSWORD = Path(pod.PASSWORD_FILE).relative_to(_ROOT)
_REGISTRY_USERNAME = Path(pod.REGISTRY_USERNAME_FILE).relative_to(_ROOT)
_CA = Path(pod.CA_FILE).relative_to(_ROOT)
_CERTIFICATE = Path(pod.CERTIFICATE_FILE).relative_to(_ROOT)
_KEY = Path(pod.KEY_FILE).relative_to(_ROOT)
_BYTES_AT_MOST = 1_048_576
"""A Secret's own limit in Kubernetes."""


def directory() -> Path:
    """Return where Secrets are mounted: the environment's word, else the contract's default."""
    return Path(os.environ.get(pod.SECRETS_DIRECTORY_VARIABLE) or _ROOT)


def with_secrets(settings: RuntimeSettings, mounted: Path) -> RuntimeSettings:
    """Return the settings with what is mounted filled in; what they already state stays.

    Raises OSError when a file is there and cannot be read.
    """
    kafka = settings.source.kafka
    password = _text(mounted / _PASSWORD)
    found = {
        "sasl_username": _text(mounted / _USERNAME),
        "sasl_password": SecretStr(password) if password is not None else None,
        "credentials_location": _folder(mounted / _USERNAME, mounted / _PASSWORD),
        "ca_location": _location(mounted / _CA),
        "certificate_location": _location(mounted / _CERTIFICATE),
        "key_location": _location(mounted / _KEY),
    }
    if kafka.sasl_username is not None:
        del found["credentials_location"]
    filled: dict[str, object] = {
        name: value for name, value in found.items() if value is not None and getattr(kafka, name) is None
    }
    if kafka.schema_registry is not None:
        filled["schema_registry"] = _with_login(kafka.schema_registry, mounted)
    source = settings.source.model_copy(update={"kafka": kafka.model_copy(update=filled)})
    return settings.model_copy(update={"source": source})


def _with_login(registry: SchemaRegistrySettings, mounted: Path) -> SchemaRegistrySettings:
    location = _folder(mounted / _REGISTRY_USERNAME)
    if registry.username is not None or location is None:
        return registry
    return registry.model_copy(update={"credentials_location": location})


def _text(path: Path) -> str | None:
    """A trailing newline is an editor's, not the password's."""
    return _bytes(path).decode().rstrip("\r\n") if path.is_file() else None


def _folder(*files: Path) -> str | None:
    return str(files[0].parent) if all(file.is_file() for file in files) else None


def _location(path: Path) -> str | None:
    return str(path) if path.is_file() else None


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_BYTES_AT_MOST)
