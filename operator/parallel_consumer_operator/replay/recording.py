"""Reads decisions out of a log: the operator's own, as kubectl logs gives it, or decision lines alone.

What is wrong with a line is said with the file, the line, the field, and what is allowed there.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from parallel_consumer_operator.errors import OperatorError
from parallel_consumer_operator.tuning.journal import EVENT, Entry


class UnreadableError(OperatorError):
    """A file that cannot be taken for what it should be; says where and what is allowed."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One decision of a file, and its line there, counted from 1."""

    line: int
    entry: Entry


def read(path: Path) -> list[Recorded]:
    """Return the decisions of a log, in its order; lines that tell of something else are passed over.

    Raises UnreadableError for a file or a line that is none of it, and when there is no decision at all.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path}: cannot be read: {error}") from error
    found = list(_decisions(path, text))
    if not found:
        raise UnreadableError(
            f'{path}: no decision in it: a line with "event": "{EVENT}" is needed, as the operator logs it'
        )
    return found


def complaint(error: ValidationError, where: str) -> UnreadableError:
    """Return pydantic's first complaint in one sentence: the field, its value, and what is allowed."""
    first = error.errors(include_url=False)[0]
    field = ".".join(map(str, first["loc"])) or "the whole"
    value = json.dumps(first["input"], default=str)
    shown = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}..."
    allowed = first["msg"].removeprefix("Value error, ")
    return UnreadableError(f"{where}: {field}: {shown} is not allowed: {allowed}")


_SHOWN = 80


def fields(model: type[BaseModel]) -> str:
    """Return the names that a section may have."""
    return ", ".join(sorted(field.alias or name for name, field in model.model_fields.items()))


def _decisions(path: Path, text: str) -> Iterator[Recorded]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        loaded = _object(where, line)
        if loaded.get("event", EVENT) != EVENT:
            continue
        try:
            yield Recorded(number, Entry.model_validate_json(json.dumps(loaded)))
        except ValidationError as error:
            raise complaint(error, where) from error


def _object(where: str, line: str) -> dict[str, Any]:
    try:
        loaded = json.loads(line)
    except ValueError as error:
        raise UnreadableError(f"{where}: not JSON ({error}): one JSON object for each line is allowed") from error
    if not isinstance(loaded, dict):
        raise UnreadableError(f"{where}: {type(loaded).__name__}: one JSON object for each line is allowed")
    return loaded
