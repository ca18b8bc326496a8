"""Draws what was done and what another policy would have done, per knob over time. The one user of matplotlib."""

import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from parallel_consumer_operator.errors import OperatorError
from parallel_consumer_operator.replay.comparison import Row, value_of
from parallel_consumer_operator.resource.tuning import Knob

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".html")
INCHES_WIDE, INCHES_EACH = 10.0, 2.6


class PlotError(OperatorError):
    """Nothing can be drawn; says why and what to do."""


def require(path: Path) -> None:
    """Raise PlotError unless a plot can be drawn to this path: before minutes of work, not after them."""
    if path.suffix not in FORMATS:
        raise PlotError(f"--plot: {str(path)!r}: the name must end in {', '.join(FORMATS)}")
    try:
        import matplotlib as _  # noqa: F401, ICN001 - only to see whether it is there
    except ImportError as error:
        raise PlotError(
            "a plot needs matplotlib: pip install 'parallel-consumer-operator[bench]', or leave it out with --no-plot"
        ) from error


def draw(rows: Sequence[Row], path: Path, title: str) -> None:
    """Write the plot as PNG, SVG, or an HTML page; one panel for each resource and knob that was ever moved.

    Raises PlotError when matplotlib is missing or the file cannot be written.
    """
    require(path)
    from matplotlib.figure import Figure

    panels = _panels(rows)
    figure = Figure(figsize=(INCHES_WIDE, INCHES_EACH * len(panels)), layout="constrained")
    for axes, (resource, knob) in zip(_axes(figure, len(panels)), panels, strict=True):
        _panel(axes, [row for row in rows if row.resource == resource], resource, knob)
    figure.suptitle(title)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".html":
            path.write_text(_page(figure, title))
        else:
            figure.savefig(path, dpi=120)
    except OSError as error:
        raise PlotError(f"--plot: {path} cannot be written: {error}") from error


def _panels(rows: Sequence[Row]) -> list[tuple[str, Knob]]:
    moved = {(row.resource, row.again.knob or row.recorded.entry.knob) for row in rows}
    found = [(resource, knob) for resource, knob in moved if knob is not None]
    return sorted(found) or [(rows[0].resource, Knob.MAX_IN_FLIGHT)]


def _axes(figure: "Figure", count: int) -> "list[Axes]":
    return list(figure.subplots(count, 1, squeeze=False)[:, 0])


def _panel(axes: "Axes", rows: Sequence[Row], resource: str, knob: Knob) -> None:
    times = [row.now for row in rows]
    values = [value_of(row, knob) for row in rows]
    axes.step(times, [float("nan") if value is None else value for value in values], where="post", label="in force")  # type: ignore[arg-type] # matplotlib draws dates
    for label, mark, chosen in (
        ("recorded", "o", [(row.now, row.recorded.entry) for row in rows]),
        ("what if", "x", [(row.now, row.again) for row in rows]),
    ):
        points = [(now, out.to_value) for now, out in chosen if out.knob is knob and out.to_value is not None]
        axes.plot([now for now, _ in points], [value for _, value in points], mark, label=label)  # type: ignore[arg-type]
    axes.set_title(f"{resource}: {knob}")
    axes.set_ylim(bottom=0)
    axes.tick_params(axis="x", labelrotation=20)
    axes.legend()


def _page(figure: "Figure", title: str) -> str:
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg")
    svg = drawn.getvalue()[drawn.getvalue().index("<svg") :]
    head = f'<head><meta charset="utf-8"><title>{html.escape(title)}</title></head>'
    return f'<!doctype html>\n<html lang="en">{head}<body>{svg}</body></html>\n'
