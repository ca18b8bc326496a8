"""The comparison for people: a table in the terminal, an HTML page with its plots inside; both show the JSON."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks import whole_file
from benchmarks.machine import told
from benchmarks.report import page, plots, tables
from benchmarks.report.plots import Plot

Document = dict[str, Any]
Rows = Sequence[dict[str, Any]]
HEADER = ("work", "system", "rounds", "min/s", "median/s", "max/s", "CPU us", "MB", "p50 ms", "p99 ms", "p99.9 ms")


def results_table(document: Document) -> Table:
    """Return what each system did."""
    table = Table(*HEADER, title="Rates, and latency at half of them")
    for row in document["results"]:
        table.add_row(*cells(row))
    return table


def cells(row: dict[str, Any]) -> list[str]:
    """Return one result as texts."""
    rates = [f"{row['msgs_per_second'][name]:,.0f}" for name in ("min", "median", "max")]
    cpu = row["cpu_us_per_message"]
    each = f"{cpu:,.2f}" if cpu is not None else "-"
    latency = row["latency_ms"]
    times = [f"{latency[name]:,.1f}" if latency else "-" for name in ("p50", "p99", "p999")]
    work = f"{row['work']}/{row['mode']}"
    return [work, row["system"], str(row["rounds"]), *rates, each, f"{row['rss_mb']:,.0f}", *times]


def ratios_table(document: Document) -> Table:
    """Return the ratios that have targets, and whether they reach them."""
    table = Table("ratio", "ours / peer", "target", "", title="Ratios of medians")
    for key, target in document["targets"].items():
        value = document["ratios"][key]
        if value is None:
            table.add_row(key, "-", f"{target:g}", document["reasons"].get(key, ""))
        else:
            table.add_row(key, f"{value:.2f}", f"{target:g}", "[green]met[/]" if value >= target else "[red]missed[/]")
    return table


def write_html(document: Document, path: Path) -> None:
    """Write the page; it needs no other file."""
    title = f"Comparison of {document['written_at']}"
    ratios = [
        [key, "-" if value is None else f"{value:.2f}", str(document["targets"].get(key, "")),
         document["reasons"].get(key, "")]
        for key, value in document["ratios"].items()
    ]  # fmt: skip
    body = [
        f"<h1>{page.escaped(title)}</h1><p>{page.escaped(told(document['machine']))}</p>",
        f"<p>{page.escaped(told(document['parameters']))}</p>",
        *(f"<p><b>Void:</b> {page.escaped(reason)}</p>" for reason in document["void"]),
        page.table(tables.Table("Results", HEADER, [cells(row) for row in document["results"]])),
        page.table(tables.Table("Ratios", ["ratio", "ours / peer", "target", "reason"], ratios)),
        *(page.figure(each) for each in _plots(document["results"])),
    ]
    whole_file.write_text(path, page.page(title, body))


def _plots(results: Rows) -> list[Plot]:
    timed = [row for row in results if row["latency_ms"]]
    found = [
        _plot("Rate", results, "messages per second", lambda row: row["msgs_per_second"]["median"]),
        _plot("CPU", results, "microseconds per message", lambda row: row["cpu_us_per_message"] or 0.0),
        _plot("Memory", results, "MB", lambda row: row["rss_mb"]),
    ]
    return found + [_latency_plot(timed, name) for name in ("p50", "p99", "p999") if timed]


def _latency_plot(rows: Rows, name: str) -> Plot:
    return _plot(f"Latency {name} at half load", rows, "milliseconds", lambda row: row["latency_ms"][name])


def _plot(title: str, rows: Rows, unit: str, value: Callable[[dict[str, Any]], float]) -> Plot:
    """Return a bar per work and system, ours marked."""
    labels = [f"{row['work']}/{row['mode']} {row['system']}" for row in rows]
    marked = [label for label in labels if label.endswith(" ours")]
    return plots.plot(
        title,
        f"By work and system, {unit}; the axis is logarithmic, ours in orange.",
        lambda axes, _: plots.decades(axes, list(zip(labels, map(value, rows), strict=True)), x=unit, marked=marked),
        height=0.8 + 0.2 * len(rows),
    )
