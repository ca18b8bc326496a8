"""The chart on pods, in the mode that asks least: named namespaces, Roles and no ClusterRole, restricted pods."""

import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from pulse import Pulse

from parallel_consumer_operator.local.load import Load, LoadGenerator
from testbed.cluster import Kubernetes
from testbed.kafka import Kafka

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "parallel-consumer-operator"
EXAMPLE = ROOT / "examples" / "short-io-async" / "parallelconsumer.yaml"
OPERATOR = "deployment/pco-parallel-consumer-operator"
CONSUMING_SECONDS = 15.0
"""Seconds that a group may be without a commit while its pods are replaced: a rebalance, on a busy machine."""
PARTITIONS = 4
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
        return self.selected(f"parallelconsumer.dev/name={name}")

    def operators(self) -> list[dict[str, Any]]:
        """The operator's pods."""
        return self.selected("app.kubernetes.io/name=parallel-consumer-operator")

    def selected(self, labels: str) -> list[dict[str, Any]]:
        """The pods with these labels."""
        found: dict[str, Any] = json.loads(self.kubectl("get", "pods", "-l", labels, "-o", "json"))
        return list(found["items"])


@pytest.fixture(scope="module")
def release(kubernetes: Kubernetes) -> Iterator[Release]:
    """The operator, installed in a namespace that enforces the restricted Pod Security Standard."""
    kubernetes.build_helm()
    for stage in ("operator", "runtime"):
        kubernetes.build_image(stage, f"localhost/parallel-consumer-{stage}:dev")
    made = Release(kubernetes, f"chart-{uuid.uuid4().hex[:8]}")
    with _namespace(kubernetes, made.namespace):
        made.install()
        yield made


@pytest.fixture(scope="module")
def consumer(release: Release, kafka: Kafka) -> str:
    """The example's consumer, of a topic of its own, running in the release's namespace; returns its name."""
    name = f"chart-{uuid.uuid4().hex[:8]}"
    kafka.create_topic(name, partitions=PARTITIONS)
    source, manifest = yaml.safe_load_all(EXAMPLE.read_text())
    manifest["metadata"]["name"] = name
    manifest["spec"] |= {"replicas": 2, "networkPolicy": {"enabled": True}}
    servers = [kafka.pod_bootstrap_servers]
    manifest["spec"]["source"]["kafka"] |= {"bootstrapServers": servers, "topics": [name], "consumerGroup": name}
    _apply(release.cluster, release.namespace, source, manifest)
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


@pytest.fixture(scope="module")
def load(consumer: str, kafka: Kafka) -> Iterator[LoadGenerator]:
    """A steady load of 200 messages a second."""
    made = LoadGenerator(kafka.bootstrap_servers, consumer, Load(rate=200, messages=200_000))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def pulse(consumer: str, kafka: Kafka, load: LoadGenerator) -> Iterator[Pulse]:
    """What the consumer's group commits under that load."""
    assert not load.finished
    with Pulse(kafka.bootstrap_servers, consumer, consumer, partitions=PARTITIONS) as watched:
        _until(lambda: watched.committed() > 0, what="the first commit")
        yield watched


def test_a_rollout_keeps_the_group_consuming(release: Release, consumer: str, pulse: Pulse) -> None:
    """A setting that needs new pods replaces them all, and commits go on meanwhile."""
    before, began = _names(release.pods(consumer)), time.monotonic()
    change = {"spec": {"handler": {"env": [{"name": "COLOUR", "value": "green"}]}}}
    release.kubectl("patch", f"pcon/{consumer}", "--type=merge", "-p", json.dumps(change))
    _until(lambda: _replaced(release, consumer, before), what="two new pods and no old one", seconds=120)
    assert pulse.longest_gap(began) < CONSUMING_SECONDS


def test_a_rollout_restart_replaces_the_pods_once(release: Release, consumer: str, pulse: Pulse) -> None:
    """`kubectl rollout restart` gives new pods, commits go on, and no later pass of the operator rolls them again."""
    before, began = _names(release.pods(consumer)), time.monotonic()
    release.kubectl("rollout", "restart", f"deployment/{consumer}")
    _until(lambda: _replaced(release, consumer, before), what="two new pods and no old one", seconds=120)
    assert pulse.longest_gap(began) < CONSUMING_SECONDS
    restarted, revision = _names(release.pods(consumer)), _revision(release, consumer)
    for replicas in (3, 2):
        release.kubectl("scale", f"pcon/{consumer}", f"--replicas={replicas}")
        _until(lambda count=replicas: len(_staying(release, consumer)) == count, what=f"{replicas} pods")
    assert _staying(release, consumer) & restarted
    assert _revision(release, consumer) == revision


