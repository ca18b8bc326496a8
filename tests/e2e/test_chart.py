"""The chart on pods, in the mode that asks least: one namespace, a Role and no ClusterRole, restricted pods."""

import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.cluster import Kubernetes
from testbed.kafka import Kafka

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "parallel-consumer-operator"
EXAMPLE = ROOT / "examples" / "short-io-async" / "parallelconsumer.yaml"
OPERATOR = "deployment/pco-parallel-consumer-operator"
IMAGES = {"image": "localhost/parallel-consumer-operator", "runtime.image": "localhost/parallel-consumer-runtime"}


@dataclass(frozen=True)
class Release:
    """The chart installed as `pco` for its own namespace alone."""

    cluster: Kubernetes
    namespace: str

    def helm(self, *arguments: str) -> str:
        """Run helm in the namespace; it must succeed."""
        command = [str(self.cluster.helm), *arguments, "--namespace", self.namespace]
        done = subprocess.run(
            command, env=self.cluster.environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def install(self, *arguments: str) -> str:
        """Install or upgrade the release and wait for its pod."""
        images = ",".join(f"{key}.repository={name},{key}.tag=dev" for key, name in IMAGES.items())
        values = f"watchNamespaces={{{self.namespace}}},{images}"
        options = ("--take-ownership", "--wait", "--timeout", "120s")
        return self.helm("upgrade", "--install", "pco", str(CHART), "--set", values, *options, *arguments)

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl in the namespace."""
        return self.cluster.run_kubectl("--namespace", self.namespace, *arguments, timeout_seconds=130)

    def pods(self, name: str) -> list[dict[str, Any]]:
        """The consumer pods of a ParallelConsumer."""
        found: dict[str, Any] = json.loads(
            self.kubectl("get", "pods", "-l", f"parallelconsumer.dev/name={name}", "-o", "json")
        )
        return list(found["items"])


@pytest.fixture(scope="module")
def release(kubernetes: Kubernetes) -> Iterator[Release]:
    """The operator, installed in a namespace that enforces the restricted Pod Security Standard."""
    kubernetes.build_helm()
    for stage in ("operator", "runtime"):
        kubernetes.build_image(stage, f"localhost/parallel-consumer-{stage}:dev")
    made = Release(kubernetes, f"chart-{uuid.uuid4().hex[:8]}")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kubernetes.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made.namespace, "labels": labels}})
    made.install()
    yield made
    kubernetes.run_kubectl("delete", "namespace", made.namespace, "--wait=true", "--timeout=110s", timeout_seconds=120)


@pytest.fixture(scope="module")
def consumer(release: Release, kafka: Kafka) -> str:
    """The example's consumer, of a topic of its own, running in the release's namespace; returns its name."""
    name = f"chart-{uuid.uuid4().hex[:8]}"
    kafka.create_topic(name, partitions=2)
    source, manifest = yaml.safe_load_all(EXAMPLE.read_text())
    manifest["metadata"]["name"] = name
    servers = [kafka.pod_bootstrap_servers]
    manifest["spec"]["source"]["kafka"] |= {"bootstrapServers": servers, "topics": [name], "consumerGroup": name}
    for document in (source, manifest):
        document["metadata"]["namespace"] = release.namespace
    release.cluster.apply(source, manifest)
    release.kubectl("wait", f"pcon/{name}", "--for=condition=Ready", "--timeout=120s")
    return name


def test_the_installation_passes_its_own_test(release: Release) -> None:
    """`helm test` finds the operator ready and its metrics served."""
    assert "Succeeded" in release.helm("test", "pco", "--timeout", "100s")


def test_an_upgrade_touches_no_consumer(release: Release, consumer: str) -> None:
    """`helm upgrade` replaces the operator; consumer pods are the same afterwards, without a restart."""
    before = release.pods(consumer)
    operator = release.kubectl("get", OPERATOR, "-o", "jsonpath={.metadata.generation}")
    release.install("--set", "log.level=DEBUG")
    assert release.kubectl("get", OPERATOR, "-o", "jsonpath={.metadata.generation}") != operator
    release.kubectl("annotate", f"pcon/{consumer}", "parallelconsumer.dev/paused=false")
    _until(lambda: bool(_calls(release, since=_started(release))), what="the new operator's first calls")
    after = release.pods(consumer)
    assert [pod["metadata"]["uid"] for pod in after] == [pod["metadata"]["uid"] for pod in before]
    assert [pod["status"]["containerStatuses"][0]["restartCount"] for pod in after] == [0] * len(before)


def test_no_call_of_the_operator_was_denied(release: Release, consumer: str) -> None:
    """Running a consumer in one namespace needs nothing that the Role does not grant, by the API server's own log."""
    calls = _calls(release)
    assert consumer
    assert {("patch", "deployments"), ("watch", "parallelconsumers"), ("patch", "parallelconsumers/status")} <= {
        (call["verb"], _what(call)) for call in calls
    }
    denied = {(call["verb"], _what(call)) for call in calls if call["responseStatus"]["code"] == 403}
    assert denied == set()


def test_the_operator_looks_after_its_namespace_only(release: Release) -> None:
    """Each call that names a namespace names the release's own."""
    found = {call["objectRef"].get("namespace") for call in _calls(release) if "resource" in call.get("objectRef", {})}
    assert found == {release.namespace}


def test_uninstalling_leaves_the_consumer_running(release: Release, consumer: str) -> None:
    """After `helm uninstall` the consumer's pods go on, and deleting the resource takes them away with no operator."""
    before = [pod["metadata"]["uid"] for pod in release.pods(consumer)]
    release.helm("uninstall", "pco", "--wait")
    assert [pod["metadata"]["uid"] for pod in release.pods(consumer)] == before
    release.kubectl("delete", f"pcon/{consumer}", "--timeout=30s")
    _until(lambda: not release.pods(consumer), what="the end of the consumer's pods")


def _calls(release: Release, since: str = "") -> list[dict[str, Any]]:
    """What the release's operator asked of the API server, from the audit log, from a time on (RFC 3339)."""
    who = f"system:serviceaccount:{release.namespace}:pco-parallel-consumer-operator"
    with release.cluster.audit_log.open() as log:
        found = [json.loads(line) for line in log if who in line and line.endswith("}\n")]
    return [
        call
        for call in found
        if call["user"].get("username") == who and "responseStatus" in call and call["requestReceivedTimestamp"] > since
    ]


def _what(call: dict[str, Any]) -> str:
    reference = call.get("objectRef", {})
    parts = (reference.get("resource"), reference.get("subresource"))
    return "/".join(part for part in parts if part)


def _started(release: Release) -> str:
    """When the operator's present container began."""
    selector = "app.kubernetes.io/name=parallel-consumer-operator"
    found = json.loads(release.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
    return max(pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"] for pod in found)


def _until(condition: Any, *, what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.5)
