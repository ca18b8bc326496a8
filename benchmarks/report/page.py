"""The report as one HTML file: pictures inside, readable on a phone and in dark mode, no script, nothing fetched."""

import html
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import told
from benchmarks.report import plots, tables
from benchmarks.report.plots import Line, Plot
from benchmarks.report.tables import Table
from benchmarks.scenarios import summary
from benchmarks.scenarios.results import SUCCESS, Document, Result

_STYLE = """
:root{color-scheme:light dark;--back:#fff;--text:#222;--soft:#f3f3f3;--line:#ddd;--good:#2c7a2c;--bad:#b22}
@media(prefers-color-scheme:dark){:root{--back:#16181c;--text:#ddd;--soft:#22252b;--line:#3a3f47;--good:#7c7;--bad:#f88}}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem}
body{background:var(--back);color:var(--text)}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem;white-space:nowrap}
td,th{padding:.25rem .6rem;text-align:right;border-bottom:1px solid var(--line)}
td:first-child,th:first-child{text-align:left}th{background:var(--soft)}
figure{margin:1.5rem 0}img{max-width:100%;height:auto}figcaption{font-size:.85rem;opacity:.8}
dt{font-weight:600;margin-top:.7rem}dd{margin:0 0 0 1rem;overflow-wrap:anywhere}
dd ul{margin:0;padding-left:1.2rem}
@media(max-width:40rem){
td:first-child,th:first-child{position:sticky;left:0;min-width:7rem;max-width:9rem;white-space:normal;overflow-wrap:anywhere}
td:first-child{background:var(--back)}}
.success{color:var(--good)}.bad{color:var(--bad)}
"""


def write(document: Document, path: Path, *, before: Document | None = None) -> None:
    """Write the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text(document, before=before))


def text(document: Document, *, before: Document | None = None) -> str:
    """Return the page."""
    machine = told(document["machine"])
    answers = "".join(
        f"<dt>{html.escape(question)}</dt><dd>{_answer(answer)}</dd>"
        for question, answer in summary.answers(document["results"])
    )
    body = [
        f"<h1>Scenarios</h1><p>{html.escape(tables.counted(document))}. {html.escape(machine)}.</p>",
        f"<h2>Six questions</h2><dl>{answers}</dl>",
        *(figure(each) for each in pictures(document, before)),
        *(table(each) for each in tables.all_tables(document, before)),
    ]
    return page("Scenarios", body)


def _answer(told: str) -> str:
    """Return an answer; one of several parts as a list, which a phone's width would make a wall of."""
    parts = [html.escape(each) for each in told.split("; ")]
    return parts[0] if len(parts) == 1 else f"<ul>{''.join(f'<li>{each}</li>' for each in parts)}</ul>"


def page(title: str, body: Sequence[str]) -> str:
    """Return a whole document around its parts."""
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


def escaped(told: str) -> str:
    """Return a text as HTML."""
    return html.escape(told)


def figure(plot: Plot) -> str:
    """Return a picture that follows the reader's color scheme."""
    alternative = html.escape(plot.description, quote=True)
    return (
        f"<figure><h2>{html.escape(plot.title)}</h2><picture>"
        f'<source media="(prefers-color-scheme:dark)" srcset="{plot.dark}"><img alt="{alternative}" src="{plot.light}">'
        f"</picture><figcaption>{html.escape(plot.description)}</figcaption></figure>"
    )


def table(found: Table) -> str:
    """Return a table under its heading."""
    head = "".join(f"<th>{html.escape(each)}</th>" for each in found.header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in found.rows)
    return f'<h2>{html.escape(found.title)}</h2><div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _cell(told: str) -> str:
    kinds = {SUCCESS: ' class="success"', "timeout": ' class="bad"', "failed": ' class="bad"', "error": ' class="bad"'}
    return f"<td{kinds.get(told, '')}>{html.escape(told)}</td>"


def pictures(document: Document, before: Document | None = None) -> list[Plot]:
    """Return the pictures for which there are results."""
    results = document["results"]
    made = [*_throughput(results), _latency(results), _memory(results), _best(results)]
    if before:
        made.insert(0, _comparison(results, before["results"]))
    return [each for each in made if each]


def _throughput(results: list[Result]) -> list[Plot]:
    """One picture for each work: curves of several would lie on each other, or decades apart."""
    works: dict[str, list[Line]] = defaultdict(list)
    for each in summary.curves(results):
        works[each.work].append(Line(each.strategy, each.points, each.knee))
    return [_curves(work, found) for work, found in works.items()]


def _curves(work: str, found: list[Line]) -> Plot:
    return plots.plot(
        f"Throughput against concurrency: {work}",
        "Jobs per second by jobs at once; a ring marks the knee, after which a step returns less than half.",
        lambda axes, _: plots.lines(axes, found, x="max_concurrent_jobs", y="jobs per second"),
    )


def _by_kind(results: list[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = defaultdict(list)
    for each in sorted(summary.successes(results), key=lambda each: (each["workload_type"], each["strategy"])):
        found[f"{each['workload_type']} {each['strategy']}"].append(each)
    return found


def _latency(results: list[Result]) -> Plot | None:
    names = ("latency_ms_p50", "latency_ms_p95", "latency_ms_p99")
    found = []
    for kind, lines in _by_kind(results).items():
        values = [[each[name] for each in lines if each.get(name) is not None] for name in names]
        if all(values):
            p50, p95, p99 = (max(statistics.median(each), 0.001) for each in values)
            found.append((kind, p50, p95, p99))
    if not found:
        return None
    return plots.plot(
        "Latency percentiles",
        "Milliseconds from the fetch of a message to its end, waits for a free slot included; medians over scenarios.",
        lambda axes, _: plots.ranges(axes, found, x="milliseconds"),
        height=1.2 + 0.3 * len(found),
    )


def _memory(results: list[Result]) -> Plot | None:
    found = [(kind, max(each["memory_peak_mb"] for each in lines)) for kind, lines in _by_kind(results).items()]
    if not found:
        return None
    return plots.plot(
        "Memory",
        "Peak of the consumer and all its children, MB; the largest over scenarios.",
        lambda axes, _: plots.bars(axes, found, x="MB"),
        height=1.0 + 0.3 * len(found),
    )


def _best(results: list[Result]) -> Plot | None:
    shares = summary.shares(results)
    if not shares:
        return None
    columns = sorted({name for group in shares.values() for name in group})
    values = [[group.get(name) for name in columns] for group in shares.values()]
    return plots.plot(
        "Best strategy",
        "Share of the best rate where all else is equal; 100 % was always best.",
        lambda axes, _: plots.heat(axes, list(shares), columns, values),
        height=1.0 + 0.5 * len(shares),
    )


def _comparison(results: list[Result], before: list[Result]) -> Plot | None:
    found = [(name, ratio) for name, _, _, ratio in tables.pairs(results, before)]
    if not found:
        return None
    return plots.plot(
        "Compared with the earlier run",
        f"Ratio of rates, after to before; below 1 is slower, blue is level (within {plots.LEVEL:.0%}).",
        lambda axes, _: plots.bars(axes, found, x="ratio", line_at=1.0),
        height=1.0 + 0.25 * len(found),
    )
