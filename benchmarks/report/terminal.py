"""The summary in a terminal, and errors. Names and messages are the user's: brackets in them are no markup."""

from rich.console import Console
from rich.table import Table as Shown
from rich.text import Text

from benchmarks.report import tables
from benchmarks.scenarios import summary
from benchmarks.scenarios.results import Document


def show(document: Document, console: Console, *, before: Document | None = None) -> None:
    """Print tables, then the six questions; with `before` first how both runs compare."""
    for table in tables.all_tables(document, before):
        shown = Shown(*table.header, title=table.title, title_justify="left")
        for row in table.rows:
            shown.add_row(*map(Text, row))
        console.print(shown)
    for question, answer in summary.answers(document["results"]):
        console.print(Text.assemble((question, "bold"), " ", answer))
    console.print(tables.counted(document))


def failed(console: Console, error: Exception) -> None:
    """Print an error as it is."""
    console.print(Text.assemble(("error:", "red"), " ", str(error)), soft_wrap=True)
