"""The comparison for people: a table in the terminal, an HTML page with its plots inside; both show the JSON."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

Document = dict[str, Any]
HEADER = ("work", "system", "rounds", "min/s", "median/s", "max/s", "CPU us", "MB", "p50 ms", "p99 ms", "p99.9 ms")
_STYLE = "body{font:15px sans-serif;margin:2em}td,th{padding:.2em .8em;text-align:right}td:first-child{text-align:left}"


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
    plots = [
        _plot(document, "Messages per second", lambda row: row["msgs_per_second"]["median"]),
        _plot(document, "CPU microseconds per message", lambda row: row["cpu_us_per_message"] or 0.0),
        _plot(document, "Memory, MB", lambda row: row["rss_mb"]),
        *(_latency_plot(document, name) for name in ("p50", "p99", "p999") if _has_latency(document)),
    ]
    ratios = [
        [key, "-" if value is None else f"{value:.2f}", str(document["targets"].get(key, "")),
         document["reasons"].get(key, "")]
        for key, value in document["ratios"].items()
    ]  # fmt: skip
    parts = [
        "<!doctype html><meta charset=utf-8><title>Comparison</title>",
        f"<style>{_STYLE}</style>",
        f"<h1>Comparison of {html.escape(document['written_at'])}</h1>",
        f"<p>{html.escape(str(document['machine']))}</p><p>{html.escape(str(document['parameters']))}</p>",
        *(f"<p><b>Void:</b> {html.escape(reason)}</p>" for reason in document["void"]),
        _html_table(HEADER, [cells(row) for row in document["results"]]),
        _html_table(["ratio", "ours / peer", "target", "reason"], ratios),
        *(f'<p><img alt="" src="data:image/png;base64,{each}"></p>' for each in plots),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts))


def _html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(each)}</th>" for each in header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(each)}</td>" for each in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _has_latency(document: Document) -> bool:
    return any(row["latency_ms"] for row in document["results"])


def _latency_plot(document: Document, name: str) -> str:
    rows = [row for row in document["results"] if row["latency_ms"]]
    title = f"Latency {name} at half load, milliseconds"
    return _plot({"results": rows}, title, lambda row: row["latency_ms"][name])


def _plot(document: Document, title: str, value: Any) -> str:
    """Return a bar per work and system as base64 of a PNG; on a logarithmic scale, since peers are decades apart."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = document["results"]
    figure, axes = plt.subplots(figsize=(9, 0.8 + 0.3 * len(rows)))
    labels = [f"{row['work']}/{row['mode']} {row['system']}" for row in rows]
    colors = ["tab:blue" if row["system"] == "ours" else "tab:gray" for row in rows]
    axes.barh(labels, [value(row) for row in rows], color=colors)
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.set_title(title)
    figure.tight_layout()
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=90)
    plt.close(figure)
    return base64.b64encode(image.getvalue()).decode()
