"""The report needs no other file and says what the results say."""

import re

import pytest

from benchmarks.report import markdown, page, plots
from benchmarks.scenarios import results
from benchmarks.scenarios.job import Outcome
from benchmarks.scenarios.model import Scenario

LATENCY = {"average": 5.0, "p50": 4.0, "p95": 8.0, "p99": 9.0}


def document(factor: float = 1.0) -> dict[str, object]:
    """A concurrency curve of two strategies, and one scenario that timed out."""
    lines = []
    for strategy in ("async", "thread"):
        for jobs in (1, 5, 10):
            made = Scenario(name=f"{strategy}-{jobs}", num_instances=20, strategy=strategy, workload_type="io",
                            max_concurrent_jobs=jobs, phase="3_concurrency_scaling")  # fmt: skip
            done = Outcome(seconds=20 / jobs / factor, reached=True, succeeded=20, rss_peak_mb=50, latency_ms=LATENCY)
            lines.append(results.result(made, [done]))
    late = Scenario(name="late<br>", num_instances=20, strategy="async", workload_type="cpu")
    lines.append(results.result(late, [Outcome(seconds=9, reached=False, succeeded=3, rss_peak_mb=50)]))
    return {"machine": {"cores": 2}, "planned": 7, "results": lines}


def test_page_is_self_contained_with_a_picture_for_each_theme() -> None:
    """Nothing is fetched: every address is data; four pictures, each light and dark; user's texts are escaped."""
    text = page.text(document())
    addresses = re.findall(r'(?:src|srcset|href)="([^"]*)"', text)
    assert all(each.startswith("data:") for each in addresses)
    assert (text.count("<img "), text.count("<source ")) == (4, 4)
    assert "prefers-color-scheme:dark" in text
    assert "late<br>" not in text
    assert "<script" not in text


def test_an_answer_of_several_parts_is_a_list() -> None:
    """On a phone nine curves in one sentence are a wall; an answer of one part stays a sentence."""
    text = page.text(document())
    assert "<li>async, io (20 x 1 s): x10.0 in rate for x10 in concurrency</li>" in text
    assert "<dd>level: async has 1.00 times the rate of thread" in text


def test_each_work_has_its_own_curves() -> None:
    """Curves of other jobs do not lie in the same picture."""
    both = document()
    others = [line | {"name": f"{line['name']}-50", "num_instances": 50} for line in both["results"]]
    assert [each.title for each in page.pictures({"results": both["results"] + others})[:2]] == [
        "Throughput against concurrency: io (20 x 1 s)",
        "Throughput against concurrency: io (50 x 1 s)",
    ]


def test_comparison_is_shown_in_page_and_markdown() -> None:
    """Two runs side by side: twice as fast is ratio 2."""
    after, before = document(factor=2.0), document()
    assert page.text(after, before=before).count("<img ") == 5
    told = markdown.text(after, before=before)
    assert "| async-10 | 10 | 20 | 2.00 | +0 |" in told


def test_markdown_has_questions_knees_and_each_scenario() -> None:
    """What a pull request needs, in GitHub's tables."""
    told = markdown.text(document())
    assert "**Does async or thread handle I/O better?** level" in told
    assert "| async, io (20 x 1 s) | 10 |" in told
    assert "| thread-5 | thread | io | 20 | 1 | 5 | 5 |" in told
    assert "6 with success" in told


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.55, 0.91, [0.5, 1.0]),
        (1.0, 50.0, [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]),
        (3.0, 3.0, [2.0, 5.0]),
        (48.0, 1_200_000.0, [10.0, 100.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0, 10_000_000.0]),
    ],
)
def test_axis_has_labels_around_its_curves(low: float, high: float, ticks: list[float]) -> None:
    """Also where curves stay within one decade."""
    assert plots.ticks_around(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize(("ratio", "number"), [(0.998, 0), (1.049, 0), (1.06, 2), (0.9, 3)])
def test_what_differs_by_less_than_runs_do_is_neither_better_nor_worse(ratio: float, number: int) -> None:
    """Half of the bars of two equal runs were red."""
    assert plots._beside(ratio) == plots.COLORS[number]
