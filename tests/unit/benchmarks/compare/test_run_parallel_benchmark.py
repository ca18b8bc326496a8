import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.run_parallel_benchmark import Outcome, Row, _app, percentile, table
from consumer_runtime.statistics import Histogram

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


def test_percentile_lies_in_the_bucket_of_the_slowest():
    """One slow message among a hundred is beyond p99, two are not."""
    one, two = Histogram(), Histogram()
    one.observe(0.0004, 99)
    one.observe(0.9, 1)
    two.observe(0.0004, 98)
    two.observe(0.9, 2)
    assert percentile(one, 0.99) <= 0.0005
    assert 0.75 < percentile(two, 0.99) <= 1.0


def test_percentile_of_nothing_is_zero():
    """A mode that handled nothing has no latency."""
    assert percentile(Histogram(), 0.99) == 0.0


def test_table_has_the_columns_of_the_documents():
    """Mode, runtime, rate, average and p99."""
    console = Console(record=True, width=120)
    console.print(table([Outcome(row=Row.ASYNC, messages=100, seconds=2.0, average_ms=92.5, p99_ms=368.8)]))
    text = console.export_text()
    for figure in ("async", "2.00 s", "50", "92.5", "368.8", "TPS", "P99 (ms)"):
        assert figure in text
