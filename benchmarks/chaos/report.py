"""What a run of cases leaves behind: its JSON file after every case, which a later run takes up, and tables."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from rich.table import Table

from benchmarks import whole_file
from benchmarks.chaos.errors import ChaosError
from benchmarks.chaos.plan import Case
from benchmarks.chaos.runner import Outcome
from benchmarks.chaos.soak import SoakOutcome
from benchmarks.machine import machine

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
_SOAK_COLUMNS = ("seconds", *_COLUMNS)
_IDENTITY = ("name", "seed", "messages")
Document = dict[str, Any]


@dataclass(slots=True)
class Report:
    """Grows case by case; `save` after each."""

    path: Path
    planned: list[Case]
    cases: list[Document] = field(default_factory=list)
    soaks: list[Document] = field(default_factory=list)
    errors: list[dict[str, str]] = field(default_factory=list)
    """Cases that the harness itself could not carry through, by name."""

    @classmethod
    def resumed(cls, path: Path, planned: list[Case]) -> Self:
        """Take up what an earlier run wrote, as far as it passed; raises ChaosError for a file that is not a report."""
        report = cls(path, planned)
        if not path.exists():
            return report
        try:
            found = json.loads(path.read_text())
            for documents, name in ((report.cases, "cases"), (report.soaks, "soaks")):
                documents += [each for each in found[name] if _identity(each) and _passed(each)]
        except (ValueError, KeyError, TypeError) as error:
            raise ChaosError(f"{path} cannot be resumed, it is no report of chaos; remove it ({error})") from error
        return report

    @property
    def open(self) -> list[Case]:
        """What is planned and did not pass yet, in the plan's order."""
        done = {_identity(each) for each in (*self.cases, *self.soaks) if _passed(each)}
        return [case for case in self.planned if _identity_of(case) not in done]

    @property
    def failed(self) -> bool:
        """Whether a promise was broken, or a case could not be judged, or suffered too little, or was not run."""
        return bool(self.open or self.errors) or not all(map(_passed, (*self.cases, *self.soaks)))

    @property
    def broken(self) -> bool:
        """Whether a promise was broken, or so little could be proved that nobody can say: less than half."""
        found = [*self.cases, *self.soaks]
        return any(each["failures"] for each in found) or 2 * len(self.open) > len(self.planned)

    def is_unproved(self, case: Case) -> bool:
        """Return whether a case was run and is open, though no promise was broken in it: worth a second try."""
        mine = [each for each in self.cases if _identity(each) == _identity_of(case)]
        return case in self.open and not any(each["failures"] for each in mine)

    def book(self, outcome: Outcome) -> None:
        """Take what came of a case, in place of what is known of it."""
        self._forget_errors(outcome.case)
        _replace(self.cases, _case(outcome))

    def book_soak(self, soak: SoakOutcome) -> None:
        """Take what came of a soak."""
        self._forget_errors(soak.outcome.case)
        _replace(self.soaks, _case(soak.outcome) | soak.document())

    def book_error(self, case: str, error: str) -> None:
        """Take why a case (empty: all that was open) could not be run or judged."""
        self.errors = [*(each for each in self.errors if each["case"] != case), {"case": case, "error": error}]

    def save(self) -> None:
        """Write the file so that a reader sees the old one or the new one."""
        whole_file.write_json(self.path, self._document())

    def table(self) -> Table:
        """Return one row for each case and soak."""
        table = Table(title="Chaos")
        table.add_column("case", no_wrap=True)
        for name in ("lost", "order", "twice/bound", "dead", "kept"):
            table.add_column(name, no_wrap=True)
        for each in (*self.cases, *self.soaks):
            table.add_row(each["name"], *_cells(each))
        return table

    def markdown(self) -> str:
        """Return cases and soaks as tables for docs/reliability.md."""
        parts = [_markdown(("name", "seed", *_COLUMNS), self.cases)] if self.cases else []
        if self.soaks:
            rows = [each | _growth_cells(each["growth"]) for each in self.soaks]
            parts.append(_markdown(("name", "seed", *_SOAK_COLUMNS, *_growth_cells(rows[0]["growth"])), rows))
        return "\n".join(parts)

    def _forget_errors(self, case: Case) -> None:
        self.errors = [each for each in self.errors if each["case"] != case.name]

    def _document(self) -> Document:
        return {
            "planned": len(self.planned),
            "passed": not self.failed,
            "machine": machine(),
            "cases": self.cases,
            "soaks": self.soaks,
            "errors": self.errors,
        }


def _case(outcome: Outcome) -> Document:
    return {
        "name": outcome.case.name,
        "seed": outcome.case.seed,
        **dataclasses.asdict(outcome.verdict),
        "planned_exits": outcome.planned_exits,
        "seconds": round(outcome.seconds, 1),
        "failures": outcome.verdict.failures,
        "unproved": outcome.verdict.unproved,
    }


def _replace(documents: list[Document], new: Document) -> None:
    documents[:] = [*(each for each in documents if _identity(each) != _identity(new)), new]


def _identity(document: Document) -> tuple[Any, ...]:
    return tuple(document[name] for name in _IDENTITY)


def _identity_of(case: Case) -> tuple[Any, ...]:
    return case.name, case.seed, case.messages


def _passed(document: Document) -> bool:
    return not document["failures"] and not document.get("unproved")


def _cells(document: Document) -> tuple[str, ...]:
    return (
        str(document["lost"]),
        str(document["order_violations"]),
        f"{document['duplicates']}/{document['duplicates_bound']}",
        str(document["dead_lettered"]),
        "no" if document["failures"] else "yes" if _passed(document) else "unproved",
    )


def _growth_cells(growth: Document) -> Document:
    return {
        "memory, MiB": round(growth["rss_bytes_mean"] / 2**20),
        "memory, %": f"{growth['rss_percent']:+.1f}",
        "descriptors": f"{growth['descriptors']:+.1f}",
        "threads": f"{growth['threads']:+.1f}",
    }


def _markdown(columns: Iterable[str], rows: Iterable[Document]) -> str:
    names = list(columns)
    marks = ["---" if name == "name" else "---:" for name in names]
    lines = [names, marks, *([str(row[name]) for name in names] for row in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
