"""Which scenarios the suites hold: eight phases with the source document's counts, and a ninth of our own.

The document names strategies, workloads and the counts of each phase. What it leaves open is decided here: phases 3 to
5 wait (`io`), since on one interpreter the curve of a computing job is flat at any concurrency and has no knee, and the
length of its jobs changes nothing but the time that the suite takes; 50 jobs in phase 3, so that 50 at once can be
reached.
"""

from collections.abc import Callable
from enum import StrEnum
from itertools import product
from typing import Any

from benchmarks.scenarios.model import Scenario, Strategy, Workload

_ASYNC, _THREAD, _AUTO, _PROCESS = Strategy.ASYNC, Strategy.THREAD, Strategy.AUTO, Strategy.PROCESS
_OF_DOCUMENT = (_ASYNC, _THREAD, _AUTO)
_TWO = (_ASYNC, _THREAD)
_CPU, _IO, _SUBPROCESS, _THREADED = Workload.CPU, Workload.IO, Workload.SUBPROCESS, Workload.SUBPROCESS_THREADED
PROCESS_PHASE = "9_process"


class Suite(StrEnum):
    """What `generate` makes."""

    MINIMAL = "minimal"
    QUICK = "quick"
    FULL = "full"
    PROCESS = "process"


def generated(suite: Suite, *, with_process: bool = False, repeats: int = 1) -> list[Scenario]:
    """Return the suite: 3, 11 or 71 scenarios, or the 4 of phase 9, which `with_process` adds to the others."""
    makers: dict[Suite, Callable[[], list[dict[str, Any]]]] = {
        Suite.MINIMAL: baseline,
        Suite.QUICK: quick,
        Suite.FULL: lambda: [each for phase in PHASES.values() for each in phase()],
        Suite.PROCESS: process,
    }
    entries = makers[suite]() + (process() if with_process and suite is not Suite.PROCESS else [])
    return [Scenario(**({"repeats": repeats} | each)) for each in entries]


def _entry(phase: str, strategy: Strategy, workload: Workload, description: str, **fields: Any) -> dict[str, Any]:
    """Return a scenario of the baseline's size but for the fields that are given."""
    entry: dict[str, Any] = {
        "num_instances": 20,
        "strategy": strategy,
        "workload_type": workload,
        "work_duration": 1.0,
        "max_concurrent_jobs": 10,
        "phase": phase,
        "description": description,
    } | fields
    told = f"{entry['num_instances']}x{entry['work_duration']:g}s_c{entry['max_concurrent_jobs']}"
    entry["name"] = f"{phase.partition('_')[0]}_{fields.get('name', '')}{strategy}_{workload}_{told}"
    return entry


def baseline() -> list[dict[str, Any]]:
    """Each strategy on the standard CPU work."""
    return [_entry("1_baseline", each, _CPU, "Baseline of the strategy") for each in _OF_DOCUMENT]


def workload_types() -> list[dict[str, Any]]:
    """Which strategy suits which work."""
    return [
        _entry("2_workload_types", strategy, workload, f"{workload} work by {strategy}")
        for workload, strategy in product((_CPU, _IO, _SUBPROCESS), _TWO)
    ]


def concurrency_scaling() -> list[dict[str, Any]]:
    """How the rate follows the number of jobs at once."""
    return [
        _entry(
            "3_concurrency_scaling", each, _IO, f"{jobs} at once", num_instances=50, max_concurrent_jobs=jobs
        )
        for each, jobs in product(_OF_DOCUMENT, (1, 5, 10, 20, 50))
    ]  # fmt: skip


def load_scaling() -> list[dict[str, Any]]:
    """How the rate follows the number of jobs there are."""
    return [
        _entry("4_load_scaling", each, _IO, f"{jobs} jobs", num_instances=jobs)
        for each, jobs in product(_OF_DOCUMENT, (10, 20, 50, 100, 200))
    ]


def work_duration() -> list[dict[str, Any]]:
    """Whether the length of a job decides between strategies."""
    return [
        _entry("5_work_duration", each, _IO, f"Jobs of {seconds:g} s", work_duration=seconds)
        for each, seconds in product(_TWO, (0.1, 0.5, 1.0, 2.0, 5.0))
    ]


def interaction_effects() -> list[dict[str, Any]]:
    """Workload by concurrency by strategy."""
    return [
        _entry("6_interaction_effects", each, workload, f"{workload}, {jobs} at once", max_concurrent_jobs=jobs)
        for workload, jobs, each in product((_CPU, _IO, _SUBPROCESS), (5, 20), _TWO)
    ]


def edge_cases() -> list[dict[str, Any]]:
    """Single job, massive load, bottleneck, long jobs, many subprocesses, very many coroutines."""
    phase = "7_edge_cases"
    return [
        _entry(phase, _ASYNC, _CPU, "One job", name="single_job_", num_instances=1, max_concurrent_jobs=1),
        _entry(phase, _ASYNC, _IO, "500 jobs", name="massive_load_", num_instances=500, max_concurrent_jobs=50),
        _entry(phase, _THREAD, _IO, "One at a time", name="bottleneck_", max_concurrent_jobs=1),
        _entry(
            phase, _THREAD, _IO, "Jobs of 20 s", name="long_duration_", num_instances=5, work_duration=20.0,
            max_concurrent_jobs=5,
        ),
        _entry(
            phase, _THREAD, _SUBPROCESS, "50 subprocesses at once", name="subprocess_stress_", num_instances=100,
            work_duration=0.5, max_concurrent_jobs=50,
        ),
        _entry(
            phase, _ASYNC, _IO, "500 coroutines at once", name="high_async_concurrency_", num_instances=500,
            max_concurrent_jobs=500,
        ),
    ]  # fmt: skip


def subprocess_threading() -> list[dict[str, Any]]:
    """Subprocesses started from threads within a job: what forks of threaded programs may break."""
    return [
        _entry("8_subprocess_threading", each, _THREADED, f"{jobs} at once", max_concurrent_jobs=jobs)
        for each, jobs in product(_TWO, (5, 20))
    ]


def process() -> list[dict[str, Any]]:
    """Worker processes over every workload; the document has them as broken."""
    return [_entry(PROCESS_PHASE, _PROCESS, each, f"{each} in worker processes") for each in Workload]


def quick() -> list[dict[str, Any]]:
    """Baseline and workload types, and the two ends of a concurrency curve."""
    ends = {each["max_concurrent_jobs"]: each for each in concurrency_scaling() if each["strategy"] is _ASYNC}
    return [*baseline(), *workload_types(), ends[1], ends[50]]


PHASES: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "1_baseline": baseline,
    "2_workload_types": workload_types,
    "3_concurrency_scaling": concurrency_scaling,
    "4_load_scaling": load_scaling,
    "5_work_duration": work_duration,
    "6_interaction_effects": interaction_effects,
    "7_edge_cases": edge_cases,
    "8_subprocess_threading": subprocess_threading,
}
"""The phases of the document, in its order; 3, 6, 15, 15, 10, 12, 6 and 4 scenarios."""
