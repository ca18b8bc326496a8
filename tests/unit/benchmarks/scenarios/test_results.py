"""Results: their fields, and what a resumed run takes over."""

import pytest

from benchmarks.scenarios import results
from benchmarks.scenarios.job import Outcome
from benchmarks.scenarios.model import Scenario
from benchmarks.scenarios.results import Results

DOCUMENTED = {
    "name", "strategy", "workload_type", "num_instances", "work_duration", "max_concurrent_jobs", "phase", "status",
    "jobs_per_second", "jobs_per_second_avg", "jobs_per_second_min", "jobs_per_second_max", "total_time",
    "jobs_completed", "memory_peak_mb", "max_rss_mb", "rss_delta_mb",
}  # fmt: skip


def scenario(name: str, **fields: object) -> Scenario:
    """A scenario of 10 jobs."""
    return Scenario(**({"name": name, "num_instances": 10, "strategy": "async", "workload_type": "io"} | fields))


def outcome(seconds: float = 2.0, succeeded: int = 10, **fields: object) -> Outcome:
    """What a repeat did."""
    return Outcome(seconds=seconds, reached=True, succeeded=succeeded, rss_peak_mb=60.0, rss_before_mb=50.0, **fields)


def test_result_has_the_documents_fields_and_figures() -> None:
    """Average, least and most over repeats; the document's pandas snippets find their columns."""
    line = results.result(scenario("a"), [outcome(2.0), outcome(5.0)])
    assert line.keys() >= DOCUMENTED
    assert (line["jobs_per_second_min"], line["jobs_per_second_avg"], line["jobs_per_second_max"]) == (2.0, 3.5, 5.0)
    assert (line["status"], line["total_time"], line["rss_delta_mb"]) == ("success", 3.5, 10.0)


@pytest.mark.parametrize(
    ("found", "error", "status"),
    [
        (outcome(succeeded=9), "", "timeout"),
        (outcome(succeeded=9, failed=1), "", "failed"),
        (outcome(error="no partitions"), "", "error"),
        (None, "the process ended", "error"),
    ],
)
def test_status_says_what_went_wrong(found: Outcome | None, error: str, status: str) -> None:
    """Unfinished, failed, and not run are told apart."""
    line = results.result(scenario("a"), [found] if found else [], error=error)
    assert line["status"] == status
    assert line["error"]


def test_resumed_run_keeps_what_succeeded_unchanged(tmp_path) -> None:
    """Kept is what succeeded with the same parameters; what failed, or was changed, is run again; order is kept."""
    before = [scenario("a"), scenario("b"), scenario("c"), scenario("d")]
    first = Results.begun(tmp_path / "r.json", before, before, broker="Kafka")
    first.add(results.result(before[2], [outcome()]))
    first.add(results.result(before[0], [outcome()]))
    first.add(results.result(before[1], [], error="broken"))
    after = [scenario("a"), scenario("b"), scenario("c", work_duration=9.0), scenario("d")]
    resumed = Results.begun(tmp_path / "r.json", after, after, broker="Kafka", resume=True)
    assert [each.name for each in resumed.todo] == ["b", "c", "d"]
    resumed.add(results.result(after[1], [outcome()]))
    assert [line["name"] for line in resumed.document()["results"]] == ["a", "b"]


def test_run_of_one_phase_keeps_the_others(tmp_path) -> None:
    """Phases can be run one by one into one file."""
    both = [scenario("a", phase="1"), scenario("b", phase="2")]
    Results.begun(tmp_path / "r.json", both, both[:1], broker="Kafka").add(results.result(both[0], [outcome()]))
    second = Results.begun(tmp_path / "r.json", both, both[1:], broker="Kafka", resume=True)
    second.add(results.result(both[1], [outcome()]))
    assert [line["name"] for line in results.load(tmp_path / "r.json")["results"]] == ["a", "b"]


def test_run_without_resume_begins_anew(tmp_path) -> None:
    """Only --resume takes over."""
    all_of_it = [scenario("a")]
    Results.begun(tmp_path / "r.json", all_of_it, all_of_it, broker="K").add(results.result(all_of_it[0], [outcome()]))
    assert Results.begun(tmp_path / "r.json", all_of_it, all_of_it, broker="K").todo == all_of_it
