"""Scenarios as values, and reading them from the JSON form of the source document. Not here: which ones (`phases`)."""

import csv
import json
import reprlib
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmarks.scenarios.errors import ScenarioFileError

_PROBLEMS_SHOWN = 20


class Strategy(StrEnum):
    """How jobs run: the runtime's modes in the document's words."""

    ASYNC = "async"
    THREAD = "thread"
    AUTO = "auto"
    PROCESS = "process"


class Workload(StrEnum):
    """What a job does; see `works`."""

    CPU = "cpu"
    IO = "io"
    SUBPROCESS = "subprocess"
    SUBPROCESS_THREADED = "subprocess_threaded"


class Scenario(BaseModel):
    """One line of a scenario file; names as in the document."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$")]
    """Unique in its file; one line."""
    num_instances: Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
    """Jobs, that is messages."""
    strategy: Strategy
    workload_type: Workload
    work_duration: Annotated[float, Field(strict=True, ge=0, le=3_600)] = 1.0
    """Seconds of work in each job: of CPU time for cpu, of waiting for the others."""
    max_concurrent_jobs: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 10
    """Jobs at once at most: maxInFlight, and for threads and processes their number (512 at most)."""
    repeats: Annotated[int, Field(strict=True, ge=1, le=1_000)] = 1
    timeout: Annotated[float, Field(strict=True, gt=0, le=86_400)] = 300.0
    """Seconds for all jobs of one repeat."""
    job_timeout_ms: Annotated[int, Field(strict=True, ge=1, le=86_400_000)] = 300_000
    """Milliseconds for one job; it counts as failed then. A thread cannot be ended: its job counts by how it ends."""
    description: Annotated[str, Field(max_length=1_000)] = ""
    phase: Annotated[str, Field(max_length=120)] = "custom"


def load(path: Path) -> list[Scenario]:
    """Return the scenarios of a file. Raises ScenarioFileError, which names each wrong entry and field."""
    entries = read_json(path, remedy="make one with `generate`")
    if not isinstance(entries, list) or not entries:
        raise ScenarioFileError(f"{path} must be a list of scenarios, as [{{...}}, {{...}}], with at least one")
    return parse(entries, where=str(path))


def read_json(path: Path, *, remedy: str) -> Any:
    """Return what a JSON file holds. Raises ScenarioFileError, for a file that cannot be read with the remedy."""
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ScenarioFileError(f"{path}: {error.strerror}; {remedy}") from error
    except (ValueError, RecursionError) as error:
        raise ScenarioFileError(f"{path} is no JSON: {error}") from error


def parse(entries: Sequence[Any], *, where: str) -> list[Scenario]:
    """Return the entries as scenarios. Raises ScenarioFileError."""
    found: list[Scenario] = []
    problems: list[str] = []
    numbers: dict[str, int] = {}
    for number, entry in enumerate(entries, start=1):
        try:
            each = Scenario.model_validate(entry)
        except ValidationError as error:
            problems.extend(_problems(number, entry, error))
            continue
        first = numbers.setdefault(each.name, number)
        if first != number:
            problems.append(f"entry {number}, field name: {each.name!r} is that of entry {first}; names must differ")
        found.append(each)
    if problems:
        raise ScenarioFileError("\n  ".join([f"{where} cannot be used:", *_shown(problems)]))
    return found


def _shown(problems: list[str]) -> list[str]:
    more = len(problems) - _PROBLEMS_SHOWN
    return problems if more <= 0 else [*problems[:_PROBLEMS_SHOWN], f"and {more} more"]


def write(scenarios: Iterable[Scenario], path: Path) -> None:
    """Write a scenario file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([each.model_dump(mode="json") for each in scenarios], indent=2) + "\n")


def write_csv(scenarios: Iterable[Scenario], path: Path) -> None:
    """Write the same as a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(Scenario.model_fields))
        writer.writeheader()
        writer.writerows(each.model_dump(mode="json") for each in scenarios)


def _problems(number: int, entry: Any, error: ValidationError) -> list[str]:
    name = entry.get("name") if isinstance(entry, dict) else None
    label = f"entry {number}" + (f" ({reprlib.repr(name)})" if name else "")
    return [f"{label}, field {_field(each)}: {_allowed(each)}" for each in error.errors()]


def _field(problem: Any) -> str:
    return ".".join(str(part) for part in problem["loc"]) or "(the entry itself)"


def _allowed(problem: Any) -> str:
    if problem["type"] == "missing":
        return "is missing"
    if problem["type"] == "extra_forbidden":
        return f"is no field of a scenario; these are: {', '.join(Scenario.model_fields)}"
    if problem["type"] == "model_type":
        return f"{reprlib.repr(problem['input'])} is no object of fields"
    message = str(problem["msg"])
    return f"{reprlib.repr(problem['input'])} is not allowed: {message[0].lower()}{message[1:]}"
