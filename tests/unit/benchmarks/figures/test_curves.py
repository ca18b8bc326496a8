import io

import pytest
from rich.console import Console

from benchmarks.figures.curves import AXES, rise, spread, tables
from benchmarks.figures.figure import Figure


def test_what_falls_has_not_risen():
    """Costs of a byte may fall with the size; of a rise the largest counts, from whatever came before it."""
    assert rise([4.0, 2.0, 1.0]) == 1.0
    assert rise([4.0, 1.0, 1.5, 1.2]) == 1.5
    assert spread([4.0, 1.0, 1.5]) == 4.0


@pytest.mark.parametrize(
    ("axis", "ends"),
    [
        ("messages", ("200,000", "5,000,000")),
        ("partitions", ("1", "64")),
        ("keys", ("10", "1,000,000")),
        ("bytes", ("100", "10,000")),
        ("in-flight", ("256", "20,000")),
    ],
)
def test_curves_reach_from_end_to_end(axis: str, ends: tuple[str, str]):
    """The range that the target names, with all else as in the other curves."""
    points = AXES[axis]()
    assert (points[0][0], points[-1][0]) == ends
    assert len(points) >= 3


def test_a_curve_is_shown_beside_that_of_the_raw_loop():
    """What is left of each cost without the raw loop's is ours; a figure without its curve is no table here."""
    ours = Figure(name="cost over keys", value=2.0, unit="u", points={"10": 3.0, "1,000": 1.5})
    raw = Figure(name="cost over keys, raw", value=1.25, unit="u", points={"10": 1.0, "1,000": 0.8})
    console = Console(file=io.StringIO(), width=100)
    for each in tables([ours, raw, Figure(name="idle", value=1.0, unit="%")]):
        console.print(each)
    shown = console.file.getvalue()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if line.startswith("│")]
    assert rows == [["10", "3", "1", "2"], ["1,000", "1.5", "0.8", "0.7"], ["grown", "2.00", "1.25", ""]]
