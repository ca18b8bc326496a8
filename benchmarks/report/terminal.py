"""The summary in a terminal."""

from rich.console import Console
from rich.table import Table as Shown

from benchmarks.report import tables
from benchmarks.scenarios import summary
from benchmarks.scenarios.results import Document


def show(document: Document, console: Console) -> None:
    """Print tables, then the six questions."""
    for table in tables.all_tables(document):
        shown = Shown(*table.header, title=table.title, title_justify="left")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)
    for question, answer in summary.answers(document["results"]):
        console.print(f"[bold]{question}[/] {answer}")
    console.print(tables.counted(document))
