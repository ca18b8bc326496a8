"""The workbench on a real Kafka: runs end with success, resume after an interruption, and their page opens."""

import contextlib
import json
import signal
import time
import uuid
from pathlib import Path

import pytest
import yaml

from parallel_consumer_operator.resource.spec import ParallelConsumerSpec
from testbed import browser

pytestmark = pytest.mark.kafka
_STARTED_WITHIN_SECONDS = 60.0


def scenario(name: str, **fields: object) -> dict[str, object]:
    """A scenario of a quarter of a second."""
    return {
        "name": name,
        "num_instances": 5,
        "strategy": "async",
        "workload_type": "io",
        "work_duration": 0.05,
    } | fields


def test_process_runs_every_workload_and_the_page_opens_in_chromium(call, tmp_path) -> None:
    """Phase 9, made short: every workload succeeds in worker processes; the page has its pictures and no error."""
    call("scenarios", "generate", "--suite", "process", "--output", tmp_path / "s.json")
    made = json.loads((tmp_path / "s.json").read_text())
    short = [each | {"work_duration": 0.02, "num_instances": 4, "max_concurrent_jobs": 2} for each in made]
    curve = [scenario(f"{way}{jobs}", max_concurrent_jobs=jobs, strategy=way) for jobs, way in
             [(1, "thread"), (2, "thread"), (5, "thread"), (5, "async")]]  # fmt: skip
    (tmp_path / "s.json").write_text(json.dumps(short + curve))
    results, html = tmp_path / "r.json", tmp_path / "r.html"
    call("scenarios", "run", tmp_path / "s.json", "--output", results)
    found = json.loads(results.read_text())["results"]
    assert [(each["status"], each["mode"]) for each in found[:4]] == [("success", "process")] * 4
    assert {each["status"] for each in found} == {"success"}
    call("scenarios", "report", results, "--html", html, "--markdown", tmp_path / "r.md", "--compare", results)
    assert "| thread5 |" in (tmp_path / "r.md").read_text()
    light, dark = browser.look(html), browser.look(html, dark=True, phone=True)
    assert (light.complaints, dark.complaints) == ([], [])
    assert len(dark.picture_widths) == 5
    assert all(light.picture_widths + dark.picture_widths)
    assert dark.scroll_width <= dark.window_width
    assert light.background != dark.background
    assert "Which strategy is fastest" in light.text


def test_browser_hears_of_errors(tmp_path) -> None:
    """A page with a script error and a broken picture is noticed: silence means something."""
    page = tmp_path / "bad.html"
    page.write_text("<img src='data:image/png;base64,AAAA'><script>missing()</script>")
    seen = browser.look(page)
    assert seen.picture_widths == [0]
    assert any("missing is not defined" in each for each in seen.complaints)


