"""Conclusions from results: knees, best strategies, and the document's six questions in words. Pure.

A mean over whatever scenarios a strategy took part in would compare unequal work. So strategies are compared only where
all else is equal: within scenarios of the same work, size and concurrency.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.scenarios.results import SUCCESS, Result

KNEE_GAIN = 0.5
"""A step of the concurrency is worth its while from this share of the proportional gain on."""
_LEVEL = 0.95
"""Rates within this share of each other count as equal."""


@dataclass(frozen=True)
class Curve:
    """Rates of one strategy and work by concurrency."""

    strategy: str
    workload: str
    jobs: int
    seconds: float
    """Of work in each job."""
    points: tuple[tuple[int, float], ...]
    """(max_concurrent_jobs, jobs per second), by concurrency."""

    @property
    def title(self) -> str:
        """For tables and sentences."""
        return f"{self.strategy}, {self.work}"

    @property
    def work(self) -> str:
        """What curves that can be compared have in common."""
        return f"{self.workload} ({self.jobs:,} x {self.seconds:g} s)"

    @property
    def knee(self) -> int:
        """The last concurrency that was worth its while."""
        return knee(self.points)


def knee(points: Sequence[tuple[int, float]]) -> int:
    """Return the concurrency after which the next step returns less than half of its proportional gain.

    `points` are (concurrency, rate) by concurrency, at least one.
    """
    best, rate = points[0]
    for jobs, found in points[1:]:
        if found / max(rate, 1e-9) - 1 < KNEE_GAIN * (jobs / best - 1):
            break
        best, rate = jobs, found
    return best


def successes(results: Iterable[Result]) -> list[Result]:
    """Return those that succeeded."""
    return [each for each in results if each["status"] == SUCCESS]


def by_phase(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Return results by phase, in their order."""
    found: dict[str, list[Result]] = defaultdict(list)
    for each in results:
        found[each["phase"]].append(each)
    return dict(found)


def top(results: Iterable[Result], count: int = 5) -> list[Result]:
    """Return the fastest."""
    return sorted(successes(results), key=lambda each: -each["jobs_per_second_avg"])[:count]


def curves(results: Iterable[Result]) -> list[Curve]:
    """Return the concurrency curves: at least three concurrencies with all else equal."""
    groups: dict[tuple[Any, ...], dict[int, float]] = defaultdict(dict)
    for each in successes(results):
        key = tuple(each[name] for name in ("strategy", "workload_type", "num_instances", "work_duration"))
        groups[key][each["max_concurrent_jobs"]] = each["jobs_per_second_avg"]
    return [
        Curve(strategy, workload, jobs, seconds, tuple(sorted(points.items())))
        for (strategy, workload, jobs, seconds), points in groups.items()
        if len(points) >= 3
    ]


def equals(results: Iterable[Result]) -> list[dict[str, float]]:
    """Return rates by strategy of each group of scenarios that differ in nothing else; see `shares` for workloads."""
    return [rates for _, rates in _groups(results)]


