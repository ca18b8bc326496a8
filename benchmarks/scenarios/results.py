"""The results file: one line for each scenario with the document's names, written after every one of them.

`--resume` takes over what succeeded with the same parameters. Not here: conclusions (`summary`).
"""

import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmarks import whole_file
from benchmarks.machine import machine
from benchmarks.scenarios.errors import ScenarioFileError
from benchmarks.scenarios.job import Outcome
from benchmarks.scenarios.model import Scenario, read_json

Result = dict[str, Any]
Document = dict[str, Any]
SUCCESS, TIMEOUT, FAILED = "success", "timeout", "failed"


def result(scenario: Scenario, outcomes: Sequence[Outcome], *, error: str = "") -> Result:
    """Return a scenario's line: its own fields, then what its repeats did. Rates are of jobs that succeeded."""
    line: Result = {**scenario.model_dump(mode="json"), "status": _status(scenario, outcomes, error)}
    problems = [error, *(each.error for each in outcomes), _shortfall(scenario, outcomes)]
    line["error"] = next(filter(None, problems), "")
    line["warnings"] = sorted({warning for each in outcomes for warning in each.warnings})
    line["finished_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line["load_1_minute"] = round(os.getloadavg()[0], 1)
    return line | (_measured(outcomes) if outcomes else {})


def _status(scenario: Scenario, outcomes: Sequence[Outcome], error: str) -> str:
    if error or any(each.error for each in outcomes):
        return "error"
    if any(each.finished < scenario.num_instances for each in outcomes):
        return TIMEOUT
    return SUCCESS if all(each.succeeded >= scenario.num_instances for each in outcomes) else FAILED


def _shortfall(scenario: Scenario, outcomes: Sequence[Outcome]) -> str:
    """Return what is missing in words; nothing when every job of every repeat succeeded."""
    worst = min(outcomes, key=lambda each: each.succeeded, default=None)
    if worst is None or worst.succeeded >= scenario.num_instances:
        return ""
    jobs = f"{worst.succeeded} of {scenario.num_instances} jobs succeeded in {worst.watched_seconds:.1f} s"
    return f"{jobs}, {worst.failed} failed" if worst.failed else f"{jobs}; raise `timeout` (now {scenario.timeout:g} s)"


def _measured(outcomes: Sequence[Outcome]) -> Result:
    rates = [each.rate for each in outcomes]
    times = [each.seconds for each in outcomes]
    return {
        "mode": outcomes[-1].mode,
        "mode_reason": outcomes[-1].mode_reason,
        "jobs_per_second": round(statistics.fmean(rates), 4),
        "jobs_per_second_avg": round(statistics.fmean(rates), 4),
        "jobs_per_second_min": round(min(rates), 4),
        "jobs_per_second_max": round(max(rates), 4),
        "jobs_per_second_std": round(statistics.pstdev(rates), 4),
        "total_time": round(statistics.fmean(times), 4),
        "total_time_min": round(min(times), 4),
        "total_time_max": round(max(times), 4),
        "jobs_completed": min(each.succeeded for each in outcomes),
        "jobs_failed": max(each.failed + each.dead_lettered for each in outcomes),
        "memory_peak_mb": round(max(each.rss_peak_mb for each in outcomes), 1),
        "max_rss_mb": round(max(each.max_rss_mb for each in outcomes), 1),
        "rss_delta_mb": round(max(each.rss_peak_mb - each.rss_before_mb for each in outcomes), 1),
        "cpu_seconds": round(statistics.fmean([each.cpu_seconds for each in outcomes]), 3),
        "latency_ms_avg": _latency(outcomes, "average"),
        "latency_ms_p50": _latency(outcomes, "p50"),
        "latency_ms_p95": _latency(outcomes, "p95"),
        "latency_ms_p99": _latency(outcomes, "p99"),
    }


def _latency(outcomes: Sequence[Outcome], name: str) -> float | None:
    found = [each.latency_ms[name] for each in outcomes if name in each.latency_ms]
    return round(statistics.median(found), 3) if found else None


@dataclass
class Results:
    """What has been measured so far, in the scenarios' order, and where it is kept."""

    path: Path
    scenarios: list[Scenario]
    """All of the scenario file."""
    chosen: list[Scenario]
    """Those to be run now."""
    broker: str = "Kafka"
    lines: dict[str, Result] = field(default_factory=dict)

    @classmethod
    def begun(
        cls, path: Path, scenarios: list[Scenario], chosen: list[Scenario], *, broker: str, resume: bool = False
    ) -> "Results":
        """Return no results yet, or with `resume` what earlier runs of the same scenarios have in the file."""
        found = cls(path, scenarios, chosen, broker)
        if resume and path.exists():
            kept = {line["name"]: line for line in load(path)["results"] if line.get("status") == SUCCESS}
            found.lines = {each.name: kept[each.name] for each in scenarios if _is_of(kept.get(each.name), each)}
        return found

    @property
    def todo(self) -> list[Scenario]:
        """Chosen scenarios without a result."""
        return [each for each in self.chosen if each.name not in self.lines]

    def add(self, line: Result) -> None:
        """Keep a result and write the file."""
        self.lines[line["name"]] = line
        self.save()

    def document(self) -> Document:
        """Return what the file holds."""
        ordered = [self.lines[each.name] for each in self.scenarios if each.name in self.lines]
        planned = len({each.name for each in self.chosen} | self.lines.keys())
        return {"machine": machine() | {"kafka": self.broker}, "planned": planned, "results": ordered}

    def save(self) -> None:
        """Write the file whole."""
        whole_file.write_json(self.path, self.document())


class _Line(BaseModel):
    """What a report needs of each line."""

    model_config = ConfigDict(strict=True)

    name: str
    phase: str
    strategy: str
    workload_type: str
    num_instances: int
    work_duration: float
    max_concurrent_jobs: int
    status: str


class _Measured(_Line):
    """And of those with figures, as all have that ran."""

    mode: str
    jobs_per_second_avg: float
    jobs_per_second_min: float
    jobs_per_second_max: float
    total_time: float
    memory_peak_mb: float
    latency_ms_p50: float | None
    latency_ms_p99: float | None


def load_json(path: Path) -> Document:
    """Return a JSON object that a file holds. Raises ScenarioFileError."""
    found = read_json(path, remedy="`run` writes it")
    if not isinstance(found, dict):
        raise ScenarioFileError(f"{path} is no results file: it holds a {type(found).__name__}")
    return found


def load(path: Path) -> Document:
    """Return a results file. Raises ScenarioFileError."""
    document = load_json(path)
    results = document.get("results")
    if not isinstance(results, list) or not isinstance(document.get("machine", {}), dict):
        raise ScenarioFileError(f"{path} is no results file of `run`: it needs a list `results`, an object `machine`")
    for number, line in enumerate(results, start=1):
        is_measured = isinstance(line, dict) and (line.get("status") == SUCCESS or "jobs_per_second_avg" in line)
        try:
            (_Measured if is_measured else _Line).model_validate(line)
        except ValidationError as error:
            problem = error.errors()[0]
            field_name = ".".join(map(str, problem["loc"])) or "(the entry itself)"
            told = f"entry {number} of results, field {field_name}: {problem['msg'].lower()}"
            raise ScenarioFileError(f"{path} is no results file of `run`: {told}") from error
    return {"machine": {}, "planned": len(results)} | document


def _is_of(line: Result | None, scenario: Scenario) -> bool:
    told = ("description", "phase")
    wanted = {name: value for name, value in scenario.model_dump(mode="json").items() if name not in told}
    return line is not None and all(line.get(name) == value for name, value in wanted.items())
