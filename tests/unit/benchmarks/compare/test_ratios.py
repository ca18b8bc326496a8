import json

import pytest
from rich.console import Console

from benchmarks.compare import ratios, report, store
from benchmarks.compare.errors import CompareError
from benchmarks.compare.measure import RunResult
from benchmarks.compare.open_loop import Latency
from benchmarks.compare.store import Store
from benchmarks.compare.works import TARGETS, WORKS, System, selected

PARAMETERS = {"messages": 10}
LATENCY = Latency(avg=1, p50=1, p99=2, p999=3, handler_p99=1, offered_per_second=5, messages=9)


def result(rate, messages=2_000):
    """A run of this rate."""
    return RunResult(
        messages=messages, seconds=messages / rate, msgs_per_second=rate, cpu_seconds=1.0, rss_mb=50.0, seen=messages,
        missing=0, twice=0, is_whole=True,
    )  # fmt: skip


def rounds(*rates: float):
    """One run of each rate."""
    return [result(rate) for rate in rates]


def test_ratio_is_of_medians():
    """One bad round on either side does not make the ratio."""
    runs = {("noop/async", System.OURS): rounds(100, 120, 10), ("noop/async", System.BARE): rounds(200, 1_000, 200)}
    values, _ = ratios.ratios(runs, {})
    assert values["noop/async/bare"] == 0.5


def test_every_key_is_there_with_a_value_or_a_reason():
    """A reader finds each key of the targets in any file, and for a null why."""
    missing = {("noop/async", System.JAVA): "java not found"}
    values, reasons = ratios.ratios({}, missing)
    assert set(TARGETS) <= set(values)
    assert set(reasons) == set(values)
    assert "java not found" in reasons["noop/async/java"]


def test_ideal_counts_whole_rounds_of_workers():
    """2,000 messages on 32 workers take 63 rounds of 100 ms, not 62.5."""
    work = next(each for each in WORKS if each.name == "block100")
    runs = {("block100/thread32", System.OURS): [result(2_000 / 6.3)]}
    assert ratios.ideal(work, 2_000) == pytest.approx(2_000 / 6.3)
    assert ratios.ratios(runs, {})[0]["block100/thread32/ideal"] == pytest.approx(1.0)


@pytest.mark.parametrize(("bare", "is_void"), [(14.0, True), (16.0, False)])
def test_slow_limit_voids_the_run(bare, is_void):
    """A ratio is not won by a bare loop that was starved."""
    runs = {("noop/single", System.RAW): rounds(100.0), ("noop/async", System.BARE): rounds(bare)}
    assert bool(ratios.void(runs)) is is_void


def test_every_target_belongs_to_a_work_and_a_rival():
    """No target waits for something that is never run."""
    assert set(TARGETS) <= {f"{work.title}/{rival.value}" for work in WORKS for rival in work.rivals}


def test_selection_by_title_or_name():
    """`noop` means both of its modes, `noop/async` one."""
    assert [work.title for work in selected(["noop"])] == ["noop/single", "noop/async"]
    assert [work.title for work in selected(["noop/async"])] == ["noop/async"]
    assert selected(["no-such-work"]) == []


def test_store_goes_on_where_it_stopped(tmp_path):
    """What was measured is not measured again."""
    path = tmp_path / "compare.json"
    Store(path, PARAMETERS, iterations={"cpu1": 7}).add("noop/single", System.RAW, result(5.0))
    resumed = store.resumed(path, PARAMETERS)
    assert resumed.runs == {("noop/single", System.RAW): [result(5.0)]}
    assert resumed.iterations == {"cpu1": 7}


def test_store_keeps_latencies_and_asks_again_for_those_it_could_not_measure(tmp_path):
    """A latency is measured once; one that failed is tried again by the next run."""
    path = tmp_path / "compare.json"
    kept = Store(path, PARAMETERS)
    kept.add("noop/single", System.RAW, result(5.0))
    kept.add_latency("noop/single", System.RAW, LATENCY)
    kept.add_latency("noop/single", System.OURS, "fell behind")
    resumed = store.resumed(path, PARAMETERS)
    assert resumed.latency("noop/single", System.RAW) == LATENCY
    assert resumed.latency("noop/single", System.OURS) is None
    assert json.loads(path.read_text())["results"][0]["latency_ms"]["p999"] == 3


def test_store_refuses_runs_of_other_parameters(tmp_path):
    """Runs of different lengths are not mixed."""
    path = tmp_path / "compare.json"
    Store(path, PARAMETERS).save()
    with pytest.raises(CompareError, match="move it away"):
        store.resumed(path, {"messages": 11})


def test_store_says_which_file_is_broken(tmp_path):
    """A file that is no comparison is named."""
    path = tmp_path / "compare.json"
    path.write_text("{")
    with pytest.raises(CompareError, match=r"compare\.json cannot be resumed"):
        store.resumed(path, PARAMETERS)


def test_reports_show_figures_and_reasons(tmp_path):
    """The page holds its plots; the table says what was missed and what was not measured."""
    kept = Store(tmp_path / "compare.json", PARAMETERS)
    kept.add("noop/single", System.OURS, result(500.0))
    kept.add("noop/single", System.RAW, result(1_000.0))
    kept.add_latency("noop/single", System.OURS, LATENCY)
    kept.miss("noop/async", System.JAVA, "java <not> found")
    document = json.loads((tmp_path / "compare.json").read_text())
    report.write_html(document, tmp_path / "compare.html")
    page = (tmp_path / "compare.html").read_text()
    assert (page.count("<img "), page.count("<source ")) == (6, 6)
    assert "java &lt;not&gt; found" in page
    console = Console(record=True, width=200)
    console.print(report.results_table(document), report.ratios_table(document))
    text = console.export_text()
    assert "1,000" in text
    assert "missed" in text
