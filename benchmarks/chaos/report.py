"""What a run of cases leaves behind: its JSON file after every case, which a later run takes up, and tables."""

import dataclasses
import json
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from rich.table import Table

from benchmarks.chaos.errors import ChaosError
from benchmarks.chaos.plan import Case
from benchmarks.chaos.runner import Outcome
from benchmarks.chaos.soak import SoakOutcome

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
        return [case for case in self.planned if (case.name, case.seed, case.messages) not in done]

    @property
    def failed(self) -> bool:
        """Whether a promise was broken, or a case could not be judged, or was not run."""
        return bool(self.open or self.errors) or not all(map(_passed, (*self.cases, *self.soaks)))

    def book(self, outcome: Outcome) -> None:
        """Take what came of a case, in place of what is known of it."""
        _replace(self.cases, _case(outcome))

    def book_soak(self, soak: SoakOutcome) -> None:
        """Take what came of a soak."""
        _replace(self.soaks, _case(soak.outcome) | soak.document())

    def save(self) -> None:
        """Write the file so that a reader sees the old one or the new one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".draft")
        draft.write_text(json.dumps(self._document(), indent=2) + "\n")
        draft.replace(self.path)

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

    def _document(self) -> Document:
        return {
            "planned": len(self.planned),
            "passed": not self.failed,
            "machine": machine(),
            "cases": self.cases,
            "soaks": self.soaks,
            "errors": self.errors,
        }


def machine() -> Document:
    """Return what figures of this machine depend on."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(pages * page_bytes / 2**30, 1),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }


def _case(outcome: Outcome) -> Document:
    return {
        "name": outcome.case.name,
        "seed": outcome.case.seed,
        **dataclasses.asdict(outcome.verdict),
        "planned_exits": outcome.planned_exits,
        "seconds": round(outcome.seconds, 1),
        "failures": outcome.verdict.failures,
    }


def _replace(documents: list[Document], new: Document) -> None:
    documents[:] = [*(each for each in documents if _identity(each) != _identity(new)), new]


def _identity(document: Document) -> tuple[Any, ...]:
    return tuple(document[name] for name in _IDENTITY)


def _passed(document: Document) -> bool:
    return not document["failures"]


def _cells(document: Document) -> tuple[str, ...]:
    return (
        str(document["lost"]),
        str(document["order_violations"]),
        f"{document['duplicates']}/{document['duplicates_bound']}",
        str(document["dead_lettered"]),
        "yes" if _passed(document) else "no",
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
