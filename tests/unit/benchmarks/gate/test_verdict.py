import pytest

from benchmarks.gate.matrix import cells
from benchmarks.gate.verdict import Cell, regressions

STORED = {"cell": Cell(msgs_per_second=1_000.0, of_raw=0.01, latency_ms_p99=20.0)}


@pytest.mark.parametrize(
    ("of_raw", "p99", "reasons"),
    [(0.01, 20.0, 0), (0.0081, 20.0, 0), (0.0079, 20.0, 1), (0.02, 32.9, 0), (0.01, 33.1, 1), (0.001, 99.0, 2)],
)
def test_regression_is_beyond_the_tolerance(of_raw, p99, reasons):
    """A fifth of the ratio may go; a p99 may grow by two fifths and 5 ms."""
    now = {"cell": Cell(msgs_per_second=5.0, of_raw=of_raw, latency_ms_p99=p99)}
    assert len(regressions(now, STORED, tolerance=0.2)) == reasons


def test_faster_or_slower_machine_is_no_regression():
    """Ratios count, not rates."""
    now = {"cell": Cell(msgs_per_second=100.0, of_raw=0.01, latency_ms_p99=None)}
    assert regressions(now, STORED, tolerance=0.2) == []


def test_new_cell_has_nothing_to_be_compared_with():
    """A wider matrix does not fail against a narrower stored run."""
    assert regressions({"new": STORED["cell"]}, STORED, tolerance=0.2) == []


def test_matrix_is_the_runbooks():
    """Limits by poll sizes on I/O; pools by batches on computing, with its queue."""
    found = cells()
    waiting = {(each.max_in_flight, each.batch_size) for name, each in found.items() if name.startswith("async")}
    computing = [each for name, each in found.items() if name.startswith("process")]
    assert waiting == {(256, 500), (256, 1_000), (1_024, 500), (1_024, 1_000)}
    assert {each.process_batch_size for each in computing} == {64, 128}
    assert {each.process_queue_size for each in computing} == {2_048}
