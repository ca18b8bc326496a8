import json

import pytest

from benchmarks.figures.__main__ import _keep
from benchmarks.figures.figure import Figure


@pytest.mark.parametrize(
    ("bounds", "is_met"),
    [
        ({"at_most": 2.0}, True),
        ({"at_most": 1.9}, False),
        ({"at_least": 2.0}, True),
        ({"at_least": 2.1}, False),
        ({}, True),
    ],
)
def test_bounds_are_inclusive(bounds, is_met):
    """A figure that just keeps its bound has met it; one without a bound is only told."""
    assert Figure(name="n", value=2.0, unit="u", **bounds).is_met is is_met


def test_figure_takes_the_place_of_its_older_self(tmp_path):
    """Parts can be measured one by one into one file."""
    path = tmp_path / "figures.json"
    for name, value in [("a", 1.0), ("b", 2.0), ("a", 3.0)]:
        _keep(path, Figure(name=name, value=value, unit="u"))
    found = json.loads(path.read_text())["figures"]
    assert {name: each["value"] for name, each in found.items()} == {"a": 3.0, "b": 2.0}
