"""Each example is run as its README says, with fewer messages, and reaches its goal on a real Kafka."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testbed import Kafka

ROOT = Path(__file__).resolve().parents[3]
RUNS = {
    "trivial-single": ["--messages", "20000"],
    "short-io-async": ["--messages", "200"],
    "heavy-cpu-process": ["--messages", "50"],
    "blocking-io-thread": ["--messages", "500"],
    "orders": ["--seconds", "1", "--rate", "200"],
    "webhooks": ["--seconds", "2", "--rate", "150"],
    "email-batch": ["--seconds", "1", "--rate", "500"],
}

pytestmark = pytest.mark.kafka


def run(kafka: Kafka, example: str) -> str:
    """Run an example in a process of its own, require its goal, and return what it printed."""
    command = [sys.executable, "examples/run.py", example, *RUNS[example]]
    environment = {**os.environ, "BOOTSTRAP_SERVERS": kafka.bootstrap_servers}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_example_is_run() -> None:
    """No folder of the examples is left out here."""
    folders = {each.name for each in (ROOT / "examples").iterdir() if (each / "handler.py").exists()}
    assert folders == RUNS.keys()


@pytest.mark.parametrize("example", [name for name in RUNS if name != "webhooks"])
def test_example_meets_its_goal(kafka: Kafka, example: str) -> None:
    """The command ends with the goal met."""
    assert "met" in run(kafka, example)


def test_webhooks_survive_a_receiver_that_limits_and_fails(kafka: Kafka) -> None:
    """A real server answered 200, 429 and 503, and the goal was met all the same."""
    printed = run(kafka, "webhooks")
    assert all(f"{status}:" in printed for status in (200, 429, 503)), printed
