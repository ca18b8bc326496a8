"""The suites hold what the source document lists."""

from collections import Counter

import pytest

from benchmarks.scenarios import model, phases
from benchmarks.scenarios.phases import Suite

COUNTS = {
    "1_baseline": 3, "2_workload_types": 6, "3_concurrency_scaling": 15, "4_load_scaling": 15, "5_work_duration": 10,
    "6_interaction_effects": 12, "7_edge_cases": 6, "8_subprocess_threading": 4,
}  # fmt: skip


@pytest.mark.parametrize(
    ("suite", "count"), [(Suite.MINIMAL, 3), (Suite.QUICK, 11), (Suite.FULL, 71), (Suite.PROCESS, 4)]
)
def test_suite_has_the_documents_count(suite: Suite, count: int) -> None:
    """3, 11 and 71 scenarios, and 4 of our own; each with a name of its own."""
    made = phases.generated(suite)
    assert (len(made), len({each.name for each in made})) == (count, count)


def test_full_suite_has_the_documents_phases() -> None:
    """Eight phases in the document's order with its counts."""
    counted = Counter(each.phase for each in phases.generated(Suite.FULL))
    assert (dict(counted), list(counted)) == (COUNTS, list(COUNTS))


def test_ninth_phase_is_process_over_every_workload() -> None:
    """`--with-process` adds one scenario for each workload, all of strategy process."""
    added = phases.generated(Suite.FULL, with_process=True)[71:]
    assert [(each.strategy, each.workload_type, each.phase) for each in added] == [
        (model.Strategy.PROCESS, workload, "9_process") for workload in model.Workload
    ]


def test_phase_parameters_are_the_documents() -> None:
    """Concurrencies, loads and durations as listed; each with the strategies that the phase names."""
    made = phases.generated(Suite.FULL)

    def values(phase: str, name: str) -> set[object]:
        return {getattr(each, name) for each in made if each.phase == phase}

    assert values("3_concurrency_scaling", "max_concurrent_jobs") == {1, 5, 10, 20, 50}
    assert values("4_load_scaling", "num_instances") == {10, 20, 50, 100, 200}
    assert values("5_work_duration", "work_duration") == {0.1, 0.5, 1.0, 2.0, 5.0}
    assert values("3_concurrency_scaling", "strategy") == {"async", "thread", "auto"}
    assert values("5_work_duration", "strategy") == {"async", "thread"}
    assert values("8_subprocess_threading", "workload_type") == {"subprocess_threaded"}


def test_generated_file_is_read_back(tmp_path) -> None:
    """What `generate` writes is what `run` reads, as JSON; the table has a line for each."""
    made = phases.generated(Suite.FULL, with_process=True, repeats=3)
    model.write(made, tmp_path / "s.json")
    model.write_csv(made, tmp_path / "s.csv")
    assert model.load(tmp_path / "s.json") == made
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 76
