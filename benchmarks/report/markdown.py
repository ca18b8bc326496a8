"""The report as Markdown, for a pull request."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import told
from benchmarks.report.tables import Table, all_tables, counted
from benchmarks.scenarios import summary
from benchmarks.scenarios.results import Document


def write(document: Document, path: Path, *, before: Document | None = None) -> None:
    """Write the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text(document, before=before))


def text(document: Document, *, before: Document | None = None) -> str:
    """Return the report."""
    machine = told(document["machine"])
    questions = [f"- **{question}** {answer}" for question, answer in summary.answers(document["results"])]
    parts = ["# Scenarios", f"{counted(document)}. Machine: {machine}.", "\n".join(questions)]
    return "\n\n".join([*parts, *(table(each) for each in all_tables(document, before))]) + "\n"


def table(found: Table) -> str:
    """Return a table under its heading."""
    lines = [_line(found.header), _line(["---"] + ["---:"] * (len(found.header) - 1)), *map(_line, found.rows)]
    return f"## {found.title}\n\n" + "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(each.replace("|", "\\|") for each in cells) + " |"
