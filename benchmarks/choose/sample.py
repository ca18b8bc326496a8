"""A user's messages from a JSON-lines file, repeated until there are enough to measure with."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.scenarios.errors import WorkbenchError
from consumer_runtime.embedded import Record

_FIELDS = {"value", "key", "headers"}


class SampleError(WorkbenchError):
    """The file of sample messages cannot be used; the message names the line."""


def read(path: Path) -> list[Record]:
    """Return the file's messages: `{"key":..., "value":..., "headers":{...}}`, or any other JSON as the value itself.

    Raises SampleError.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SampleError(f"--sample {path}: {error}") from error
    records = [_record(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not records:
        raise SampleError(f"--sample {path} has no message; write one JSON value per line")
    return records


def repeated(records: Sequence[Record], count: int) -> Iterator[Record]:
    """Yield `count` messages. Keys are made distinct in each repetition, else a short sample would have few keys."""
    for number, record in enumerate(itertools.islice(itertools.cycle(records), count)):
        turn = number // len(records)
        key = record.key if record.key is None or not turn else record.key + b"#%d" % turn
        yield Record(record.value, key, record.headers)


def digest(records: Sequence[Record]) -> str:
    """Return what tells this sample from others."""
    return hashlib.sha256(repr(records).encode()).hexdigest()[:16]


def _record(path: Path, number: int, line: str) -> Record:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise SampleError(f"--sample {path}, line {number} is no JSON: {error}") from error
    if not (isinstance(found, dict) and "value" in found and found.keys() <= _FIELDS):
        return Record(line.encode())
    headers = found.get("headers") or {}
    if not isinstance(headers, dict):
        raise SampleError(f"--sample {path}, line {number}, field headers: {headers!r} must be an object of texts")
    texts = tuple((str(name), str(value).encode()) for name, value in headers.items())
    return Record(_bytes(found["value"]), _bytes(found.get("key")), texts)


def _bytes(value: Any) -> bytes | None:
    if value is None:
        return None
    return (value if isinstance(value, str) else json.dumps(value)).encode()
