"""A namespace on the real API server, and the operator as a process of its own in front of it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer_runtime.contract.metrics import Metric
from parallel_consumer_operator.local.metrics_text import parse
from parallel_consumer_operator.local.prometheus_server import free_port
from testbed.cluster import Kubernetes
from testbed.errors import TestbedError

ROOT = Path(__file__).resolve().parents[3]
# `played_node` and `troublemaker` are beside this file; the `made_pods` of the first are beside the Prometheus tests.
sys.path += [str(Path(__file__).parent), str(ROOT / "tests" / "integration" / "prometheus")]
CRD = ROOT / "crds" / "parallelconsumers.yaml"
KEDA = "github.com/kedacore/keda/v2@v2.21.0"
Manifest = dict[str, Any]


@dataclass
class Operator:
    """The operator as a process on this machine; `log` is where it writes."""

    namespace: str
    """The one that it looks after; empty for the whole cluster."""
    environment: dict[str, str]
    log: Path
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None)
    port: int = 0
    """Where it serves metrics and health, since it was started last."""

    def start(self) -> None:
        """Start it; it works a second later."""
        self.port = free_port()
        where = ("--namespace", self.namespace) if self.namespace else ()
        command = [sys.executable, "-m", "parallel_consumer_operator", "run", *where, f"--http-port={self.port}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*command, *self.options], env=self.environment, stderr=log)

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal; return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=20)

    def close(self) -> None:
        """Kill it if it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGKILL)

    def lines(self) -> list[dict[str, Any]]:
        """Return what it logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def ask(self, path: str) -> tuple[int, str]:
        """Return code and text of an answer over HTTP."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def figure(self, metric: Metric, part: str = "", **labels: str) -> float:
        """Return the sum of a metric's samples with these labels among theirs; `part` is `_count` or `_sum`."""
        return sum(
            value
            for (name, found), value in parse(self.ask("/metrics")[1]).items()
            if name == metric.name + part and labels.items() <= dict(found).items()
        )


@dataclass
class Lab:
    """One namespace of one test."""

    cluster: Kubernetes
    namespace: str

    @staticmethod
    def consumer(name: str = "orders", **spec: Any) -> Manifest:
        """Return a ParallelConsumer; `spec` replaces whole sections of the least that one needs."""
        kafka = {"bootstrapServers": ["kafka.invalid:9092"], "topics": ["orders"], "consumerGroup": f"{name}-group"}
        return {
            "apiVersion": "parallelconsumer.dev/v1alpha1",
            "kind": "ParallelConsumer",
            "metadata": {"name": name},
            "spec": {"source": {"kafka": kafka}, "handler": {"entrypoint": "orders:handle"}, **spec},
        }

    def kubectl(self, *arguments: str, stdin: Manifest | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl in the namespace."""
        return subprocess.run(
            [str(self.cluster.kubectl), "--namespace", self.namespace, *arguments],
            env=self.cluster.environment,
            input=yaml.safe_dump(stdin) if stdin is not None else None,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def done(self, *arguments: str, stdin: Manifest | None = None) -> str:
        """Run kubectl, which must succeed; return what it printed."""
        answer = self.kubectl(*arguments, stdin=stdin)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def apply(self, manifest: Manifest) -> None:
        """Apply a manifest as a person does."""
        self.done("apply", "-f", "-", stdin=manifest)

    def refusal(self, manifest: Manifest, *, verb: str = "create") -> str:
        """Return what the API server says to a manifest, without storing it; empty when it would take it."""
        answer = self.kubectl(verb, "--dry-run=server", "-f", "-", stdin=manifest)
        return answer.stderr if answer.returncode else ""

    def get(self, kind: str, name: str, *, managed: bool = False) -> Manifest | None:
        """Return an object, with its managed fields if asked; None when it does not exist."""
        fields = ("--show-managed-fields",) if managed else ()
        answer = self.kubectl("get", kind, name, "-o", "json", "--ignore-not-found", *fields)
        assert answer.returncode == 0, answer.stderr
        found: Manifest | None = json.loads(answer.stdout) if answer.stdout.strip() else None
        return found

    def status(self, name: str = "orders") -> Manifest:
        """Return a ParallelConsumer's status."""
        found = self.get("pcon", name) or {}
        status: Manifest = found.get("status", {})
        return status

    def settings(self, name: str = "orders") -> dict[str, Any]:
        """Return what stands in a ParallelConsumer's settings file, empty while there is none."""
        found = self.get("configmap", f"{name}-settings")
        loaded: dict[str, Any] = yaml.safe_load(found["data"]["runtime.yaml"]) if found else {}
        return loaded

    def condition(self, kind: str, name: str = "orders") -> tuple[str, str]:
        """Return status and reason of a condition."""
        for condition in self.status(name).get("conditions", []):
            if condition["type"] == kind:
                return condition["status"], condition["reason"]
        return "", ""

    def events(self, reason: str) -> list[str]:
        """Return the messages of the ParallelConsumers' events with a reason."""
        listed = json.loads(self.done("get", "events", "-o", "json"))["items"]
        ours = [event for event in listed if event["involvedObject"]["kind"] == "ParallelConsumer"]
        return [event["message"] for event in ours if event["reason"] == reason]

    def eventually(self, holds: Callable[[], Any], *, seconds: float = 60.0) -> Any:
        """Return the first true value; fail when there is none in time."""
        deadline = time.monotonic() + seconds
        while not (value := holds()):
            assert time.monotonic() < deadline, (
                f"not within {seconds:.0f} s; status: {json.dumps(self.status())[:3000]}"
            )
            time.sleep(0.2)
        return value


@pytest.fixture(scope="session")
def definition(control_plane: Kubernetes) -> Kubernetes:
    """The API server with our definition."""
    control_plane.run_kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRD))
    # `kubectl wait` stumbles over the null conditions of a definition that is a moment old: ask for what it serves.
    deadline = time.monotonic() + 20
    while True:
        try:
            control_plane.run_kubectl("get", "parallelconsumers", "--all-namespaces")
        except TestbedError:
            assert time.monotonic() < deadline, "the definition is not served"
            time.sleep(0.2)
        else:
            return control_plane


