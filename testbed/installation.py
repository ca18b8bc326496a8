"""Puts the operator and the example on a cluster as a user would: helm install, kubectl apply.

For the demo and the end-to-end tests; what happens then is watched there.
"""

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import testbed
from parallel_consumer_operator.port import Manifest
from testbed.errors import TestbedError
from testbed.progress import Progress

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "parallel-consumer-operator"
RELEASE = "parallel-consumer-operator"
NAMESPACE, OPERATOR_NAMESPACE = "parallel-consumer-demo", "parallel-consumer-system"
IMAGES = {"operator": "localhost/parallel-consumer-operator:dev", "runtime": "localhost/parallel-consumer-runtime:dev"}
READY_SECONDS = 120.0


class InstallationFailedError(TestbedError):
    """A command that installs or asks did not do so."""


@dataclass(frozen=True)
class Place:
    """A cluster's tools, images that its nodes have, and the addresses of Kafka and Prometheus."""

    kubectl: Path
    helm: Path
    environment: dict[str, str]
    images: dict[str, str]
    pod_bootstrap_servers: str
    bootstrap_servers: str
    prometheus_url: str

    def run(self, program: Path, *arguments: str, stdin: str | None = None, seconds: float = 180.0) -> str:
        """Return what a command printed; raises InstallationFailedError with what it complained of."""
        done = subprocess.run(
            [str(program), *arguments],
            env=self.environment, input=stdin, capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
        if done.returncode:
            raise InstallationFailedError(
                f"{program.name} {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}"
            )
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return what `kubectl get -o json` found in the demo's namespace."""
        found: dict[str, Any] = json.loads(self.run(self.kubectl, "get", "-n", NAMESPACE, "-o", "json", *arguments))
        return found


def on_testbed(progress: Progress) -> Place:
    """Bring everything up and return where it is; on a running testbed only the images may be built anew."""
    testbed.up(progress=progress)
    cluster, kafka, prometheus = testbed.Kubernetes(), testbed.Kafka(), testbed.Prometheus()
    cluster.build_helm(progress)
    for stage, tag in IMAGES.items():
        cluster.build_image(stage, tag, progress)
    return Place(
        kubectl=cluster.kubectl, helm=cluster.helm, environment=cluster.environment, images=IMAGES,
        pod_bootstrap_servers=kafka.pod_bootstrap_servers, bootstrap_servers=kafka.bootstrap_servers,
        prometheus_url=prometheus.url,
    )  # fmt: skip


def begin_afresh(place: Place, topic: str, progress: Progress) -> None:
    """Leave nothing of an earlier installation but the definition: no release, an empty namespace, an empty topic."""
    with progress.step("clear what an earlier run left"):
        uninstall(place)
        place.run(place.kubectl, "delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
        place.run(place.kubectl, "create", "namespace", NAMESPACE)
        fresh_topic(place.bootstrap_servers, topic)
        place.run(place.kubectl, "apply", "-n", NAMESPACE, "-f", "-", stdin=json.dumps(_kafka_service(place)))


def helm_install(place: Place, progress: Progress) -> None:
    """Install the chart; a definition that was applied by hand becomes the release's."""
    with progress.step("helm install"):
        place.run(place.helm, *_helm_arguments(place))


def uninstall(place: Place) -> None:
    """Take the release away; consumers, their definition and their resources stay."""
    place.run(place.helm, "uninstall", RELEASE, "-n", OPERATOR_NAMESPACE, "--ignore-not-found", "--wait")


def apply_example(place: Place, example: Path, name: str, progress: Progress) -> None:
    """Apply a folder of manifests and wait until the ParallelConsumer of that name is Ready."""
    with progress.step(f"kubectl apply -f {example.relative_to(ROOT)}/"):
        place.run(place.kubectl, "apply", "-n", NAMESPACE, "-f", str(example))
        waiting = f"--timeout={READY_SECONDS:.0f}s"
        place.run(place.kubectl, "wait", "-n", NAMESPACE, f"pcon/{name}", "--for=condition=Ready", waiting)


def _helm_arguments(place: Place) -> list[str]:
    values = {"prometheus.url": place.prometheus_url}
    for stage, section in (("operator", "image"), ("runtime", "runtime.image")):
        repository, _, tag = place.images[stage].rpartition(":")
        values |= {f"{section}.repository": repository, f"{section}.tag": tag}
    pairs = [part for name, value in values.items() for part in ("--set-string", f"{name}={value}")]
    where = ("-n", OPERATOR_NAMESPACE, "--create-namespace", "--wait", "--timeout", "120s")
    return ["upgrade", "--install", RELEASE, str(CHART), "--take-ownership", *where, *pairs]


def _kafka_service(place: Place) -> Manifest:
    """Return the Service by which pods know Kafka as kafka:9092, as the example says; it leads to the real address."""
    host, _, port = place.pod_bootstrap_servers.split(",")[0].rpartition(":")
    ports = [{"name": "kafka", "port": 9092, "targetPort": int(port)}]
    slice_labels = {"kubernetes.io/service-name": "kafka"}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kafka"}, "spec": {"ports": ports}}
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kafka", "labels": slice_labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [host]}],
        "ports": [{"name": "kafka", "port": int(port)}],
    }
    return {"apiVersion": "v1", "kind": "List", "items": [service, endpoints]}


def fresh_topic(bootstrap_servers: str, topic: str) -> None:
    """Make a topic with 8 partitions and no message in it, and its group of the same name without an offset."""
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    for future in (*admin.delete_consumer_groups([topic]).values(), *admin.delete_topics([topic]).values()):
        future.exception(30)  # usually there is none to delete
    deadline = time.monotonic() + 30
    while topic in admin.list_topics(timeout=10).topics and time.monotonic() < deadline:
        time.sleep(0.2)
    if error := admin.create_topics([NewTopic(topic, num_partitions=8, replication_factor=1)])[topic].exception(30):
        raise InstallationFailedError(f"topic {topic} cannot be made: {error}")
