"""The settings file: bytes -> YAML or JSON -> `RuntimeSettings`, or an error naming field, value and what is allowed.

Bounded against hostile input: size, depth, and no YAML aliases (a few of them can stand for gigabytes). Not here:
watching the file (`reload`), and what the settings mean.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from consumer_runtime.contract.complaints import complaints, joined, shown
from consumer_runtime.contract.knobs import camel_case
from consumer_runtime.contract.settings import RuntimeSettings
from consumer_runtime.contract.state import RejectedSettings, StartReason
from consumer_runtime.errors import ConsumerError, StartFailure
from consumer_runtime.profile_workers import with_workers

BYTES_AT_MOST = 1_048_576
"""What a ConfigMap can hold."""
_DEPTH_AT_MOST = 32
_IN_THE_RESOURCE = ("source", "handler", "execution", "retry", "dead_letter", "circuit_breaker", "results")
_KEYED = ("properties", "topics")
"""What is below is named by users."""
_SECRETS = (
    ("source", "kafka", "sasl_username"),
    ("source", "kafka", "sasl_password"),
    ("source", "kafka", "schema_registry", "username"),
    ("source", "kafka", "schema_registry", "password"),
)
_SHOWN_AT_MOST = 200


class SettingsRejectedError(ConsumerError):
    """The file cannot be taken; `rejected` says why, `others` how many further errors it has."""

    def __init__(self, *, field: str, value: str, remedy: str, others: int = 0) -> None:
        """Keep what contract.state's RejectedSettings carries."""
        more = f" (and {others} more)" if others else ""
        super().__init__(f"{field or 'the file'}: {value!r}: {remedy}{more}" if value else f"{field}: {remedy}{more}")
        self.rejected = RejectedSettings(field=field, value=value, remedy=remedy + more)

    def start_failure(self) -> StartFailure:
        """Return the same as the reason not to start."""
        told = self.rejected
        return StartFailure.because(
            StartReason.INVALID_SETTINGS, field=told.field, value=told.value, remedy=told.remedy
        )


def read(path: Path) -> RuntimeSettings:
    """Return the settings in a file. Raises SettingsRejectedError."""
    return parse(read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """Return the file's bytes, at most one more than is allowed. Raises SettingsRejectedError."""
    try:
        with path.open("rb") as file:
            return file.read(BYTES_AT_MOST + 1)
    except OSError as error:
        raise _of_file(f"cannot be read: {error.strerror}", value=str(path)) from error


def parse(content: bytes) -> RuntimeSettings:
    """Return the settings that the bytes state, as YAML (of which JSON is a part). Raises SettingsRejectedError."""
    document = _document(content)
    if not isinstance(document, dict):
        raise _of_file("must be a mapping with at least `source`", value=shown(document))
    _refuse_secrets(document)
    try:
        return with_workers(RuntimeSettings.model_validate(document))
    except ValidationError as error:
        raise _first_of(error) from error


def field_path(location: tuple[str | int, ...]) -> str:
    """Return a field's path as the custom resource spells it, `spec.execution.maxInFlight`; others as in the file."""
    if not location or location[0] not in _IN_THE_RESOURCE:
        return joined(location)
    spelt = [
        camel_case(part) if isinstance(part, str) and before not in _KEYED else part
        for before, part in pairwise(("", *location))
    ]
    return "spec." + joined(tuple(spelt))


class _Loader(yaml.SafeLoader):
    """SafeLoader for what JSON could say too: no aliases, tags, duplicate or composite keys, and no deep nesting."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise _of_file("must not use YAML aliases (`*name`); write the value out", at=event)
        if getattr(event, "tag", None) is not None:
            raise _of_file(f"must not use YAML tags ({event.tag})", at=event)
        self.depth += 1
        if self.depth > _DEPTH_AT_MOST:
            raise _of_file(f"must not be nested more than {_DEPTH_AT_MOST} deep", at=event)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - the parent's signature
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _of_file("must have plain words as keys", at=key)
            if key.value in seen:
                raise _of_file(f"must not state {key.value!r} twice", at=key)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _document(content: bytes) -> Any:
    if len(content) > BYTES_AT_MOST:
        raise _of_file(f"must be at most {BYTES_AT_MOST} bytes")
    try:
        return yaml.load(content.decode("utf-8"), Loader=_Loader)  # noqa: S506 - derived from SafeLoader
    except UnicodeDecodeError as error:
        raise _of_file(f"must be UTF-8: {error.reason} at byte {error.start}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # impossible dates and numbers are ValueErrors
        raise _of_file(f"must be YAML or JSON: {' '.join(str(error).split())[:_SHOWN_AT_MOST]}") from error


def _refuse_secrets(document: dict[Any, Any]) -> None:
    for path in _SECRETS:
        found: Any = document
        for part in path:
            found = found.get(part) if isinstance(found, dict) else None
        if found is not None:
            raise SettingsRejectedError(
                field=field_path(path),
                value="(hidden)",
                remedy="a settings file is no place for it: use credentialsSecretRef, or mount files `username` and "
                "`password` (`schema-registry-...` for the registry's) under $CONSUMER_SECRETS_DIR/credentials",
            )


def _first_of(error: ValidationError) -> SettingsRejectedError:
    found = complaints(error, RuntimeSettings)
    location, value, remedy = found[0]
    path = field_path(location)
    if error.errors()[0]["type"] == "extra_forbidden":  # as it was written: our spelling of it would mislead
        path = path.rpartition(".")[0] + "." + str(location[-1])
    return SettingsRejectedError(field=path.removeprefix("."), value=value, remedy=remedy, others=len(found) - 1)


def _of_file(remedy: str, *, value: str = "", at: Any = None) -> SettingsRejectedError:
    where = f" (line {at.start_mark.line + 1})" if at is not None else ""
    return SettingsRejectedError(field="settings file", value=value, remedy=remedy + where)
