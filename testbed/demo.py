"""The product's main job on a real cluster: install the chart, apply the example, offer load, watch the tuner work.

`python -m testbed.demo`; `make demo-cluster` is the same. What is shown and summarized is the local mode's: both
demos end in files of one shape. Nothing here decides anything about tuning.
"""

import subprocess
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import testbed
from consumer_runtime.contract import pod as contract
from parallel_consumer_operator.errors import OperatorError
from parallel_consumer_operator.local.load import Load, LoadGenerator
from parallel_consumer_operator.local.recorder import Recorder
from parallel_consumer_operator.local.table import LiveTable
from parallel_consumer_operator.resource.names import GROUP, LABEL_NAME, PLURAL
from testbed.errors import TestbedError
from testbed.installation import (
    NAMESPACE,
    ROOT,
    InstallationFailedError,
    Place,
    apply_example,
    begin_afresh,
    helm_install,
    on_testbed,
)
from testbed.progress import Progress

EXAMPLE = ROOT / "examples" / "short-io-async"
NAME, TOPIC = "short-io", "short-io"
LOOK_SECONDS = 1.0
RUN_SECONDS = 300.0


class Which(StrEnum):
    """The cluster to use."""

    TESTBED = "testbed"
    CURRENT = "current"


class DemoFailedError(TestbedError):
    """The demo did not come to its end."""


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
            place = on_testbed(progress)
        else:
            place = _current(bootstrap_servers, prometheus_url, {"operator": operator_image, "runtime": runtime_image})
        begin_afresh(place, TOPIC, progress)
        helm_install(place, progress)
        apply_example(place, EXAMPLE, NAME, progress)
        kept = _watch(place, Load(rate=rate, messages=messages), console, output)
    except (TestbedError, OperatorError, subprocess.TimeoutExpired) as error:
        console.print(f"[bold red]demo failed:[/] {error}")
        sys.exit(1)
    console.print(f"Look around: kubectl -n {NAMESPACE} describe pcon {NAME}; python -m testbed down takes all away.")
    sys.exit(0 if kept else 1)


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
    except InstallationFailedError:
        return ""


if __name__ == "__main__":
    app()
