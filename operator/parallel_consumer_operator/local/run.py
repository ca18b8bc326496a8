"""Runs one ParallelConsumer on this machine: Kafka, Prometheus, pods as processes, the operator's own loop, a table.

What a pass or a step is, is `reconcile.py`'s and `tuning`'s affair; here the parts are started, watched and ended.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from rich.console import Console

from consumer_runtime.contract import pod as contract
from parallel_consumer_operator.control import Control
from parallel_consumer_operator.errors import OperatorError
from parallel_consumer_operator.exposition import OperatorMetrics
from parallel_consumer_operator.local import documents
from parallel_consumer_operator.local.embedded_kafka import EmbeddedKafkaProcess
from parallel_consumer_operator.local.load import Load, LoadGenerator
from parallel_consumer_operator.local.machine import Machine
from parallel_consumer_operator.local.pod import LocalPod
from parallel_consumer_operator.local.prometheus_server import PrometheusServer
from parallel_consumer_operator.local.recorder import Recorder
from parallel_consumer_operator.local.table import LiveTable
from parallel_consumer_operator.port import Manifest
from parallel_consumer_operator.prometheus import Prometheus
from parallel_consumer_operator.reconcile import Reconciler
from parallel_consumer_operator.resource.names import METRIC_LABEL
from parallel_consumer_operator.resource.status import ConditionType, ParallelConsumerStatus
from parallel_consumer_operator.settings import OperatorSettings
from parallel_consumer_operator.tune import PrometheusTuner

LOOK_SECONDS = 1.0
READY_SECONDS = 60.0


class RunFailedError(OperatorError):
    """The local run did not come to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run. Empty addresses mean parts of our own; `load` None means that messages come from elsewhere."""

    path: Path
    directory: Path
    output: Path
    bootstrap_servers: str = ""
    prometheus_url: str = ""
    load: Load | None = None
    seconds_at_most: float | None = None


async def run(plan: Plan, console: Console) -> bool:
    """Run until the offered load is worked off, or until cancelled; return whether every promise was kept.

    Raises OperatorError for anything that a user can mend.
    """
    given = documents.read(plan.path)
    consumer = documents.the_consumer(given)
    async with AsyncExitStack() as stack:
        kafka = consumer["spec"]["source"]["kafka"]
        kafka["bootstrapServers"] = _kafka(plan, kafka["topics"], stack).split(",")
        server = _prometheus(plan, stack)
        machine = Machine(consumer, given, plan.directory, module_path=(plan.path.parent.resolve(), Path.cwd()))
        await stack.enter_async_context(operated(machine, server, plan.prometheus_url or _address(server)))
        console.print(f"Pods' logs and settings: {plan.directory}")
        await until_ready(machine)
        generator = _generator(plan, kafka)
        recorder = await _watch(machine, generator, plan)
    if generator is None:
        return True
    generator.require_success()
    return recorder.finish(console, offered=generator.sent, output=plan.output)


def _kafka(plan: Plan, topics: list[str], stack: AsyncExitStack) -> str:
    if plan.bootstrap_servers:
        return plan.bootstrap_servers
    embedded = EmbeddedKafkaProcess(topics)
    stack.callback(embedded.stop)
    embedded.start()
    return embedded.bootstrap_servers


def _prometheus(plan: Plan, stack: AsyncExitStack) -> PrometheusServer | None:
    if plan.prometheus_url:
        return None
    server = PrometheusServer(plan.directory / "prometheus")
    stack.callback(server.stop)
    server.start()
    return server


def _address(server: PrometheusServer | None) -> str:
    return server.address if server else ""


@contextlib.asynccontextmanager
async def operated(machine: Machine, server: PrometheusServer | None, prometheus_url: str) -> AsyncIterator[None]:
    """Keep the operator's loop going over the machine, and Prometheus' targets in step with its pods."""
    prometheus = Prometheus()
    metrics = OperatorMetrics()
    tuner = PrometheusTuner(prometheus, default_address=prometheus_url, every_decision=True)
    control = Control(Reconciler(machine, OperatorSettings(), tuner=tuner), metrics)

    def pods_changed(pods: list[LocalPod]) -> None:
        if server is not None:
            labels = {"namespace": machine.key.namespace, METRIC_LABEL: machine.key.name}
            server.set_targets([(pod.address, {**labels, "pod": pod.name}) for pod in pods])
        control.wake(machine.key)

    machine.on_pods = pods_changed
    control.changed(machine.consumer)
    try:
        yield
    finally:
        await control.stop()
        prometheus.close()
        await machine.close()


async def until_ready(machine: Machine) -> None:
    """Wait for Ready; raises RunFailedError with what the operator says is wrong."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        status = ParallelConsumerStatus.parse(machine.consumer)
        ready, degraded = (status.condition(kind) for kind in (ConditionType.READY, ConditionType.DEGRADED))
        if ready is not None and ready.status == "True":
            return
        if degraded is not None and degraded.status == "True":
            raise RunFailedError(f"{degraded.reason}: {degraded.message}")
        await asyncio.sleep(0.1)
    raise RunFailedError(f"the pods were not ready within {READY_SECONDS:.0f} s; see their logs in {machine.directory}")


def _generator(plan: Plan, kafka: Manifest) -> LoadGenerator | None:
    if plan.load is None:
        return None
    generator = LoadGenerator(",".join(kafka["bootstrapServers"]), kafka["topics"][0], plan.load)
    generator.start()
    return generator


async def _watch(machine: Machine, generator: LoadGenerator | None, plan: Plan) -> Recorder:
    begun = time.monotonic()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        with LiveTable(f"{machine.key.name} on this machine") as table:
            recorder = Recorder(table)
            try:
                while not _finished(recorder, generator):
                    second = time.monotonic() - begun
                    if plan.seconds_at_most is not None and second > plan.seconds_at_most:
                        break
                    pages = [(pod.manifest(), await page(session, pod)) for pod in machine.running]
                    recorder.add(second, machine.consumer, pages)
                    await asyncio.sleep(LOOK_SECONDS)
            finally:
                if generator is not None:
                    await asyncio.to_thread(generator.stop)
    return recorder


def _finished(recorder: Recorder, generator: LoadGenerator | None) -> bool:
    if generator is None or not generator.finished or not recorder.samples:
        return False
    last = recorder.samples[-1]
    return last.backlog == 0 and last.processed >= generator.sent


async def page(session: aiohttp.ClientSession, pod: LocalPod) -> str:
    """Return a pod's metrics; empty when it does not answer."""
    try:
        async with session.get(f"http://{pod.address}{contract.METRICS_PATH}") as answer:
            return await answer.text() if answer.ok else ""
    except (aiohttp.ClientError, TimeoutError):
        return ""
