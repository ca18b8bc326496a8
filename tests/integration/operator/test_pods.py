"""Consumers that really run: settings handed over, steps of the tuner cut in half, bad settings files.

`Any` stands for the fixtures' types: a conftest cannot be imported from.
"""

import io
import json
import subprocess
import tarfile
import time
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).resolve().parents[3]
PREVIOUS = "3d53128"
"""The last commit before the contract knew of a schema registry."""
HANDLER = """
import asyncio

async def handle(message):
    await asyncio.sleep(0.001)
"""


@pytest.fixture
def topic(kafka: Any) -> str:
    """A topic of this test's own."""
    name = f"op-{uuid.uuid4().hex[:8]}"
    kafka.create_topic(name, partitions=4)
    return name


@pytest.fixture
def consumer(lab: Any, kafka: Any, topic: str, pods: Any) -> dict[str, Any]:
    """A ParallelConsumer that works: a topic, a handler in a ConfigMap. Not applied yet."""
    lab.done("create", "configmap", "code", f"--from-literal=orders.py={HANDLER}")
    manifest: dict[str, Any] = lab.consumer(execution={"mode": "async", "maxInFlight": 16})
    manifest["spec"]["source"]["kafka"] = {
        "bootstrapServers": kafka.pod_bootstrap_servers.split(","), "topics": [topic], "consumerGroup": topic,
    }  # fmt: skip
    manifest["spec"]["handler"]["sourceConfigMapRef"] = {"name": "code"}
    return manifest


def running(lab: Any) -> bool:
    """Whether the consumer runs and is as expected."""
    ready, degraded = lab.condition("Ready"), lab.condition("Degraded")
    return (ready, degraded) == (("True", "Running"), ("False", "AsExpected"))


def the_pods(lab: Any) -> list[dict[str, Any]]:
    """Return the consumer's pods."""
    found: list[dict[str, Any]] = json.loads(lab.done("get", "pods", "-o", "json"))["items"]
    return found


def state(pod: dict[str, Any]) -> dict[str, Any]:
    """Ask a pod what it runs."""
    with urllib.request.urlopen(f"http://{pod['status']['podIP']}:8080/state", timeout=2) as answer:
        loaded: dict[str, Any] = json.load(answer)
        return loaded


def test_a_change_reaches_running_pods_without_a_restart(lab: Any, consumer: dict[str, Any]) -> None:
    """The pods report the new generation within two seconds, as the same pods."""
    consumer["spec"]["replicas"] = 2
    lab.apply(consumer)
    lab.eventually(lambda: running(lab), seconds=60)
    before = {pod["metadata"]["uid"] for pod in the_pods(lab)}
    consumer["spec"]["execution"]["maxInFlight"] = 99
    lab.apply(consumer)
    effective = lab.eventually(
        lambda: lab.status()["effective"] if lab.status()["effective"]["configGeneration"] == 2 else None
    )
    lab.eventually(lambda: lab.status()["effective"]["podsApplied"] == 2)
    assert {state(pod)["knobs"]["max_in_flight"] for pod in the_pods(lab)} == {99}
    assert {pod["metadata"]["uid"] for pod in the_pods(lab)} == before
    assert lab.status()["effective"]["applyMilliseconds"] < 2_000, effective
    assert any("maxInFlight 16 -> 99" in message for message in lab.events("SettingsApplied"))


