"""Pods as processes of this machine: the local mode's, with settings file, metrics and `/state`, but no container.

Kafka and Prometheus are real, and what decides is the operator's own loop.
"""

import asyncio
import contextlib
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import structlog

from benchmarks.real import handlers
from benchmarks.real.errors import RealRunError
from benchmarks.real.manifest import manifest
from benchmarks.real.offer import Offer
from benchmarks.real.stage import LOOK_SECONDS, Plan, RealRun, create_topic
from parallel_consumer_operator.errors import OperatorError
from parallel_consumer_operator.local.machine import Machine
from parallel_consumer_operator.local.prometheus_server import PrometheusServer
from parallel_consumer_operator.local.run import operated, page, until_ready
from testbed.errors import TestbedError
from testbed.kafka import Kafka

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def opened() -> "Iterator[Processes]":
    """Start the testbed's Kafka, which stays up; raises RealRunError."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    kafka = Kafka()
    try:
        kafka.start()
    except TestbedError as error:
        raise RealRunError(str(error)) from error
    yield Processes(kafka.bootstrap_servers)


class Processes:
    """A stage without containers."""

    def __init__(self, servers: str) -> None:
        self._servers = servers

    def perform(self, plan: Plan) -> RealRun:
        """Run a plan; see `Stage`."""
        try:
            return asyncio.run(self._perform(plan))
        except OperatorError as error:
            raise RealRunError(f"{plan.workload.name}: {error}") from error

    async def _perform(self, plan: Plan) -> RealRun:
        topic = f"autotune-{uuid.uuid4().hex[:8]}"
        create_topic(self._servers, topic, plan.workload.partitions)
        consumer = manifest(plan, topic=topic, servers=self._servers, handlers=handlers.__name__)
        directory = Path(tempfile.mkdtemp(prefix="autotune-"))
        offer = Offer(self._servers, topic, plan)
        async with AsyncExitStack() as stack:
            server = PrometheusServer(directory / "prometheus")
            stack.callback(server.stop)
            server.start()
            machine = Machine(consumer, [], directory, module_path=(ROOT,))
            await stack.enter_async_context(operated(machine, server, server.address))
            await until_ready(machine)
            offer.start()
            try:
                kept = await _watch(machine, plan)
            finally:
                await asyncio.to_thread(offer.stop)
        offer.require_success()
        return kept


async def _watch(machine: Machine, plan: Plan) -> RealRun:
    kept, begun = RealRun(plan.knobs), time.monotonic()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        while (second := time.monotonic() - begun) < plan.seconds:
            pages = [(pod.manifest(), await page(session, pod)) for pod in list(machine.running)]
            kept.add(second, machine.consumer, pages)
            await asyncio.sleep(LOOK_SECONDS)
    return kept