def test_a_drain_goes_by_the_budget_and_keeps_the_group_consuming(
    release: Release, consumer: str, pulse: Pulse
) -> None:
    """Of two pods one is evicted, the other not before a third is ready; then `kubectl drain` ends by itself."""
    before, began = _names(release.pods(consumer)), time.monotonic()
    (node,) = {pod["spec"]["nodeName"] for pod in release.pods(consumer)}
    mine = f"--pod-selector=parallelconsumer.dev/name={consumer}"
    command = [str(release.cluster.kubectl), "drain", node, mine, "--delete-emptydir-data", "--timeout=100s"]
    draining = subprocess.Popen(command, env=release.cluster.environment, stderr=subprocess.PIPE, text=True)
    try:
        _until(lambda: len(_staying(release, consumer) & before) == 1, what="the first eviction")
        # The node takes no pod, so there is no third one, and the budget keeps the second.
        assert "disruption budget" in _eviction(release, *(_staying(release, consumer) & before))
    finally:
        release.cluster.run_kubectl("uncordon", node)
    _, told = draining.communicate(timeout=110)
    assert draining.returncode == 0, told
    _until(lambda: _replaced(release, consumer, before), what="two new pods and no old one", seconds=120)
    assert pulse.longest_gap(began) < CONSUMING_SECONDS


def test_the_standby_takes_over_when_the_leaders_pod_is_killed(release: Release, consumer: str, pulse: Pulse) -> None:
    """What is asked for then is done, once the Lease has run out; no consumer pod notices."""
    release.install("--set", "replicas=2,networkPolicy.enabled=true")
    before = _names(release.pods(consumer))
    _until(lambda: _leader(release) in _names(release.operators()), what="a leader")
    killed, began = _leader(release), time.monotonic()
    release.kubectl("delete", "pod", killed, "--grace-period=0", "--force")
    release.kubectl("scale", f"pcon/{consumer}", "--replicas=3")
    # The killed one may still have done the scaling in its last moment, so the Lease is waited for as well.
    _until(
        lambda: len(release.pods(consumer)) == 3 and _has_another_leader(release, killed),
        what="a third pod and another leader",
        seconds=40,
    )
    assert before < _names(release.pods(consumer))
    assert pulse.longest_gap(began) < CONSUMING_SECONDS


def test_policies_select_the_pods_that_they_are_for(release: Release, consumer: str, pulse: Pulse) -> None:
    """The testbed's network enforces none, so: whom the selectors choose, and that the ports let in are those pods'."""
    assert pulse
    for name, pods in ((consumer, release.pods(consumer)), (OPERATOR.partition("/")[2], release.operators())):
        policy = json.loads(release.kubectl("get", "networkpolicy", name, "-o", "json"))["spec"]
        chosen = ",".join(f"{key}={value}" for key, value in policy["podSelector"]["matchLabels"].items())
        assert _names(release.selected(chosen)) == _names(pods)
        (rule,) = policy["ingress"]
        ports = {port["name"] for port in pods[0]["spec"]["containers"][0]["ports"]}
        assert {port["port"] for port in rule["ports"]} == ports


def test_nothing_was_lost_over_all_this(load: LoadGenerator, pulse: Pulse) -> None:
    """Through rollout, drain and takeover: the group comes to the very end of what was offered."""
    load.stop()
    assert load.failed == 0
    _until(lambda: pulse.committed() == pulse.offered() == load.sent, what="the end of the backlog", seconds=90)


@pytest.fixture(scope="module")
def neighbour(release: Release, consumer: str) -> Iterator[str]:
    """A second namespace that the release watches, with a suspended consumer of the same name."""
    name = f"{release.namespace}-b"
    with _namespace(release.cluster, name):
        release.install("--set", f"watchNamespaces={{{release.namespace},{name}}}")
        source, manifest = yaml.safe_load_all(EXAMPLE.read_text())
        manifest["metadata"]["name"] = consumer
        manifest["spec"]["suspend"] = True
        _apply(release.cluster, name, source, manifest)
        yield name


def test_a_second_namespace_is_served_by_a_role_of_its_own(release: Release, consumer: str, neighbour: str) -> None:
    """With two names in `watchNamespaces` each has the same Role, there is no ClusterRole, and both are served."""
    roles = {kind["metadata"]["namespace"]: kind["rules"] for kind in _manifest(release, "Role")}
    assert set(roles) >= {release.namespace, neighbour}
    assert _manifest(release, "ClusterRole") == []
    _until(lambda: _deployed(release.cluster, neighbour, consumer) == 0, what="the suspended consumer's Deployment")
    before = _names(release.pods(consumer))
    release.kubectl("scale", f"pcon/{consumer}", f"--replicas={len(before) + 1}")
    _until(lambda: len(release.pods(consumer)) == len(before) + 1, what="one more pod in the first namespace")
    assert before < _names(release.pods(consumer))


