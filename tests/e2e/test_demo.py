"""The product's main job, end to end: chart, manifest, pods, real Kafka and Prometheus, steps while they run."""

import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from parallel_consumer_operator.local import metrics_text
from parallel_consumer_operator.local.load import Load, LoadGenerator
from testbed import installation
from testbed.installation import NAMESPACE, OPERATOR_NAMESPACE, ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1_200)]

KILL_THE_OPERATOR = """
import os, pathlib
for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if b"parallel_consumer_operator" in path.read_bytes() and path.parent.name != "1":
        os.kill(int(path.parent.name), 9)
"""
EXAMPLE = ROOT / "examples" / "short-io-async" / "parallelconsumer.yaml"


def processed(pods: list[dict[str, Any]]) -> int:
    """Return what the pods say that they finished."""
    total = 0
    for pod in pods:
        with urllib.request.urlopen(f"http://{pod['status']['podIP']}:8080/metrics", timeout=5) as page:
            total += metrics_text.processed(metrics_text.parse(page.read().decode()))
    return total


def changes(status: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the history's entries that changed settings."""
    return [entry for entry in status["tuning"]["history"] if entry["kind"] in ("Step", "Rollback")]


def is_settled(status: dict[str, Any]) -> bool:
    """Whether there is exactly one generation of the settings for each change, beside the first."""
    return bool(status["effective"]["configGeneration"] == 1 + len(changes(status)))


def identity(pods: list[dict[str, Any]]) -> set[tuple[str, int]]:
    """Return which pods these are, and how often their containers were restarted."""
    return {(pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"]) for pod in pods}


def test_the_consumer_is_tuned_while_it_runs_and_loses_nothing(demo: Any) -> None:
    """Every message is processed, by the same pods, several times as fast as before the first step."""
    figures = demo.figures
    assert figures["messages_offered"] == figures["messages_processed"] == 160_000
    assert (figures["lost"], figures["backlog_end"]) == (0, 0)
    assert figures["steps_applied"] >= 2
    assert 0 < figures["apply_seconds_max"] < 2
    assert (figures["pod_restarts"], figures["pod_uids_changed"]) == (0, False)
    assert figures["rate_after"] >= 4 * figures["rate_before"] > 0


def test_the_list_shows_what_matters(demo: Any) -> None:
    """`kubectl get pcon` has a column for each thing that an operator's user asks first."""
    header, row = demo.kubectl("get", "pcon").splitlines()
    for column in ("NAME", "MODE", "READY", "LAG", "IN-FLIGHT", "TUNING", "REASON", "AGE"):
        assert column in header.replace("INFLIGHT", "IN-FLIGHT"), header
    assert row.startswith("short-io")
    assert "async" in row


def test_the_story_of_the_tuning_is_told(demo: Any) -> None:
    """Events and history name the knob, its values and why, in sentences."""
    told = demo.kubectl("describe", "pcon", "short-io")
    assert "maxInFlight 16 -> 32" in told
    history = json.loads(demo.kubectl("get", "pcon", "short-io", "-o", "json"))["status"]["tuning"]["history"]
    steps = [entry for entry in history if entry["kind"] == "Step"]
    assert len(steps) >= 2
    assert all(entry["reason"] and str(entry["toValue"]) in entry["message"] for entry in steps)
    assert "status.tuning.history" in demo.printed


def test_the_operators_own_log_is_decided_the_same_again(demo: Any, tmp_path: Path) -> None:
    """`replay` on what kubectl logs gives: every decision that was logged, each step of the history among them."""
    log = tmp_path / "decisions.jsonl"
    lines = demo.kubectl("logs", demo.operator_pod()["metadata"]["name"], namespace=OPERATOR_NAMESPACE).splitlines()
    log.write_text("\n".join(line for line in lines if '"tuning decision"' in line))
    run = (sys.executable, "-m", "parallel_consumer_operator", "replay", str(log))
    again = subprocess.run(run, capture_output=True, text=True, timeout=120, check=False)
    assert again.returncode == 0, again.stdout + again.stderr
    assert log.read_text().count('"action": "Step"') >= demo.figures["steps_applied"]


@pytest.fixture
def second_consumer(demo: Any) -> Any:
    """A consumer of a topic of its own, beginning with 16 in flight, and load that does not end before the test."""
    topic = "short-io-again"
    installation.fresh_topic(demo.place.bootstrap_servers, topic)
    source, manifest = yaml.safe_load_all(EXAMPLE.read_text())
    manifest["metadata"]["name"] = topic
    manifest["spec"]["source"]["kafka"] |= {"topics": [topic], "consumerGroup": topic}
    demo.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([source, manifest]))
    demo.kubectl("wait", f"pcon/{topic}", "--for=condition=Ready", "--timeout=60s")
    load = LoadGenerator(demo.place.bootstrap_servers, topic, Load(rate=3_000, messages=600_000))
    load.start()
    yield topic
    load.stop()
    demo.kubectl("delete", "pcon", topic)


def test_a_killed_operator_finishes_its_step_once_and_the_consumer_never_notices(
    demo: Any, second_consumer: str
) -> None:
    """Kill -9 as soon as a step is intended: the next operator goes on from the status, no step is applied twice."""

    def status() -> dict[str, Any]:
        found = json.loads(demo.kubectl("get", "pcon", second_consumer, "-o", "json"))
        return found.get("status", {})

    def consumers() -> list[dict[str, Any]]:
        return demo.pods(f"parallelconsumer.dev/name={second_consumer}")

    begun = identity(consumers())
    deadline = time.monotonic() + 90
    while not status().get("tuning", {}).get("verifying") and time.monotonic() < deadline:
        time.sleep(0.05)
    killed = status()["tuning"]["verifying"]
    pod = demo.operator_pod()["metadata"]["name"]
    with contextlib.suppress(installation.InstallationFailedError):  # the shell dies with the container
        demo.kubectl("exec", pod, "--", "python", "-c", KILL_THE_OPERATOR, namespace=OPERATOR_NAMESPACE)
    before = processed(consumers())
    time.sleep(2)
    assert processed(consumers()) > before, "the consumer stopped when its operator was killed"
    # One generation for the first settings, and one for each change: none was written twice, none left out. A change
    # stands in the history a moment before it is written, so wait for the two to agree.
    deadline = time.monotonic() + 120
    while (len(changes(after := status())) < 2 or not is_settled(after)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert len(changes(after)) >= 2, after["tuning"]
    assert is_settled(after), after
    assert demo.operator_pod()["status"]["containerStatuses"][0]["restartCount"] >= 1
    ids = [entry["id"] for entry in changes(after)]
    assert len(ids) == len(set(ids))
    assert killed["id"] in ids
    assert identity(consumers()) == begun


def test_uninstalling_leaves_consumers_running(demo: Any) -> None:
    """`helm uninstall` takes the operator away and nothing else; a consumer can then be deleted, nothing hangs."""
    installation.uninstall(demo.place)
    (pod,) = demo.pods("parallelconsumer.dev/name=short-io")
    assert identity([pod]) == {(pod["metadata"]["uid"], 0)}
    assert pod["status"]["containerStatuses"][0]["ready"]
    demo.kubectl("delete", "pcon", "short-io", "--wait=true", "--timeout=30s")
    deadline = time.monotonic() + 60
    while demo.pods("parallelconsumer.dev/name=short-io") and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not demo.pods("parallelconsumer.dev/name=short-io")
    assert "short-io" not in demo.kubectl("get", "pcon", "-n", NAMESPACE)
