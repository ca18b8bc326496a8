import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.run_parallel_benchmark import Outcome, Row, _app, table

OPTIONS = [
    *("--num-messages", "--num-partitions", "--topic-prefix", "--timeout-sec", "--log-level"),
    *(f"--{mode}-group" for mode in Row),
    *(f"--skip-{mode}" for mode in Row),
]


@pytest.mark.parametrize("option", OPTIONS)
def test_options_of_the_documents_are_there(option):
    """Commands from the documents run as they stand."""
    shown = CliRunner().invoke(_app, ["--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    assert option in shown


def test_skipping_every_mode_is_refused():
    """An empty table would look like a benchmark that ran; nothing is started for it."""
    done = CliRunner().invoke(_app, [f"--skip-{mode}" for mode in Row], env={"COLUMNS": "200", "TERM": "dumb"})
    assert done.exit_code == 2
    assert "every mode is skipped" in done.output


def test_table_has_the_columns_of_the_documents():
    """Mode, runtime, rate, average and p99."""
    console = Console(record=True, width=120)
    console.print(table([Outcome(row=Row.ASYNC, messages=100, seconds=2.0, average_ms=92.5, p99_ms=368.8)]))
    text = console.export_text()
    for figure in ("async", "2.00 s", "50", "92.5", "368.8", "TPS", "P99 (ms)"):
        assert figure in text
