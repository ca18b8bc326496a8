"""Reads the YAML documents that a user gives to the local mode, as `kubectl apply -f` would: a file or a folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from parallel_consumer_operator.errors import InvalidResourceError
from parallel_consumer_operator.port import Manifest
from parallel_consumer_operator.resource import names
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec

SUFFIXES = frozenset({".yaml", ".yml", ".json"})


def read(path: Path) -> list[Manifest]:
    """Return the documents of a file, or of each YAML file in a folder.

    Raises InvalidResourceError naming the file when it cannot be read or is not YAML.
    """
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES) if path.is_dir() else [path]
    return [document for file in files for document in _documents(file)]


def the_consumer(documents: list[Manifest]) -> Manifest:
    """Return the one ParallelConsumer among the documents; raises InvalidResourceError, also for a bad spec."""
    found = [document for document in documents if document.get("kind") == names.KIND]
    if len(found) != 1:
        raise InvalidResourceError(
            field="kind", value=[str(document.get("kind")) for document in documents],
            remedy=f"give exactly one {names.KIND}",
        )  # fmt: skip
    try:
        ParallelConsumerSpec.parse(found[0])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["spec", *map(str, first["loc"])])
        raise InvalidResourceError(field=where, value=first.get("input"), remedy=first["msg"]) from error
    return found[0]


def _documents(file: Path) -> Iterator[Manifest]:
    try:
        parsed: list[Any] = list(yaml.safe_load_all(file.read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidResourceError(field="-f", value=str(file), remedy=f"cannot be read: {error}") from error
    for document in parsed:
        if document is None:
            continue
        if not isinstance(document, dict):
            raise InvalidResourceError(field="-f", value=str(file), remedy="every document must be an object")
        yield document
