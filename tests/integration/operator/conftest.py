"""A namespace on the real API server, and the operator as a process of its own in front of it."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.cluster import Kubernetes
from testbed.errors import TestbedError

ROOT = Path(__file__).resolve().parents[3]
# `played_node` is beside this file, and the `made_pods` that it takes part of are beside the Prometheus tests.
sys.path += [str(Path(__file__).parent), str(ROOT / "tests" / "integration" / "prometheus")]
CRD = ROOT / "crds" / "parallelconsumers.yaml"
Manifest = dict[str, Any]


@dataclass
class Operator:
    """The operator as a process on this machine; `log` is where it writes."""

    namespace: str
    environment: dict[str, str]
    log: Path
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        """Start it; it works a second later."""
        run = (sys.executable, "-m", "parallel_consumer_operator", "run", "--namespace", self.namespace)
        command = [*run, "--http-port", "0"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*command, *self.options], env=self.environment, stderr=log)

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal; return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=20)

    def lines(self) -> list[dict[str, Any]]:
        """Return what it logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


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
    if process.process is not None and process.process.poll() is None:
        process.end(signal.SIGKILL)


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
    if process.process is not None and process.process.poll() is None:
        process.end(signal.SIGKILL)
