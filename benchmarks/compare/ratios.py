"""From runs to medians, ratios and verdicts. Pure: no files, no processes."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.compare.measure import RunResult
from benchmarks.compare.open_loop import Latency
from benchmarks.compare.works import FLOORS, TARGETS, WORKS, System, Work

Runs = Mapping[tuple[str, System], Sequence[RunResult]]
"""By the work's title and the system."""


def median(runs: Runs, title: str, system: System) -> float | None:
    """Return the median rate; None when it was not measured."""
    found = runs.get((title, system))
    return statistics.median(run.msgs_per_second for run in found) if found else None


def ideal(work: Work, messages: int) -> float:
    """Return the rate of `ceil(messages / workers) * seconds`: what blocking calls allow."""
    return messages / (math.ceil(messages / work.workers) * work.seconds)


def ratios(runs: Runs, missing: Mapping[tuple[str, System], str]) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return ours over each rival by `work/mode/peer`, None where a side is missing, and the reasons of those."""
    values: dict[str, float | None] = dict.fromkeys(TARGETS)
    for work in WORKS:
        for rival in work.rivals:
            values[f"{work.title}/{rival.value}"] = _ratio(runs, work, rival)
    reasons = {key: _reason(key, missing) for key, value in values.items() if value is None}
    return values, reasons


def void(runs: Runs) -> list[str]:
    """Return why the whole run says nothing: a bare loop far below what the raw loop allows."""
    raw = median(runs, "noop/single", System.RAW)
    found = []
    for title, share in FLOORS.items():
        bare = median(runs, title, System.BARE)
        if raw and bare and bare < share * raw:
            found.append(f"{title}/bare made {bare:,.0f}/s, less than {share:g} of the raw loop's {raw:,.0f}/s")
    return found


def row(work: Work, system: System, found: Sequence[RunResult], latency: Latency | None) -> dict[str, Any]:
    """Return one entry of `results`; of CPU and memory the medians, `latency_ms` None where it was not measured."""
    rates = [run.msgs_per_second for run in found]
    messages = statistics.median(run.messages for run in found)
    cpu = statistics.median(run.cpu_seconds for run in found)
    return {
        "system": system.value,
        "mode": work.mode.value,
        "ordering": work.ordering.value,
        "work": work.name,
        "rounds": len(found),
        "messages": messages,
        "msgs_per_second": {"min": min(rates), "median": statistics.median(rates), "max": max(rates)},
        "latency_ms": asdict(latency) if latency is not None else None,
        "cpu_seconds": cpu,
        "cpu_us_per_message": 1e6 * cpu / messages if messages else None,
        "rss_mb": max(run.rss_mb for run in found),
        "is_whole": all(run.is_whole for run in found),
        "missing": sum(run.missing for run in found if run.is_whole),
        "twice": sum(run.twice for run in found),
    }


def _ratio(runs: Runs, work: Work, rival: System) -> float | None:
    ours = median(runs, work.title, System.OURS)
    if rival is System.IDEAL:
        found = runs.get((work.title, System.OURS))
        theirs = ideal(work, found[0].messages) if found else None
    else:
        theirs = median(runs, work.title, rival)
    return ours / theirs if ours and theirs else None


def _reason(key: str, missing: Mapping[tuple[str, System], str]) -> str:
    title, _, peer = key.rpartition("/")
    told = [reason for system in (System(peer), System.OURS) if (reason := missing.get((title, system)))]
    return "; ".join(told) or "not among the works of this run"
