"""What a run of cases leaves behind: build/chaos.json after every case, and the same as tables for people."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.chaos.runner import Outcome
from benchmarks.chaos.soak import SoakOutcome
from benchmarks.chaos.verdict import Verdict

_COLUMNS = (
    "messages",
    "lost",
    "order_violations",
    "duplicates",
    "duplicates_bound",
    "poisoned",
    "dead_lettered",
    "commits_for_unowned",
    "max_poll_exceeded",
)


@dataclass(slots=True)
class Report:
    """Grows case by case; `save` after each."""

    path: Path
    planned: int
    outcomes: list[Outcome] = field(default_factory=list)
    soaks: list[SoakOutcome] = field(default_factory=list)
    errors: list[dict[str, str]] = field(default_factory=list)
    """Cases that the harness itself could not carry through, by name."""

    @property
    def failed(self) -> bool:
        """Whether a promise was broken, or a case could not be judged, or was not run."""
        broken = any(outcome.verdict.failures for outcome in self.outcomes) or any(soak.failures for soak in self.soaks)
        return broken or bool(self.errors) or len(self.outcomes) + len(self.soaks) < self.planned

    def save(self) -> None:
        """Write the file so that a reader sees the old one or the new one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".draft")
        draft.write_text(json.dumps(self._document(), indent=2) + "\n")
        draft.replace(self.path)

    def table(self) -> Table:
        """Return one row for each case."""
        table = Table(title="Chaos")
        table.add_column("case", no_wrap=True)
        for name in ("lost", "order", "twice/bound", "dead", "kept"):
            table.add_column(name, no_wrap=True)
        for outcome in self.outcomes:
            table.add_row(outcome.case.name, *_cells(outcome.verdict))
        return table

    def markdown(self) -> str:
        """Return the cases as a table for docs/reliability.md."""
        header = ("case", "seed", *_COLUMNS)
        rows = [
            (outcome.case.name, outcome.case.seed, *(getattr(outcome.verdict, name) for name in _COLUMNS))
            for outcome in self.outcomes
        ]
        lines = [header, ["---"] * len(header), *rows]
        return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)

    def _document(self) -> dict[str, Any]:
        return {
            "planned": self.planned,
            "passed": not self.failed,
            "cases": [_case(outcome) for outcome in self.outcomes],
            "soaks": [soak.document() for soak in self.soaks],
            "errors": self.errors,
        }


def _case(outcome: Outcome) -> dict[str, Any]:
    return {
        "name": outcome.case.name,
        "seed": outcome.case.seed,
        **dataclasses.asdict(outcome.verdict),
        "planned_exits": outcome.planned_exits,
        "seconds": round(outcome.seconds, 1),
        "failures": outcome.verdict.failures,
    }


def _cells(verdict: Verdict) -> tuple[str, ...]:
    return (
        str(verdict.lost),
        str(verdict.order_violations),
        f"{verdict.duplicates}/{verdict.duplicates_bound}",
        str(verdict.dead_lettered),
        "no" if verdict.failures else "yes",
    )
