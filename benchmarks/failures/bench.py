"""One measured consumer over a topic of this bench, and the file in which what was measured is kept."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import whole_file
from benchmarks.failures import handlers
from benchmarks.machine import machine
from benchmarks.scenarios.broker import PARTITIONS, Broker
from benchmarks.scenarios.errors import MeasureError, ScenarioFileError
from benchmarks.scenarios.job import Job, Outcome
from benchmarks.scenarios.measure import Member, settings
from benchmarks.scenarios.results import load_json

Row = dict[str, Any]
HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Retry:
    """Retry settings; backoff doubles from `backoff_ms`."""

    max_retries: int = 3
    backoff_ms: int = 100
    jitter_percent: int = 20

    @property
    def longest_seconds(self) -> float:
        """How long the waits of one message may take together."""
        return (
            sum(self.backoff_ms * 2.0**each for each in range(self.max_retries)) * (1 + self.jitter_percent / 100) / 1e3
        )

    def section(self) -> dict[str, int]:
        """Return it as a section of RuntimeSettings."""
        longest = min(self.backoff_ms * 2 ** max(self.max_retries - 1, 0), 24 * HOUR_MS)
        return {"max_retries": self.max_retries, "backoff_ms": self.backoff_ms, "max_backoff_ms": longest,
                "jitter_percent": self.jitter_percent}  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """A broker, and how consumers on it are run."""

    broker: Broker
    told: Callable[[float], None] = lambda _: None
    """Hears which share of a run is done; 1 once it has ended."""

    def run(
        self,
        topics: str | list[str],
        handler: Any,
        *,
        seconds: float,
        retry: Retry,
        execution: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
        messages: int | None = None,
        retries: int | None = None,
        dead_letter: str | None = None,
    ) -> Outcome:
        """Return what one consumer did. Raises MeasureError."""
        sections: dict[str, Any] = {
            "execution": {"mode": "async", "ordering": "unordered", "shutdown_grace_seconds": 5}
        }
        sections["execution"] |= dict(execution)
        sections["retry"] = retry.section()
        if dead_letter:
            self.broker.create(dead_letter)
            sections["dead_letter"] = {"enabled": True, "topic": dead_letter, "payload_mode": "metadata_only"}
        entrypoint = f"{handlers.__name__}:{handler.__name__}"
        job = Job(
            settings=settings(
                self.broker.servers, [topics] if isinstance(topics, str) else topics, entrypoint, **sections
            ),
            seconds=seconds,
            messages=messages,
            retries=retries,
        )
        with Member(environment) as member:
            outcome = member.run(job, lambda done: self.told(min(done / (messages or math.inf), 0.99)))
        if outcome.error:
            raise MeasureError(outcome.error)
        self.told(1.0)
        return outcome

    def topic(self, prefix: str, *, partitions: int = PARTITIONS) -> str:
        """Make and return a topic that is empty."""
        name = f"{prefix}-{time.time_ns()}"
        self.broker.create(name, partitions=partitions)
        return name


@dataclass
class Kept:
    """The parts that were measured, in a JSON file that is written after each of them."""

    path: Path
    parts: dict[str, list[Row]]

    @classmethod
    def at(cls, path: Path) -> "Kept":
        """Return what the file has; nothing without one. Raises ScenarioFileError."""
        parts = load_json(path).get("parts") if path.exists() else {}
        if not isinstance(parts, dict):
            raise ScenarioFileError(f"{path} is no file of `benchmarks.failures`: it has no object `parts`")
        return cls(path, parts)

    def add(self, part: str, rows: list[Row]) -> None:
        """Replace a part, and write the file."""
        self.parts[part] = rows
        whole_file.write_json(self.path, {"machine": machine(), "parts": self.parts})


def as_text(rows: list[Row]) -> str:
    """Return rows as JSON for people."""
    return json.dumps(rows, indent=2)
