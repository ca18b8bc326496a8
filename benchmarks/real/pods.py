"""Pods on the testbed's node: the operator installed by helm, a ParallelConsumer for each run, a real Prometheus.

What is measured is read as anyone could: the resource by kubectl, each pod's metrics at its own address.
"""

import contextlib
import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.real import handlers
from benchmarks.real.errors import RealRunError
from benchmarks.real.manifest import manifest
from benchmarks.real.offer import Offer
from benchmarks.real.stage import LOOK_SECONDS, Plan, RealRun, create_topic
from consumer_runtime.contract import pod as contract
from parallel_consumer_operator.port import Manifest
from parallel_consumer_operator.resource.names import GROUP, KIND, LABEL_NAME, PLURAL
from testbed import installation, parts, readiness
from testbed.errors import TestbedError
from testbed.installation import NAMESPACE, READY_SECONDS, Place
from testbed.progress import Progress

MODULE = Path(handlers.__file__)
RESOURCE = f"{PLURAL}.{GROUP}"


@contextlib.contextmanager
def opened() -> "Iterator[Pods]":
    """Have the testbed up and the operator installed; afterwards both are as they were. Raises RealRunError."""
    progress = Progress()
    absent = [found.part for found in parts.status() if found.condition is parts.Condition.DOWN]
    with _translated("the testbed"), contextlib.ExitStack() as stack:
        if absent:
            stack.callback(parts.down, *absent)
        place = installation.on_testbed(progress)
        installation.begin_afresh(place, "autotune", progress)
        stack.callback(installation.uninstall, place)
        installation.helm_install(place, progress)
        yield Pods(place)


class Pods:
    """A stage with containers."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def perform(self, plan: Plan) -> RealRun:
        """Run a plan; see `Stage`."""
        name = f"autotune-{uuid.uuid4().hex[:8]}"
        create_topic(self._place.bootstrap_servers, name, plan.workload.partitions)
        offer = Offer(self._place.bootstrap_servers, name, plan)
        with _translated(plan.workload.name), self._applied(plan, name):
            offer.start()
            try:
                kept = self._watch(name, plan)
            finally:
                offer.stop()
        offer.require_success()
        return kept

    @contextlib.contextmanager
    def _applied(self, plan: Plan, name: str) -> Iterator[None]:
        """Have the resource Ready; afterwards its pods are gone, and leave their CPU to the next."""
        try:
            self._kubectl("apply", "-f", "-", stdin=json.dumps(manifests(plan, name)))
            self._kubectl("wait", f"{RESOURCE}/{name}", "--for=condition=Ready", f"--timeout={READY_SECONDS:.0f}s")
            yield
        finally:
            self._kubectl("delete", f"{RESOURCE}/{name}", f"configmap/{name}", "--ignore-not-found")
            self._kubectl("wait", "pods", "-l", f"{LABEL_NAME}={name}", "--for=delete", "--timeout=60s")

    def _watch(self, name: str, plan: Plan) -> RealRun:
        kept, begun = RealRun(plan.knobs), time.monotonic()
        while (second := time.monotonic() - begun) < plan.seconds:
            kept.add(second, *self._look(name))
            time.sleep(LOOK_SECONDS)
        return kept

    def _look(self, name: str) -> tuple[Manifest, list[tuple[Manifest, str]]]:
        """Return the resource, and each of its pods with its metrics page."""
        found = json.loads(self._kubectl("get", f"{RESOURCE},pods", "-l", f"{LABEL_NAME}={name}", "-o", "json"))
        consumers = [each for each in found["items"] if each["kind"] == KIND]
        pods = [each for each in found["items"] if each["kind"] == "Pod"]
        return consumers[0], [(pod, _page(pod)) for pod in pods]

    def _kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self._place.run(self._place.kubectl, "-n", NAMESPACE, *arguments, stdin=stdin)


def manifests(plan: Plan, name: str) -> dict[str, Any]:
    """Return the resource, with the limits that the workload gives its pods, and the handlers' source."""
    consumer = manifest(plan, topic=name, servers="kafka:9092", handlers=MODULE.stem)
    pods, spec = plan.workload.pods, consumer["spec"]
    limits = {"cpu": f"{pods.cpu * 1_000:.0f}m", "memory": f"{pods.memory_mb:.0f}Mi"}
    # A core in all is set aside: with less, broker and control plane would go first; with more, they might not fit.
    requests = {"cpu": f"{min(pods.cpu, 1 / pods.count) * 1_000:.0f}m", "memory": "128Mi"}
    spec["podTemplate"] = {"spec": {"consumer": {"resources": {"limits": limits, "requests": requests}}}}
    spec["handler"]["sourceConfigMapRef"] = {"name": name}
    consumer["metadata"] |= {"namespace": NAMESPACE, "labels": {LABEL_NAME: name}}
    source = {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {MODULE.name: MODULE.read_text()},
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "List", "items": [source, consumer]}


def _page(pod: Manifest) -> str:
    address = f"{pod['status'].get('podIP', '')}:{contract.PORT}"
    return (readiness.fetch(address, contract.METRICS_PATH) or b"").decode()


@contextlib.contextmanager
def _translated(what: str) -> "Iterator[None]":
    try:
        yield
    except (TestbedError, subprocess.TimeoutExpired) as error:
        raise RealRunError(f"{what}: {error}") from error
