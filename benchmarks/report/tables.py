"""The tables of a report as texts, once for terminal, page and Markdown. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.scenarios import summary
from benchmarks.scenarios.results import SUCCESS, Document, Result

HEADER = ("scenario", "strategy", "work", "jobs", "s", "at once", "jobs/s", "min", "max", "total s", "p50 ms", "p99 ms",
          "peak MB", "status")  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A heading, and rows of texts; the first column names, the others count."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def all_tables(document: Document, before: Document | None = None) -> list[Table]:
    """Return every table of the report."""
    results = document["results"]
    tables = [compared(results, before["results"])] if before else []
    tables += [best(results), knees(results), fastest(results)]
    tables += [Table(f"Phase {name}", HEADER, [row(each) for each in lines])
               for name, lines in summary.by_phase(results).items()]  # fmt: skip
    return [each for each in tables if each.rows]


def row(line: Result) -> list[str]:
    """Return a scenario's line."""
    name, told = line["name"], [line["strategy"], line["workload_type"], f"{line['num_instances']:,}"]
    work = [f"{line['work_duration']:g}", f"{line['max_concurrent_jobs']:,}"]
    if "jobs_per_second_avg" not in line:
        return [name, *told, *work, *["-"] * 7, line["status"]]
    rates = [number(line[f"jobs_per_second_{each}"]) for each in ("avg", "min", "max")]
    times = [f"{line['total_time']:,.2f}", number(line["latency_ms_p50"]), number(line["latency_ms_p99"])]
    return [name, *told, *work, *rates, *times, f"{line['memory_peak_mb']:,.0f}", line["status"]]


def number(value: float | None) -> str:
    """Return three significant places, as far as a reader needs them."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"


def best(results: list[Result]) -> Table:
    """Return the best strategy of each workload, and each one's share of the best."""
    shares = summary.shares(results)
    strategies = sorted({name for group in shares.values() for name in group})
    leaders = summary.best_strategies(results)
    rows = [
        [workload, leaders[workload], *(f"{group[name]:.0%}" if name in group else "-" for name in strategies)]
        for workload, group in shares.items()
    ]
    return Table("Best strategy of each workload (share of the best rate, all else equal)",
                 ("work", "best", *strategies), rows)  # fmt: skip


def knees(results: list[Result]) -> Table:
    """Return each concurrency curve with its knee."""
    rows = [
        [each.title, str(each.knee), ", ".join(f"{jobs}: {number(rate)}" for jobs, rate in each.points)]
        for each in summary.curves(results)
    ]
    return Table("Knees of the concurrency curves", ("curve", "knee", "jobs/s at each concurrency"), rows)


def fastest(results: list[Result]) -> Table:
    """Return the top performers."""
    rows = [[each["name"], each["strategy"], number(each["jobs_per_second_avg"])] for each in summary.top(results)]
    return Table("Top performers", ("scenario", "strategy", "jobs/s"), rows)


def compared(results: list[Result], before: list[Result]) -> Table:
    """Return what two runs of the same scenarios did."""
    rows = [
        [name, number(then["jobs_per_second_avg"]), number(now["jobs_per_second_avg"]), f"{ratio:.2f}",
         f"{now['memory_peak_mb'] - then['memory_peak_mb']:+,.0f}"]
        for name, then, now, ratio in pairs(results, before)
    ]  # fmt: skip
    return Table("Compared with the earlier run", ("scenario", "before/s", "after/s", "ratio", "MB"), rows)


def pairs(results: list[Result], before: list[Result]) -> list[tuple[str, Any, Any, float]]:
    """Return (name, before, after, ratio of rates) of scenarios that succeeded in both."""
    then = {each["name"]: each for each in summary.successes(before)}
    return [
        (each["name"], then[each["name"]], each,
         each["jobs_per_second_avg"] / max(then[each["name"]]["jobs_per_second_avg"], 1e-9))
        for each in summary.successes(results)
        if each["name"] in then
    ]  # fmt: skip


def counted(document: Document) -> str:
    """Return how many scenarios there are, and how many ended well."""
    results = document["results"]
    well = sum(each["status"] == SUCCESS for each in results)
    return f"{len(results)} of {document['planned']} scenarios run, {well} with success"
