"""Plots as SVG texts, in a light and a dark palette. Not here: what they are about (`page`, `benchmarks.choose`)."""

import base64
import io
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Draw = Callable[[Any, "Theme"], None]
COLORS = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2", "#edc948", "#9c755f")


_WIDTH_INCHES = 5.2
"""On a phone's 360 points letters of 9 points are then still 8 high."""
_WIDEST = 4
_COLUMNS = 2
_PERCENTILES = 3
LEVEL = 0.05
"""Ratios that differ from 1 by less are told as level."""
_DECADES = 3
"""Over more of them an axis has only powers of ten."""
_PALE = (0.15, 0.85)
"""Shares between these have light colors in the heat map, on which letters are dark."""


class Theme(StrEnum):
    """The page's two looks; values are the color of lines and letters."""

    LIGHT = "#222222"
    DARK = "#dddddd"


@dataclass(frozen=True)
class Plot:
    """A picture with its title and what a person who cannot see it is told."""

    title: str
    description: str
    light: str
    dark: str
    """SVG as data addresses."""


def plot(title: str, description: str, draw: Draw, *, height: float = 3.6) -> Plot:
    """Return a picture; `draw` fills the axes, once for each theme. Width suits a phone; height is in inches."""
    return Plot(title, description, *(_drawn(draw, theme, height) for theme in Theme))


def _drawn(draw: Draw, theme: Theme, height: float) -> str:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    colors = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    style: Any = {**dict.fromkeys(colors, theme.value), "font.size": 9, "axes.spines.top": False,
             "axes.spines.right": False, "svg.fonttype": "path", "svg.hashsalt": "report"}  # fmt: skip
    with mpl.rc_context(style):
        figure, axes = plt.subplots(figsize=(_WIDTH_INCHES, height))
        axes.grid(visible=True, color=theme.value, alpha=0.15)
        axes.set_axisbelow(True)
        draw(axes, theme)
        figure.tight_layout()
        image = io.BytesIO()
        figure.savefig(image, format="svg", transparent=True, metadata={"Date": None})
        plt.close(figure)
    return f"data:image/svg+xml;base64,{base64.b64encode(image.getvalue()).decode()}"


@dataclass(frozen=True)
class Line:
    """A curve; `mark` is the x of its knee."""

    label: str
    points: Sequence[tuple[float, float]]
    mark: float | None = None


def lines(axes: Any, found: Sequence[Line], *, x: str, y: str) -> None:
    """Draw curves over logarithmic axes, each with its knee as a ring."""
    for number, each in enumerate(found):
        color = COLORS[number % len(COLORS)]
        # Curves that lie on each other are seen all the same: the later ones are thinner.
        width = max(_WIDEST - number, 1)
        points = zip(*each.points, strict=True)
        axes.plot(*points, marker="o", markersize=3 + width, linewidth=width, color=color, label=each.label)
        if each.mark is not None:
            axes.plot([each.mark], [dict(each.points)[each.mark]], "o", markersize=12, fillstyle="none", color=color)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = sorted({x for each in found for x, _ in each.points})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    rates = [rate for each in found for _, rate in each.points if rate > 0]
    ticks = ticks_around(min(rates, default=1.0), max(rates, default=1.0))
    axes.set_yticks(ticks, [f"{tick:,.10g}" for tick in ticks])
    axes.set_ylim(0.9 * ticks[0], 1.15 * ticks[-1])
    axes.minorticks_off()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    _legend_above(axes)


def _legend_above(axes: Any, *, columns: int = _COLUMNS) -> None:
    """Name curves where no curve can lie."""
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns)


def ticks_around(low: float, high: float) -> list[float]:
    """Return ticks around both of these, so that a logarithmic axis within one decade has labels, too."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= _DECADES else (1,)
    found = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    begin = max(tick for tick in found if tick <= low)
    end = min(tick for tick in found if tick >= high)
    return [tick for tick in found if begin <= tick <= end]


def decades(axes: Any, found: Sequence[tuple[str, float]], *, x: str, marked: Collection[str]) -> None:
    """Draw bars on a logarithmic axis, for values that are decades apart; those of marked labels in another color."""
    colors = [COLORS[1] if label in marked else COLORS[0] for label, _ in found]
    _horizontal(axes, found, colors, x)
    axes.set_xscale("log")


def bars(axes: Any, found: Sequence[tuple[str, float]], *, x: str, line_at: float | None = None) -> None:
    """Draw a bar for each (label, value), the first on top."""
    colors = [COLORS[0]] * len(found)
    if line_at is not None:
        colors = [_beside(value / line_at) for _, value in found]
        axes.axvline(line_at, color=COLORS[7], linewidth=1)
    _horizontal(axes, found, colors, x)


def _beside(ratio: float) -> str:
    """Return the color of better, worse or level: what differs by less than runs do is neither."""
    return COLORS[0] if abs(ratio - 1) < LEVEL else COLORS[2] if ratio > 1 else COLORS[3]


def _horizontal(axes: Any, found: Sequence[tuple[str, float]], colors: Sequence[str], x: str) -> None:
    axes.barh([label for label, _ in found], [value for _, value in found], color=colors)
    _rows(axes, len(found))
    axes.set_xlabel(x)


def _rows(axes: Any, count: int) -> None:
    """Let the rows fill the height, the first on top; a margin by share would be several rows where there are many."""
    axes.set_ylim(count - 0.4, -0.6)


def ranges(axes: Any, found: Sequence[tuple[str, float, float, float]], *, x: str) -> None:
    """Draw (label, p50, p95, p99) as a line with three points, on a logarithmic axis."""
    for number, (_, *values) in enumerate(found):
        axes.plot(values, [number] * 3, color=COLORS[0], alpha=0.5)
        for value, color in zip(values, (COLORS[2], COLORS[1], COLORS[3]), strict=True):
            axes.plot([value], [number], "o", color=color, markersize=5)
    for name, color in (("p50", COLORS[2]), ("p95", COLORS[1]), ("p99", COLORS[3])):
        axes.plot([], [], "o", color=color, label=name)
    axes.set_yticks(range(len(found)), [each[0] for each in found])
    axes.set_xscale("log")
    values = [value for _, *values in found for value in values]
    ticks = ticks_around(min(values, default=1.0), max(values, default=1.0))
    axes.set_xticks(ticks, [f"{tick:,.10g}" for tick in ticks])
    axes.minorticks_off()
    _rows(axes, len(found))
    axes.set_xlabel(x)
    _legend_above(axes, columns=_PERCENTILES)


def heat(axes: Any, rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float | None]]) -> None:
    """Draw a table of shares from 0 to 1; None stays empty."""
    import numpy as np

    shown = np.array([[np.nan if value is None else value for value in row] for row in values], dtype=float)
    axes.imshow(shown, cmap="RdYlGn", vmin=0, vmax=1, aspect="auto")
    axes.grid(visible=False)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    for row, column in np.argwhere(~np.isnan(shown)):
        share = shown[row, column]
        color = "#111111" if _PALE[0] < share < _PALE[1] else "#ffffff"
        axes.text(column, row, f"{share:.0%}", ha="center", va="center", color=color)
