"""Results: their fields, and what a resumed run takes over."""

import json
import re

import pytest

from benchmarks.scenarios import results
from benchmarks.scenarios.errors import ScenarioFileError
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
    """Average, least and most over repeats, under the document's names."""
    line = results.result(scenario("a"), [outcome(2.0), outcome(5.0)])
    assert line.keys() >= DOCUMENTED
    assert (line["jobs_per_second_min"], line["jobs_per_second_avg"], line["jobs_per_second_max"]) == (2.0, 3.5, 5.0)
    assert (line["status"], line["total_time"], line["rss_delta_mb"]) == ("success", 3.5, 10.0)


def test_documents_snippets_find_what_they_ask_for(tmp_path) -> None:
    """Its pandas and jq lines, in plain Python: a pivot of rates, and the best of high load, from the file itself."""
    both = [scenario("a", num_instances=100), scenario("b", num_instances=100, strategy="thread")]
    begun = Results.begun(tmp_path / "r.json", both, both, broker="Kafka")
    begun.add(results.result(both[0], [outcome(4.0, succeeded=100)]))
    begun.add(results.result(both[1], [outcome(9.0, succeeded=7)]))
    data = json.loads((tmp_path / "r.json").read_text())
    success = [line for line in data["results"] if line["status"] == "success"]
    pivot = {(line["workload_type"], line["strategy"]): line["jobs_per_second_avg"] for line in success}
    assert pivot == {("io", "async"): 25.0}
    high_load = [line for line in success if line["num_instances"] >= 100]
    best = sorted(high_load, key=lambda line: line["jobs_per_second_avg"])
    assert [[line[name] for name in ("name", "strategy", "jobs_per_second_avg")] for line in best] == [
        ["a", "async", 25.0]
    ]


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
    assert line.get("jobs_per_second", 0.0) == pytest.approx(0.5 * found.succeeded if found else 0.0)


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


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([], "holds a list"),
        ({"rows": []}, "needs a list `results`"),
        ({"results": [], "machine": 7}, "an object `machine`"),
        ({"results": [5]}, "entry 1 of results, field (the entry itself)"),
        ({"results": [{"name": "a"}]}, "entry 1 of results, field phase"),
    ],
)
def test_file_of_another_kind_is_refused(tmp_path, content: object, told: str) -> None:
    """A report needs certain fields: what lacks them is named, and is no crash."""
    (tmp_path / "r.json").write_text(json.dumps(content))
    with pytest.raises(ScenarioFileError, match=re.escape(told)):
        results.load(tmp_path / "r.json")


@pytest.mark.parametrize("lost", ["mode", "total_time", "jobs_per_second_avg"])
def test_success_without_its_figures_is_refused(tmp_path, lost: str) -> None:
    """Every figure that the report shows must be there where a scenario succeeded."""
    line = results.result(scenario("a"), [outcome(latency_ms={"p50": 1.0, "p99": 2.0})])
    (tmp_path / "r.json").write_text(json.dumps({"results": [line]}))
    assert results.load(tmp_path / "r.json")["planned"] == 1
    del line[lost]
    (tmp_path / "r.json").write_text(json.dumps({"results": [line]}))
    with pytest.raises(ScenarioFileError, match=f"entry 1 of results, field {lost}"):
        results.load(tmp_path / "r.json")


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
