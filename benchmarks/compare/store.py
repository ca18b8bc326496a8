"""build/compare.json: written after every run, and read again by `--resume`. Not here: figures (`ratios`), printing."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import whole_file
from benchmarks.compare import ratios
from benchmarks.compare.environments import frozen_digests
from benchmarks.compare.errors import CompareError
from benchmarks.compare.measure import RunResult
from benchmarks.compare.open_loop import Latency
from benchmarks.compare.works import TARGETS, WORKS, System
from benchmarks.machine import machine


@dataclass
class Store:
    """What has been measured so far, and where it is kept."""

    path: Path
    parameters: dict[str, Any]
    """What makes runs comparable; runs of other parameters are never mixed in."""
    runs: dict[tuple[str, System], list[RunResult]] = field(default_factory=dict)
    missing: dict[tuple[str, System], str] = field(default_factory=dict)
    latencies: dict[tuple[str, System], Latency | str] = field(default_factory=dict)
    """Or why there is none."""
    iterations: dict[str, int] = field(default_factory=dict)
    """Turns of the computing loop by the work's name: calibrated once, so that all rounds do the same work."""

    def add(self, title: str, system: System, result: RunResult) -> None:
        """Keep a run and write the file."""
        self.runs.setdefault((title, system), []).append(result)
        self.save()

    def miss(self, title: str, system: System, reason: str) -> None:
        """Keep why there is no run, and write the file."""
        self.missing[title, system] = reason
        self.save()

    def add_latency(self, title: str, system: System, latency: Latency | str) -> None:
        """Keep a latency, or why there is none, and write the file."""
        self.latencies[title, system] = latency
        self.save()

    def latency(self, title: str, system: System) -> Latency | None:
        """Return what was measured."""
        found = self.latencies.get((title, system))
        return found if isinstance(found, Latency) else None

    def done(self, title: str, system: System) -> int:
        """Return how many rounds there are."""
        return len(self.runs.get((title, system), []))

    def save(self) -> None:
        """Write the file whole, by a rename."""
        whole_file.write_json(self.path, self.document())

    def document(self) -> dict[str, Any]:
        """Return what the file holds."""
        values, reasons = ratios.ratios(self.runs, self.missing)
        works = {work.title: work for work in WORKS}
        return {
            "parameters": self.parameters,
            "iterations": self.iterations,
            "machine": machine(),
            "written_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "frozen": frozen_digests(),
            "void": ratios.void(self.runs),
            "results": [
                ratios.row(works[title], system, found, self.latency(title, system))
                for (title, system), found in self.runs.items()
            ],
            "ratios": values,
            "reasons": reasons,
            "targets": TARGETS,
            "latencies": [
                {"work": title, "system": system.value}
                | ({"reason": found} if isinstance(found, str) else {"latency_ms": asdict(found)})
                for (title, system), found in self.latencies.items()
            ],
            "runs": [
                {"work": title, "system": system.value, **asdict(run)}
                for (title, system), found in self.runs.items()
                for run in found
            ],
            "missing": [
                {"work": title, "system": system.value, "reason": reason}
                for (title, system), reason in self.missing.items()
            ],
        }


def resumed(path: Path, parameters: dict[str, Any]) -> Store:
    """Return what a run with the same parameters left; empty without one.

    Raises CompareError: the file is of other parameters, or cannot be read.
    """
    if not path.exists():
        return Store(path, parameters)
    try:
        document = json.loads(path.read_text())
        found = document["parameters"]
        runs = document["runs"]
    except (ValueError, KeyError) as error:
        raise CompareError(f"{path} cannot be resumed: {error!r}; move it away") from error
    if found != parameters:
        raise CompareError(f"{path} was measured with {found}, this run has {parameters}; move it away")
    store = Store(path, parameters, iterations=document.get("iterations", {}))
    for run in runs:
        key = (run.pop("work"), System(run.pop("system")))
        store.runs.setdefault(key, []).append(RunResult(**run))
    for each in document.get("latencies", []):
        measured = each.get("latency_ms")
        if measured is not None:
            store.latencies[each["work"], System(each["system"])] = Latency(**measured)
    return store