def test_no_call_of_the_operator_was_denied(release: Release, neighbour: str) -> None:
    """Running consumers in two namespaces needs nothing that the Roles do not grant, by the API server's own log."""
    calls = _calls(release)
    assert neighbour
    assert {("patch", "deployments"), ("watch", "parallelconsumers"), ("patch", "parallelconsumers/status")} <= {
        (call["verb"], _what(call)) for call in calls
    }
    denied = {(call["verb"], _what(call)) for call in calls if call["responseStatus"]["code"] == 403}
    assert denied == set()


def test_the_operator_looks_after_its_namespaces_only(release: Release, neighbour: str) -> None:
    """Each call names a namespace, and one of the two that the release watches."""
    found = {call["objectRef"].get("namespace") for call in _calls(release) if "resource" in call.get("objectRef", {})}
    assert found == {release.namespace, neighbour}


def test_uninstalling_leaves_the_consumer_running(release: Release, consumer: str) -> None:
    """After `helm uninstall` the consumer's pods go on, and deleting the resource takes them away with no operator."""
    before = [pod["metadata"]["uid"] for pod in release.pods(consumer)]
    release.helm("uninstall", "pco", "--wait")
    assert [pod["metadata"]["uid"] for pod in release.pods(consumer)] == before
    release.kubectl("delete", f"pcon/{consumer}", "--timeout=30s")
    _until(lambda: not release.pods(consumer), what="the end of the consumer's pods")


@contextmanager
def _namespace(cluster: Kubernetes, name: str) -> Iterator[None]:
    """A namespace that enforces the restricted Pod Security Standard, and is gone afterwards."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    yield
    cluster.run_kubectl("delete", "namespace", name, "--wait=true", "--timeout=110s", timeout_seconds=120)


def _apply(cluster: Kubernetes, namespace: str, *documents: dict[str, Any]) -> None:
    for document in documents:
        document["metadata"]["namespace"] = namespace
    cluster.apply(*documents)


def _manifest(release: Release, kind: str) -> list[dict[str, Any]]:
    """The release's objects of a kind."""
    documents = yaml.safe_load_all(release.helm("get", "manifest", "pco"))
    return [document for document in documents if document and document["kind"] == kind]


def _deployed(cluster: Kubernetes, namespace: str, name: str) -> int | None:
    """How many replicas the Deployment asks for, None where there is none."""
    found = cluster.run_kubectl("--namespace", namespace, "get", "deployments", "-o", "json")
    deployments = {each["metadata"]["name"]: each["spec"]["replicas"] for each in json.loads(found)["items"]}
    return deployments.get(name)


def _revision(release: Release, consumer: str) -> str:
    """The Deployment's revision, which counts its pod templates."""
    deployment = json.loads(release.kubectl("get", f"deployment/{consumer}", "-o", "json"))
    return str(deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"])


def _names(pods: list[dict[str, Any]]) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods}


def _staying(release: Release, consumer: str) -> set[str]:
    """The consumer's pods that nobody has begun to take away."""
    return _names([pod for pod in release.pods(consumer) if "deletionTimestamp" not in pod["metadata"]])


def _replaced(release: Release, consumer: str, before: set[str]) -> bool:
    """Whether two pods are ready that were not there before, and no other is left."""
    pods = release.pods(consumer)
    ready = [pod for pod in pods if any(each.get("ready") for each in pod["status"].get("containerStatuses", []))]
    return len(ready) == len(pods) == 2 and not _names(pods) & before


def _eviction(release: Release, pod: str) -> str:
    """What the API server says to an eviction, which it must refuse."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": release.namespace}}
    path = f"/api/v1/namespaces/{release.namespace}/pods/{pod}/eviction"
    refused = subprocess.run(
        [str(release.cluster.kubectl), "create", "--raw", path, "-f", "-"],
        env=release.cluster.environment,
        input=json.dumps(body),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode != 0
    return refused.stderr


def _has_another_leader(release: Release, than: str) -> bool:
    """Whether an operator pod holds the Lease, and not this one."""
    return _leader(release) in _names(release.operators()) - {than}


def _leader(release: Release) -> str:
    """The operator pod that holds the Lease, empty for none."""
    lease = json.loads(release.kubectl("get", "lease", OPERATOR.partition("/")[2], "-o", "json"))
    return str(lease["spec"].get("holderIdentity") or "")


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
    pods = release.operators()
    return max(pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"] for pod in pods)


def _until(condition: Any, *, what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.5)