def _groups(results: Iterable[Result]) -> list[tuple[str, dict[str, float]]]:
    found: dict[tuple[Any, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    names = ("workload_type", "num_instances", "work_duration", "max_concurrent_jobs")
    for each in successes(results):
        found[tuple(each[name] for name in names)][each["strategy"]].append(each["jobs_per_second_avg"])
    return [
        (key[0], {strategy: statistics.fmean(rates) for strategy, rates in group.items()})
        for key, group in found.items()
        if len(group) > 1
    ]


def shares(results: Iterable[Result]) -> dict[str, dict[str, float]]:
    """Return by workload and strategy the average share of the best rate where all else is equal; 1 is always best."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for workload, rates in _groups(results):
        best = max(rates.values())
        for strategy, rate in rates.items():
            found[workload][strategy].append(rate / best)
    return {
        workload: {strategy: statistics.fmean(values) for strategy, values in group.items()}
        for workload, group in found.items()
    }


def best_strategies(results: Iterable[Result]) -> dict[str, str]:
    """Return the best strategy of each workload, with those that are as good, in words."""
    return {workload: _leaders(group) for workload, group in shares(results).items()}


def _leaders(group: dict[str, float]) -> str:
    ordered = sorted(group.items(), key=lambda each: -each[1])
    level = [name for name, share in ordered if share >= _LEVEL * ordered[0][1]]
    return " = ".join(level)


def answers(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Return the document's six questions, each with what the results say."""
    return [
        ("Which strategy is fastest for CPU-bound work?", _fastest(results, "cpu")),
        ("How does concurrency affect throughput?", _concurrency(results)),
        ("What is the optimal max_concurrent_jobs setting?", _optimum(results)),
        ("Does async or thread handle I/O better?", _async_or_thread(results)),
        ("What happens under extreme load?", _extremes(results)),
        ("Are there subprocess threading issues?", _threading(results)),
    ]


def _unknown(phase: str) -> str:
    return f"Not measured: no results of phase {phase}."


def _fastest(results: Sequence[Result], workload: str) -> str:
    found = [rates for name, rates in _groups(results) if name == workload]
    if not found:
        return _unknown("1_baseline or 2_workload_types")
    rates = max(found, key=len)
    ordered = sorted(rates.items(), key=lambda each: -each[1])
    told = ", ".join(f"{name} {rate:.2f}/s" for name, rate in ordered)
    overall = _leaders(shares(results)[workload])
    chosen = {
        each["mode"] for each in successes(results) if each["strategy"] == "auto" and each["workload_type"] == workload
    }
    note = f" auto chose {' and '.join(sorted(chosen))}." if chosen else ""
    return f"{overall}, where all else is equal. Side by side: {told}.{note}"


def _concurrency(results: Sequence[Result]) -> str:
    found = curves(results)
    if not found:
        return _unknown("3_concurrency_scaling")
    parts = []
    for each in found:
        (low, slow), (high, fast) = each.points[0], each.points[-1]
        parts.append(f"{each.title}: x{fast / max(slow, 1e-9):.1f} in rate for x{high / low:g} in concurrency")
    return "; ".join(parts) + "."


def _optimum(results: Sequence[Result]) -> str:
    found = curves(results)
    if not found:
        return _unknown("3_concurrency_scaling")
    told = [
        f"{each.title}: {each.knee}" + (" (the highest tried: try more)" if each.knee == each.points[-1][0] else "")
        for each in found
    ]
    return "; ".join(["the knee, beyond which a step returns less than half of its proportional gain", *told]) + "."


def _async_or_thread(results: Sequence[Result]) -> str:
    ratios = [
        rates["async"] / rates["thread"]
        for workload, rates in _groups(results)
        if workload == "io" and {"async", "thread"} <= rates.keys()
    ]
    if not ratios:
        return _unknown("2_workload_types")
    middle = statistics.median(ratios)
    verdict = "level" if _LEVEL <= middle <= 1 / _LEVEL else "async" if middle > 1 else "thread"
    return (
        f"{verdict}: async has {middle:.2f} times the rate of thread in the median of {len(ratios)} pairs "
        f"({min(ratios):.2f} to {max(ratios):.2f})."
    )


def _extremes(results: Sequence[Result]) -> str:
    found = [each for each in results if each["phase"] == "7_edge_cases"]
    if not found:
        return _unknown("7_edge_cases")
    bad = [each for each in found if each["status"] != SUCCESS]
    told = "; ".join(
        f"{each['name'].partition('_')[2]}: {each['jobs_per_second_avg']:.1f}/s, {each['memory_peak_mb']:.0f} MB"
        for each in successes(found)
    )
    ending = f"Not successful: {', '.join(each['name'] for each in bad)}." if bad else "All of them ended well."
    return f"{told}. {ending}"


def _threading(results: Sequence[Result]) -> str:
    found = [each for each in results if each["workload_type"] == "subprocess_threaded"]
    if not found:
        return _unknown("8_subprocess_threading")
    bad = [each["name"] for each in found if each["status"] != SUCCESS]
    warned = [each["name"] for each in found if each.get("warnings")]
    if not bad and not warned:
        return f"None seen: {len(found)} scenarios ended with every job done, no hang and no warning."
    return f"Not successful: {', '.join(bad) or 'none'}; with warnings: {', '.join(warned) or 'none'}."
