"""The product's main job on a real cluster: install the chart, apply the example, offer load, watch the tuner work.

`python -m testbed.demo`; `make demo-cluster` is the same. What is shown and summarized is the local mode's: both
demos end in files of one shape. Nothing here decides anything about tuning.
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import testbed
from consumer_runtime.contract import pod as contract
from parallel_consumer_operator.errors import OperatorError
from parallel_consumer_operator.local.load import Load, LoadGenerator
from parallel_consumer_operator.local.recorder import Recorder
from parallel_consumer_operator.local.table import LiveTable
from parallel_consumer_operator.port import Manifest
from parallel_consumer_operator.resource.names import GROUP, LABEL_NAME, PLURAL
from testbed.errors import TestbedError
from testbed.progress import Progress

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "parallel-consumer-operator"
EXAMPLE = ROOT / "examples" / "short-io-async"
NAME, TOPIC = "short-io", "short-io"
NAMESPACE, OPERATOR_NAMESPACE = "parallel-consumer-demo", "parallel-consumer-system"
IMAGES = {"operator": "localhost/parallel-consumer-operator:dev", "runtime": "localhost/parallel-consumer-runtime:dev"}
LOOK_SECONDS = 1.0
READY_SECONDS, RUN_SECONDS = 120.0, 300.0


class Which(StrEnum):
    """The cluster to use."""

    TESTBED = "testbed"
    CURRENT = "current"


class DemoFailedError(TestbedError):
    """The demo did not come to its end."""


@dataclass(frozen=True)
class Place:
    """Where the demo runs: a cluster's tools, and the addresses of Kafka and Prometheus."""

    kubectl: Path
    helm: Path
    environment: dict[str, str]
    images: dict[str, str]
    pod_bootstrap_servers: str
    bootstrap_servers: str
    prometheus_url: str

    def run(self, program: Path, *arguments: str, stdin: str | None = None, seconds: float = 180.0) -> str:
        """Return what a command printed; raises DemoFailedError with what it complained of."""
        done = subprocess.run(
            [str(program), *arguments],
            env=self.environment, input=stdin, capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
        if done.returncode:
            raise DemoFailedError(f"{program.name} {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return what `kubectl get -o json` found in the demo's namespace."""
        found: dict[str, Any] = json.loads(self.run(self.kubectl, "get", "-n", NAMESPACE, "-o", "json", *arguments))
        return found


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog="Example: python -m testbed.demo --rate 4000 --messages 200000")
def demo(
    cluster: Annotated[Which, typer.Option(help="The testbed's own, or the one of your kube context.")] = Which.TESTBED,
    rate: Annotated[int, typer.Option(min=1, help="Messages offered per second.")] = 4_000,
    messages: Annotated[int, typer.Option(min=1, help="Messages offered in all.")] = 200_000,
    output: Annotated[Path, typer.Option(help="The figures, as JSON.")] = Path("build/demo-cluster.json"),
    bootstrap_servers: Annotated[str, typer.Option(help="Kafka for pods and for this machine; with current.")] = "",
    prometheus_url: Annotated[str, typer.Option(help="Prometheus for the operator; with current.")] = "",
    operator_image: Annotated[str, typer.Option(help="An image that the nodes can pull; with current.")] = "",
    runtime_image: Annotated[str, typer.Option(help="An image that the nodes can pull; with current.")] = "",
) -> None:
    """Install the operator, apply examples/short-io-async, offer load, and watch maxInFlight being raised."""
    console, progress = Console(highlight=False), Progress()
    try:
        if cluster is Which.TESTBED:
            place = _testbed(progress)
        else:
            place = _current(bootstrap_servers, prometheus_url, {"operator": operator_image, "runtime": runtime_image})
        _install(place, progress)
        kept = _watch(place, Load(rate=rate, messages=messages), console, output)
    except (TestbedError, OperatorError, subprocess.TimeoutExpired) as error:
        console.print(f"[bold red]demo failed:[/] {error}")
        sys.exit(1)
    console.print(f"Look around: kubectl -n {NAMESPACE} describe pcon {NAME}; python -m testbed down takes all away.")
    sys.exit(0 if kept else 1)


def _testbed(progress: Progress) -> Place:
    """Bring everything up and return where it is; on a running testbed only the images may be built anew."""
    testbed.up(progress=progress)
    cluster, kafka, prometheus = testbed.Kubernetes(), testbed.Kafka(), testbed.Prometheus()
    for stage, tag in IMAGES.items():
        cluster.build_image(stage, tag, progress)
    return Place(
        kubectl=cluster.kubectl, helm=cluster.helm, environment=cluster.environment, images=IMAGES,
        pod_bootstrap_servers=kafka.pod_bootstrap_servers, bootstrap_servers=kafka.bootstrap_servers,
        prometheus_url=prometheus.url,
    )  # fmt: skip


def _current(bootstrap_servers: str, prometheus_url: str, images: dict[str, str]) -> Place:
    given = {"--bootstrap-servers": bootstrap_servers, "--prometheus-url": prometheus_url}
    given |= {f"--{stage}-image": image for stage, image in images.items()}
    missing = [name for name, value in given.items() if not value]
    if missing:
        raise DemoFailedError(f"with --cluster current, say also {', '.join(missing)}")
    found = testbed.cluster(current=True)
    return Place(
        kubectl=found.kubectl, helm=found.helm, environment=found.environment, images=images,
        pod_bootstrap_servers=bootstrap_servers, bootstrap_servers=bootstrap_servers, prometheus_url=prometheus_url,
    )  # fmt: skip


def _install(place: Place, progress: Progress) -> None:
    """Begin afresh: an empty namespace and topic, then the chart and the example as a user would install them."""
    with progress.step("clear what an earlier demo left"):
        place.run(place.kubectl, "delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
        place.run(place.kubectl, "create", "namespace", NAMESPACE)
        _fresh_topic(place.bootstrap_servers)
    with progress.step("helm install"):
        place.run(place.helm, *_helm_arguments(place))
    with progress.step("kubectl apply -f examples/short-io-async/"):
        place.run(place.kubectl, "apply", "-n", NAMESPACE, "-f", "-", stdin=json.dumps(_kafka_service(place)))
        place.run(place.kubectl, "apply", "-n", NAMESPACE, "-f", str(EXAMPLE))
        waiting = f"--timeout={READY_SECONDS:.0f}s"
        place.run(place.kubectl, "wait", "-n", NAMESPACE, f"{PLURAL}.{GROUP}/{NAME}", "--for=condition=Ready", waiting)


def _helm_arguments(place: Place) -> list[str]:
    values = {"prometheus.url": place.prometheus_url}
    for stage, section in (("operator", "image"), ("runtime", "runtime.image")):
        repository, _, tag = place.images[stage].rpartition(":")
        values |= {f"{section}.repository": repository, f"{section}.tag": tag}
    pairs = [part for name, value in values.items() for part in ("--set-string", f"{name}={value}")]
    where = ("-n", OPERATOR_NAMESPACE, "--create-namespace", "--wait", "--timeout", "120s")
    return ["upgrade", "--install", "parallel-consumer-operator", str(CHART), *where, *pairs]


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


def _fresh_topic(bootstrap_servers: str) -> None:
    """Make the example's topic with 8 partitions and no message in it, and its group without an offset."""
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    for name, future in {**admin.delete_consumer_groups([NAME]), **admin.delete_topics([TOPIC])}.items():
        if error := future.exception(30):
            Progress().line(f"{name}: {error.args[0].str()}" if error.args else name)
    deadline = time.monotonic() + 30
    while TOPIC in admin.list_topics(timeout=10).topics and time.monotonic() < deadline:
        time.sleep(0.2)
    if error := admin.create_topics([NewTopic(TOPIC, num_partitions=8, replication_factor=1)])[TOPIC].exception(30):
        raise DemoFailedError(f"topic {TOPIC} cannot be made: {error}")


def _watch(place: Place, load: Load, console: Console, output: Path) -> bool:
    generator = LoadGenerator(place.bootstrap_servers, TOPIC, load)
    begun = time.monotonic()
    with LiveTable(f"{NAME}: {load.rate} messages a second offered") as table:
        recorder = Recorder(table)
        generator.start()
        try:
            while not _finished(recorder, generator):
                if time.monotonic() - begun > RUN_SECONDS:
                    raise DemoFailedError(f"the backlog was not gone after {RUN_SECONDS:.0f} s")
                _look(place, recorder, time.monotonic() - begun)
                time.sleep(LOOK_SECONDS)
        finally:
            generator.stop()
    generator.require_success()
    return recorder.finish(console, offered=load.messages, output=output)


def _finished(recorder: Recorder, generator: LoadGenerator) -> bool:
    return bool(generator.finished and recorder.samples and recorder.samples[-1].backlog == 0
                and recorder.samples[-1].processed >= generator.sent)  # fmt: skip


def _look(place: Place, recorder: Recorder, second: float) -> None:
    consumer = place.get(f"{PLURAL}.{GROUP}", NAME)
    pods = place.get("pods", "-l", f"{LABEL_NAME}={NAME}")["items"]
    recorder.add(second, consumer, [(pod, _metrics_page(place, pod["metadata"]["name"])) for pod in pods])


def _metrics_page(place: Place, pod: str) -> str:
    """Return a pod's metrics by way of the API server, which works wherever kubectl does."""
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:{contract.PORT}/proxy{contract.METRICS_PATH}"
    try:
        return place.run(place.kubectl, "get", "--raw", path)
    except DemoFailedError:
        return ""


if __name__ == "__main__":
    app()
