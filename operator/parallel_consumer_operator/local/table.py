"""The live table of a tuning run, for a terminal; in a pipe it becomes one line a look. Shows, and decides nothing."""

from collections import deque
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from consumer_runtime.contract.knobs import camel_case
from parallel_consumer_operator.local.sample import Sample, rates

ROWS = 18


class LiveTable:
    """A context manager that draws the newest samples: second, rate, backlog, each knob, last decision, its reason."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self._title = title
        self._console = console or Console()
        self._rows: deque[Sample] = deque(maxlen=ROWS + 1)
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, sample: Sample) -> None:
        """Add one sample and redraw."""
        self._rows.append(sample)
        if self._live:
            self._live.update(self._draw(), refresh=True)
        else:
            self._console.print("  ".join(_cells(sample, self._rate(sample))), soft_wrap=True, highlight=False)

    def _rate(self, sample: Sample) -> float | None:
        rows = list(self._rows)
        place = rows.index(sample)
        return rates(rows[place - 1 : place + 1])[0] if place else None

    def _draw(self) -> Table:
        table = Table(title=self._title, expand=True)
        knobs = sorted({name for sample in self._rows for name in sample.knobs})
        for name in ("second", "msg/s", "backlog", *map(camel_case, knobs)):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("decision", no_wrap=True)
        table.add_column("because", ratio=1)
        for sample in list(self._rows)[1:] or self._rows:
            table.add_row(*_cells(sample, self._rate(sample), knobs))
        return table


def _cells(sample: Sample, rate: float | None, knobs: list[str] | None = None) -> list[str]:
    if knobs is None:
        values = [f"{camel_case(name)}={value}" for name, value in sorted(sample.knobs.items())]
    else:
        values = [str(sample.knobs.get(name, "")) for name in knobs]
    return [
        f"{sample.second:.0f}",
        "-" if rate is None else f"{rate:,.0f}",
        "-" if sample.backlog is None else f"{sample.backlog:,}",
        *values,
        sample.decision or "-",
        sample.message,
    ]