def of_run(mark: str) -> list[str]:
    """The commands of all processes that have this text in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def kept(results: Path) -> list[dict[str, object]]:
    """The lines of a results file; none before there is one."""
    return json.loads(results.read_text())["results"] if results.exists() else []


def test_interrupted_run_resumes_to_the_same_table(start, call, tmp_path, monkeypatch) -> None:
    """Ctrl-C in the second scenario keeps the first, and a kill in the third keeps both; no consumer stays behind.

    --resume runs what is missing and leaves the lines that are there as they were.
    """
    monkeypatch.setenv("MARK_OF_RUN", mark := f"marked-{uuid.uuid4()}")
    slow = {"num_instances": 2, "work_duration": 1.0, "max_concurrent_jobs": 1}
    file, results = tmp_path / "s.json", tmp_path / "r.json"
    file.write_text(json.dumps([scenario("first"), scenario("second", **slow), scenario("third", **slow)]))
    for done, sent, status in [(1, signal.SIGINT, 130), (2, signal.SIGKILL, -signal.SIGKILL)]:
        before = kept(results)
        process = start("scenarios", "run", file, "--output", results, "--resume")
        deadline = time.monotonic() + _STARTED_WITHIN_SECONDS
        while len(kept(results)) < done and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(sent)
        assert process.wait(60) == status
        while of_run(mark) and time.monotonic() < deadline + _STARTED_WITHIN_SECONDS:
            time.sleep(0.05)
        assert of_run(mark) == []
        assert kept(results)[: len(before)] == before
    two = kept(results)
    assert [each["name"] for each in two] == ["first", "second"]
    call("scenarios", "run", file, "--output", results, "--resume")
    found = kept(results)
    assert found[:2] == two
    assert [(each["name"], each["status"]) for each in found[2:]] == [("third", "success")]


def test_one_failure_ends_a_run_unless_it_is_told_to_go_on(call, tmp_path) -> None:
    """A job over its time fails its scenario, with status 1 and a reason; --continue-on-error runs the others."""
    file, results = tmp_path / "s.json", tmp_path / "r.json"
    file.write_text(json.dumps([scenario("late", work_duration=5.0, job_timeout_ms=50), scenario("good")]))
    call("scenarios", "run", file, "--output", results, status=1)
    assert [(each["name"], each["status"]) for each in kept(results)] == [("late", "failed")]
    call("scenarios", "run", file, "--output", results, "--continue-on-error", status=1)
    assert [(each["name"], each["status"]) for each in kept(results)] == [("late", "failed"), ("good", "success")]
    assert "0 of 5 jobs succeeded" in str(kept(results)[0]["error"])


def test_failing_handlers_are_counted_as_arithmetic_says(call, tmp_path) -> None:
    """Every message ends as success or dead letter; retries are near rate + rate^2 + rate^3 of the messages."""
    output = tmp_path / "f.json"
    call("failures", "--failure-rate", 0.3, "--duration", 2, "--rate", 500, "--backoff-ms", 20, "--output", output)
    [row] = json.loads(output.read_text())["parts"]["rates"]
    assert row["TotalMessages"] == row["SuccessfulMessages"] + row["DeadLetteredMessages"] == 1_000
    assert row["ErrorMessages"] == 0
    assert row["RetriedMessages"] == pytest.approx(row["expected_retried"], rel=0.2)


def test_sweep_takes_no_less_than_the_ideal(call, tmp_path) -> None:
    """100 messages of 50 ms need 0.5 s on 10 workers: measured is never below.

    A resumed sweep keeps its points, also those that are not asked for this time.
    """
    output = tmp_path / "p.json"
    arguments = ["sweeps", "pool", "--messages", 100, "--work-ms", 50, "--workers", 10, "--output", output]
    call(*arguments)
    first = output.read_text()
    call(*arguments, "--resume")
    assert output.read_text() == first
    call(*arguments[:6], "--workers", 20, "--output", output, "--resume")
    assert [row["workers"] for row in json.loads(output.read_text())["rows"]] == [10, 20]
    [row] = json.loads(first)["rows"]
    assert row["seconds"] >= row["ideal_seconds"] == 0.5


def test_prefetch_sweep_has_every_point_with_its_spread(call, tmp_path) -> None:
    """Both sizes, inline and async, with as many runs as asked for, and the average between them."""
    output = tmp_path / "s.json"
    sizes = ["--size", 100, "--size", 500]
    call("sweeps", "prefetch", "--messages", 500, *sizes, "--repeats", 2, "--output", output)
    rows = json.loads(output.read_text())["rows"]
    assert [(row["how"], row["size"]) for row in rows] == [
        (how, size) for how in ("inline", "async") for size in (100, 500)
    ]
    for row in rows:
        assert len(row["seconds"]) == 2
        assert row["per_second_min"] <= row["per_second_avg"] <= row["per_second_max"]


def test_choose_prints_a_manifest_for_a_users_handler(call, tmp_path) -> None:
    """A handler that waits, in a package of the user's own: async, with a manifest that the resource accepts.

    Resumed after its last trial it measures nothing anew and prints the same.
    """
    (tmp_path / "shop.py").write_text(
        "import asyncio\n\n\nasync def handle(message):\n    print('noise')\n    await asyncio.sleep(0.02)\n"
    )
    (tmp_path / "m.jsonl").write_text('{"key": "a", "value": {"id": 1}}\n{"key": "b", "value": {"id": 2}}\n')
    few = ["--seconds", 2, "--rounds", 1, "--mode", "single", "--mode", "async", "--messages", 20_000]
    done = call("choose", "shop:handle", "--sample", "m.jsonl", *few, folder=tmp_path)
    manifest = yaml.safe_load(done.stdout)
    assert ParallelConsumerSpec.parse(manifest).execution.mode == "async"
    assert manifest["spec"]["execution"]["maxInFlight"] >= 64
    assert "# - mode async" in done.stdout
    assert "<img " in (tmp_path / "build" / "choose.html").read_text()
    trials = (tmp_path / "build" / "choose.json").read_text()
    again = call("choose", "shop:handle", "--sample", "m.jsonl", *few, "--resume", folder=tmp_path)
    assert yaml.safe_load(again.stdout) == manifest
    assert (tmp_path / "build" / "choose.json").read_text() == trials
