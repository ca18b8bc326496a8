"""The simulator's rates are the real runtime's, on the stated grid, whose real rates are stored."""

import pytest

from benchmarks.simulator.calibration import STORED, WITHIN, Point, grid, simulated_rate, stored

MEASURED = stored(STORED)


def test_the_whole_grid_was_measured() -> None:
    """Each setting that the grid states has a real rate."""
    assert {point for point, _ in MEASURED} == set(grid())


@pytest.mark.parametrize(("point", "rate"), MEASURED, ids=[point.name for point, _ in MEASURED])
def test_the_simulators_rate_is_the_real_one(point: Point, rate: float) -> None:
    """Within 15 %, at every setting of the grid."""
    assert simulated_rate(point) / rate == pytest.approx(1, abs=WITHIN)