@pytest.fixture
def lab(definition: Kubernetes) -> Iterator[Lab]:
    """A fresh namespace."""
    namespace = f"op-{uuid.uuid4().hex[:8]}"
    definition.run_kubectl("create", "namespace", namespace)
    yield Lab(definition, namespace)
    definition.run_kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture
def operator(lab: Lab, tmp_path: Path) -> Iterator[Operator]:
    """The operator, running and watching the namespace."""
    environment = {**os.environ, **lab.cluster.environment}
    process = Operator(lab.namespace, environment, tmp_path / "operator.log")
    process.start()
    yield process
    process.close()


@pytest.fixture
def node(lab: Lab) -> Iterator[Any]:
    """The `PlayedNode` of the namespace."""
    from played_node import PlayedNode

    made = PlayedNode(lab)
    yield made
    made.close()


@pytest.fixture
def troubled(lab: Lab, operator: Operator, tmp_path: Path) -> Iterator[tuple[Operator, Any]]:
    """An operator that reaches the API server through a `Troublemaker` alone, and that."""
    from troublemaker import Troublemaker, kubectl_proxy

    operator.end()
    proxy, address = kubectl_proxy(lab)
    maker = Troublemaker(address)
    maker.start()
    maker.write_kubeconfig(tmp_path / "kubeconfig")
    environment = {**operator.environment, "KUBECONFIG": str(tmp_path / "kubeconfig")}
    process = replace(operator, environment=environment, log=tmp_path / "troubled.log", process=None)
    process.start()
    yield process, maker
    process.close()
    maker.stop()
    proxy.terminate()
    proxy.wait(10)


@pytest.fixture
def scaled_objects(lab: Lab) -> Iterator[Path]:
    """KEDA's own definition of a ScaledObject, from its module; the cluster has none yet, and has none afterwards."""
    module = subprocess.run(
        ["go", "mod", "download", "-json", KEDA], capture_output=True, text=True, timeout=240, check=True
    )
    lab.done("delete", "crd", "scaledobjects.keda.sh", "--ignore-not-found")
    yield Path(json.loads(module.stdout)["Dir"]) / "config" / "crd" / "bases" / "keda.sh_scaledobjects.yaml"
    lab.done("delete", "crd", "scaledobjects.keda.sh", "--ignore-not-found", "--wait=false")


@pytest.fixture(scope="session")
def runtime_image(kubernetes: Kubernetes) -> str:
    """The runtime's image, built from this tree and given to the node."""
    tag = "localhost/parallel-consumer-runtime:test"
    kubernetes.build_image("runtime", tag)
    return tag


@pytest.fixture
def pods(lab: Lab, kubernetes: Kubernetes, runtime_image: str, tmp_path: Path) -> Iterator[Operator]:
    """The operator in front of a cluster with a node, for tests in which consumers really run."""
    environment = {**os.environ, **kubernetes.environment}
    process = Operator(lab.namespace, environment, tmp_path / "operator.log", ("--runtime-image", runtime_image))
    process.start()
    yield process
    process.close()
