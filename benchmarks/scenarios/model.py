"""Scenarios as values, and reading them from the JSON form of the source document. Not here: which ones (`phases`)."""

import csv
import json
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

    name: Annotated[str, Field(min_length=1, max_length=120)]
    """Unique in its file."""
    num_instances: Annotated[int, Field(ge=1, le=1_000_000)]
    """Jobs, that is messages."""
    strategy: Strategy
    workload_type: Workload
    work_duration: Annotated[float, Field(ge=0, le=3_600)] = 1.0
    """Seconds of work in each job: of CPU time for cpu, of waiting for the others."""
    max_concurrent_jobs: Annotated[int, Field(ge=1, le=100_000)] = 10
    """Jobs at once at most: maxInFlight, and for threads and processes their number (512 at most)."""
    repeats: Annotated[int, Field(ge=1, le=1_000)] = 1
    timeout: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    """Seconds for all jobs of one repeat."""
    job_timeout_ms: Annotated[int, Field(ge=1, le=86_400_000)] = 300_000
    """Milliseconds for one job; it counts as failed then."""
    description: Annotated[str, Field(max_length=1_000)] = ""
    phase: Annotated[str, Field(max_length=120)] = "custom"


def load(path: Path) -> list[Scenario]:
    """Return the scenarios of a file. Raises ScenarioFileError, which names each wrong entry and field."""
    try:
        entries = json.loads(path.read_text())
    except OSError as error:
        raise ScenarioFileError(f"{path}: {error.strerror}; make one with `generate`") from error
    except ValueError as error:
        raise ScenarioFileError(f"{path} is no JSON: {error}") from error
    if not isinstance(entries, list) or not entries:
        raise ScenarioFileError(f"{path} must be a list of scenarios, as [{{...}}, {{...}}], with at least one")
    return parse(entries, where=str(path))


def parse(entries: Sequence[Any], *, where: str) -> list[Scenario]:
    """Return the entries as scenarios. Raises ScenarioFileError."""
    found: list[Scenario] = []
    problems: list[str] = []
    for number, entry in enumerate(entries, start=1):
        try:
            found.append(Scenario.model_validate(entry))
        except ValidationError as error:
            problems.extend(_problems(number, entry, error))
    names = [each.name for each in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems.extend(f"field name: {name!r} stands in more than one entry; names must differ" for name in twice)
    if problems:
        shown = problems[:_PROBLEMS_SHOWN] + [f"and {len(problems) - _PROBLEMS_SHOWN} more"] * (
            len(problems) > _PROBLEMS_SHOWN
        )
        raise ScenarioFileError("\n".join([f"{where} has {len(problems)} problems:", *(f"  {each}" for each in shown)]))
    return found


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
    label = f"entry {number}" + (f" ({name!r})" if name else "")
    return [f"{label}, field {_field(each)}: {_allowed(each)}" for each in error.errors()]


def _field(problem: Any) -> str:
    return ".".join(str(part) for part in problem["loc"]) or "(the entry itself)"


def _allowed(problem: Any) -> str:
    if problem["type"] == "missing":
        return "is missing"
    if problem["type"] == "extra_forbidden":
        return f"is no field of a scenario; these are: {', '.join(Scenario.model_fields)}"
    message = str(problem["msg"])
    return f"{problem['input']!r} is not allowed: {message[0].lower()}{message[1:]}"
