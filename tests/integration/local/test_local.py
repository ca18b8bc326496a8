"""The local mode as people run it: the command, real child processes, the embedded Kafka, a real Prometheus."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "short-io-async" / "parallelconsumer.yaml"


def command(manifest: Path, *options: str) -> list[str]:
    """Return the command line."""
    return [sys.executable, "-m", "parallel_consumer_operator", "local", "-f", str(manifest), *options]


def processes_of(directory: str) -> list[int]:
    """Return processes that work in a folder, by their command line or environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if directory.encode() in told and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


@pytest.mark.timeout(240)
def test_the_example_is_tuned_and_nothing_is_left_behind(tmp_path: Path):
    """The promises of the demo on a third of its load, kept within three minutes; then no process remains.

    Every decision of the real process is in its log, and is decided the same again.
    """
    output = tmp_path / "demo.json"
    run = subprocess.run(
        command(EXAMPLE, "--messages", "80000", "--rate", "2500", "--output", str(output)),
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    figures = json.loads(output.read_text())
    assert figures["messages_processed"] == figures["messages_offered"] == 80_000, run.stdout
    assert (figures["lost"], figures["backlog_end"], figures["pod_restarts"]) == (0, 0, 0)
    assert figures["steps_applied"] >= 2
    assert figures["apply_seconds_max"] < 2
    assert "status.tuning.history" in run.stdout
    assert processes_of(str(tmp_path)) == []
    (log,) = tmp_path.rglob("operator.jsonl")
    replayed = subprocess.run(
        [sys.executable, "-m", "parallel_consumer_operator", "replay", str(log)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert log.read_text().count('"action": "Step"') >= figures["steps_applied"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("handler:handle", "no.such:thing", ["HandlerNotFound", "spec.handler.entrypoint", "no.such"]),
        ("mode: async", "mode: asink", ["spec.execution.mode", "asink", "async"]),
        ("maxInFlight: 16", "maxInFlight: many", ["spec.execution.maxInFlight", "many", "integer"]),
    ],
)
def test_a_mistake_ends_in_one_sentence(tmp_path: Path, old: str, new: str, words: list[str]):
    """Exit code 1, the field and its value named, no traceback."""
    manifest = tmp_path / "it.yaml"
    manifest.write_text(EXAMPLE.read_text().replace(old, new))
    run = subprocess.run(
        command(manifest, "--seconds", "30"),
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 1
    assert all(word in run.stdout for word in words), run.stdout
    assert "Traceback" not in run.stdout + run.stderr


@pytest.mark.timeout(120)
def test_ctrl_c_ends_everything_in_order(tmp_path: Path):
    """SIGINT in the middle of a run: pods, Kafka and Prometheus are gone when the command is."""
    with subprocess.Popen(
        command(EXAMPLE), env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, text=True
    ) as run:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("parallel-consumer-*/short-io-*/log")) and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(3)
        assert processes_of(str(tmp_path))
        run.send_signal(signal.SIGINT)
        out, _ = run.communicate(timeout=60)
    assert "Ended before all was done" in out
    assert processes_of(str(tmp_path)) == []
