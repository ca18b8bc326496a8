"""The report that a run leaves: the published names, and that a later run takes up what passed and nothing else."""

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks.chaos import plan
from benchmarks.chaos.errors import ChaosError
from benchmarks.chaos.plan import Case
from benchmarks.chaos.report import Report
from benchmarks.chaos.runner import Outcome
from benchmarks.chaos.soak import Growth, SoakOutcome, soak_case
from benchmarks.chaos.verdict import Verdict
from consumer_runtime.contract.settings import Mode

PUBLISHED = (
    "name", "seed", "messages", "lost", "order_violations", "duplicates", "duplicates_bound", "poisoned",
    "dead_lettered", "commits_for_unowned", "max_poll_exceeded",
)  # fmt: skip
CASES = plan.every_case()[:3]
FLAT = Growth(rss_percent=0.5, rss_bytes_mean=2.0**30, descriptors=0.0, threads=0.0)


def outcome(case: Case, *, lost: int = 0, faults_missing: tuple[str, ...] = ()) -> Outcome:
    """What came of a case in which so many messages were lost and such faults not caused; nothing else went wrong."""
    counts = dict.fromkeys((each.name for each in dataclasses.fields(Verdict) if each.type is int), 0)
    verdict = Verdict(**counts | {"messages": case.messages, "lost": lost, "faults_missing": faults_missing})
    return Outcome(case=case, verdict=verdict, seconds=40.0, planned_exits=0, folder=Path("logs"))


def test_a_case_has_the_published_names(tmp_path: Path) -> None:
    """Whoever reads build/chaos.json finds them under these names, whatever else there is."""
    report = Report(tmp_path / "chaos.json", CASES[:1])
    report.book(outcome(CASES[0]))
    report.save()
    (case,) = json.loads(report.path.read_text())["cases"]
    assert [case.get(name) for name in PUBLISHED] == [CASES[0].name, CASES[0].seed, 200_000, 0, 0, 0, 0, 0, 0, 0, 0]


def test_a_report_is_passed_when_all_that_was_planned_kept_its_promises(tmp_path: Path) -> None:
    """Not while a case is missing, and not when one failed or could not be judged."""
    report = Report(tmp_path / "chaos.json", CASES)
    for case in CASES[:2]:
        report.book(outcome(case))
    assert report.failed
    report.book(outcome(CASES[2]))
    assert not report.failed
    report.book_error("x", "no broker")
    assert report.failed


def test_what_a_slow_machine_did_not_cause_is_not_passed_and_no_broken_promise(tmp_path: Path) -> None:
    """Nor is what it could not run in time; but when less than half passed nobody can say, and that is told."""
    report = Report(tmp_path / "chaos.json", CASES)
    report.book(outcome(CASES[0]))
    report.book_error(CASES[1].name, "not run: the time is over")
    report.book(outcome(CASES[2], faults_missing=("kills is 1, must be at least 2",)))
    assert report.failed
    assert report.broken, "one of three"
    assert list(filter(report.is_unproved, CASES)) == CASES[1:]
    report.book(outcome(CASES[1]))
    assert report.errors == [], "the second try did what the first could not"
    assert report.failed
    assert not report.broken
    report.book(outcome(CASES[2], lost=1, faults_missing=("kills is 1, must be at least 2",)))
    assert report.broken
    assert not report.is_unproved(CASES[2]), "a broken promise gets no second try"


def test_a_run_is_taken_up_where_it_ended(tmp_path: Path) -> None:
    """What passed is left out, what failed runs again and takes the place of its first result."""
    first = Report(tmp_path / "chaos.json", CASES)
    first.book(outcome(CASES[0]))
    first.book(outcome(CASES[1], lost=1))
    first.book_error(CASES[2].name, "the topic was not delivered")
    first.save()
    second = Report.resumed(first.path, CASES)
    assert second.open == CASES[1:]
    for case in second.open:
        second.book(outcome(case))
    assert not second.failed
    assert [case["name"] for case in second.cases] == [case.name for case in CASES]


def test_another_seed_or_size_is_another_case(tmp_path: Path) -> None:
    """A smaller run under the same name does not stand for the real one."""
    report = Report(tmp_path / "chaos.json", CASES[:1])
    report.book(outcome(dataclasses.replace(CASES[0], messages=1_000)))
    report.book(outcome(dataclasses.replace(CASES[0], seed=1)))
    assert report.open == CASES[:1]


def test_a_soak_counts_with_its_growth(tmp_path: Path) -> None:
    """It passes when nothing was lost and nothing grew, and fails with what grew."""
    case = soak_case(Mode.THREAD, seed=1)
    report = Report(tmp_path / "chaos.json", [case])
    report.book_soak(SoakOutcome(outcome=outcome(case), growth=dataclasses.replace(FLAT, rss_percent=9.0)))
    assert report.failed
    assert report.soaks[0]["failures"] == ["rss_percent grew by 9.00, at most 3.0"]
    report.book_soak(SoakOutcome(outcome=outcome(case), growth=FLAT))
    assert not report.failed
    assert "+0.5" in report.markdown()


def test_a_file_that_is_no_report_is_not_overwritten(tmp_path: Path) -> None:
    """It is named, and what to do with it."""
    path = tmp_path / "chaos.json"
    path.write_text('{"something": "else"}')
    with pytest.raises(ChaosError, match=r"chaos\.json cannot be resumed, it is no report of chaos; remove it"):
        Report.resumed(path, CASES)
    assert path.read_text() == '{"something": "else"}'


def test_a_report_of_another_shape_is_not_taken_up(tmp_path: Path) -> None:
    """Its cases cannot be told apart, so nothing can be left out because of them."""
    path = tmp_path / "chaos.json"
    path.write_text('{"cases": [{"mode": "async", "failures": []}], "soaks": []}')
    with pytest.raises(ChaosError, match="cannot be resumed"):
        Report.resumed(path, CASES)