@pytest.fixture
def previous_image(kubernetes: Any, tmp_path: Path) -> str:
    """The runtime's image of the previous contract, built from this repository's own history."""
    archive = subprocess.run(["git", "archive", PREVIOUS], cwd=ROOT, capture_output=True, timeout=60, check=False)
    if archive.returncode:
        pytest.skip(f"this clone has no history as far as {PREVIOUS}: {archive.stderr.decode()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(tmp_path / "previous", filter="data")
    tag = "localhost/parallel-consumer-runtime:previous"
    kubernetes.build_image("runtime", tag, dockerfile=tmp_path / "previous" / "Dockerfile")
    return tag


def test_a_runtime_one_version_behind_keeps_working(lab: Any, consumer: dict[str, Any], previous_image: str) -> None:
    """Live settings reach it; a field that it does not know is refused and told, and the old pod goes on as it was."""
    consumer["spec"]["handler"]["image"] = previous_image
    lab.apply(consumer)
    lab.eventually(lambda: running(lab), seconds=90)
    (old,) = the_pods(lab)
    consumer["spec"]["execution"]["maxInFlight"] = 99
    lab.apply(consumer)
    lab.eventually(lambda: state(old)["knobs"]["max_in_flight"] == 99)
    consumer["spec"]["source"]["kafka"]["schemaRegistry"] = {"url": "http://registry.invalid"}
    lab.apply(consumer)
    reasons = ("SettingsRejected", "InvalidSettings")
    lab.eventually(lambda: lab.condition("Degraded")[1] in reasons, seconds=60)
    told = [message for reason in reasons for message in lab.events(reason)]
    assert any("schema_registry" in message and "no such field" in message for message in told)
    assert old["metadata"]["uid"] in {pod["metadata"]["uid"] for pod in the_pods(lab)}
    assert state(old)["assigned_partitions"] == 4
    del consumer["spec"]["source"]["kafka"]["schemaRegistry"]
    lab.apply(consumer)
    lab.eventually(lambda: running(lab), seconds=60)


@pytest.fixture
def own_image(kubernetes: Any, runtime_image: str, tmp_path: Path) -> str:
    """A handler's own image, built from the Dockerfile of the documents, with a package that the runtime has not."""
    page = (ROOT / "docs" / "manifests.md").read_text()
    text = page.partition("```dockerfile\n")[2].partition("```")[0]
    assert "parallel-consumer-runtime:0.1.0" in text
    (tmp_path / "shop").mkdir()
    (tmp_path / "Dockerfile").write_text(text.replace("parallel-consumer-runtime:0.1.0", runtime_image))
    (tmp_path / "requirements.txt").write_text("isodate==0.7.2\n")
    (tmp_path / "shop" / "orders.py").write_text(f"import isodate\n{HANDLER}")
    tag = "localhost/shop-orders:test"
    kubernetes.build_image("handler", tag, dockerfile=tmp_path / "Dockerfile")
    return tag


def test_a_handler_of_ones_own_image_runs(lab: Any, consumer: dict[str, Any], own_image: str) -> None:
    """Code and packages are in the image; nothing is mounted, and the pod is as restricted as any."""
    consumer["spec"]["handler"] = {"entrypoint": "shop.orders:handle", "image": own_image}
    lab.apply(consumer)
    lab.eventually(lambda: running(lab), seconds=90)
    (pod,) = the_pods(lab)
    assert state(pod)["assigned_partitions"] == 4
    assert {volume["name"] for volume in pod["spec"]["volumes"]} == {"settings", "scratch"}


def intend(lab: Any, value: int) -> None:
    """Write a step of the tuner into the status, as an operator that is killed right after it leaves it."""
    patch = {"status": {"tuning": {"knobs": {"maxInFlight": value}}}}
    lab.done("patch", "pcon", "orders", "--subresource=status", "--type=merge", "-p", json.dumps(patch))


def test_a_step_that_was_only_intended_is_finished_once(lab: Any, pods: Any, consumer: dict[str, Any]) -> None:
    """Killed between status and ConfigMap: the next operator writes the settings, once, and hands them over."""
    lab.apply(consumer)
    lab.eventually(lambda: running(lab), seconds=60)
    pods.end(9)
    intend(lab, 64)
    pods.start()
    lab.eventually(lambda: [state(pod)["knobs"]["max_in_flight"] for pod in the_pods(lab)] == [64])
    lab.eventually(lambda: lab.status()["effective"]["podsApplied"] == 1)
    time.sleep(3)
    (knob,) = [knob for knob in lab.status()["effective"]["knobs"] if knob["name"] == "maxInFlight"]
    assert knob == {"name": "maxInFlight", "value": 64, "source": "Tuner", "start": 16}
    assert lab.status()["effective"]["configGeneration"] == 2
    assert {pod["status"]["containerStatuses"][0]["restartCount"] for pod in the_pods(lab)} == {0}


def test_a_step_that_was_written_and_not_handed_over_is_finished(lab: Any, pods: Any, consumer: dict[str, Any]) -> None:
    """Killed between ConfigMap and handshake: the next operator touches the pods, which would else take a minute."""
    lab.apply(consumer)
    lab.eventually(lambda: running(lab), seconds=60)
    pods.end(9)
    intend(lab, 64)
    document = lab.settings()
    document["generation"], document["execution"]["max_in_flight"] = 2, 64
    lab.done(
        "patch", "configmap", "orders-settings", "-p", json.dumps({"data": {"runtime.yaml": yaml.safe_dump(document)}})
    )
    pods.start()
    lab.eventually(lambda: [state(pod)["config_generation"] for pod in the_pods(lab)] == [2], seconds=30)
    time.sleep(3)
    assert [state(pod)["config_generation"] for pod in the_pods(lab)] == [2]
    assert lab.status()["effective"]["configGeneration"] == 2


def test_a_person_who_edits_the_start_overrules_the_tuner(lab: Any, pods: Any, consumer: dict[str, Any]) -> None:
    """A spec edit during a step wins, and the tuned value does not come back."""
    lab.apply(consumer)
    lab.eventually(lambda: running(lab), seconds=60)
    pods.end(9)
    intend(lab, 64)
    consumer["spec"]["execution"]["maxInFlight"] = 40
    lab.apply(consumer)
    pods.start()
    lab.eventually(lambda: [state(pod)["knobs"]["max_in_flight"] for pod in the_pods(lab)] == [40])
    lab.eventually(lambda: "maxInFlight" not in lab.status()["tuning"].get("knobs", {}))


def test_tuned_values_survive_a_lost_status(lab: Any, pods: Any, consumer: dict[str, Any]) -> None:
    """As after a restore from a backup without status: the ConfigMap is the truth for what is applied."""
    lab.apply(consumer)
    lab.eventually(lambda: running(lab), seconds=60)
    pods.end(9)
    intend(lab, 64)
    pods.start()
    lab.eventually(lambda: lab.status()["effective"]["configGeneration"] == 2)
    pods.end(9)
    lab.done(
        "patch", "pcon", "orders", "--subresource=status", "--type=json", "-p", '[{"op": "remove", "path": "/status"}]'
    )
    pods.start()
    lab.eventually(lambda: lab.status().get("tuning", {}).get("knobs") == {"maxInFlight": 64})
    assert lab.status()["effective"]["configGeneration"] == 2


def test_settings_that_do_not_parse_leave_the_consumer_running(lab: Any, consumer: dict[str, Any]) -> None:
    """The last good settings stay in force, and the condition says what is wrong; the operator repairs when it may."""
    lab.apply(consumer)
    lab.eventually(lambda: running(lab), seconds=60)
    lab.done("annotate", "pcon", "orders", "parallelconsumer.dev/paused=true")
    lab.eventually(lambda: lab.condition("Paused") == ("True", "Paused"))
    (pod,) = the_pods(lab)
    lab.done(
        "patch", "configmap", "orders-settings", "-p", '{"data": {"runtime.yaml": "execution: {max_in_flight: 0}"}}'
    )
    lab.done("annotate", "pod", pod["metadata"]["name"], "nudge=1")
    lab.eventually(lambda: state(pod)["rejected"], seconds=90)
    lab.done("annotate", "pcon", "orders", "nudge=1")
    lab.eventually(lambda: lab.condition("Degraded") == ("True", "SettingsRejected"))
    assert state(pod)["config_generation"] == 1
    lab.done("annotate", "pcon", "orders", "parallelconsumer.dev/paused-")
    lab.eventually(lambda: running(lab) and lab.status()["effective"]["configGeneration"] == 2)
    assert state(pod)["rejected"] is None


def test_without_a_prometheus_the_consumer_runs_untuned_and_says_so(lab: Any, consumer: dict[str, Any]) -> None:
    """Absent is not zero: nothing is changed, and the condition says where to put the address."""
    consumer["spec"]["tuning"] = {"mode": "Auto"}
    lab.apply(consumer)
    lab.eventually(lambda: lab.condition("MetricsAvailable") == ("False", "MetricsUnavailable"), seconds=60)
    (condition,) = [each for each in lab.status()["conditions"] if each["type"] == "MetricsAvailable"]
    assert "spec.tuning.prometheus.address" in condition["message"]
