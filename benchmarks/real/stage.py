"""One run of a workload on real parts: a topic, pods as processes of this machine, Prometheus, the operator's loop.

Pods are the local mode's: the real runtime with its settings file, metrics and `/state`, without a container around it.
"""

import asyncio
import tempfile
import time
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks.real.manifest import manifest
from benchmarks.real.offer import Offer
from benchmarks.simulator.workload import Knobs, Workload
from parallel_consumer_operator.local.look import look
from parallel_consumer_operator.local.machine import Machine
from parallel_consumer_operator.local.prometheus_server import PrometheusServer
from parallel_consumer_operator.local.run import operated, page, until_ready
from parallel_consumer_operator.local.sample import Sample
from parallel_consumer_operator.port import Manifest
from parallel_consumer_operator.resource.status import ParallelConsumerStatus
from parallel_consumer_operator.resource.tuning import Knob, TuningMode
from parallel_consumer_operator.resource.tuning_status import HistoryEntry, HistoryKind

LOOK_SECONDS = 1.0
ROOT = Path(__file__).resolve().parents[2]


@dataclass(slots=True)
class RealRun:
    """What a run leaves behind; seconds count from the first message offered."""

    samples: list[Sample] = field(default_factory=list)
    history: dict[str, HistoryEntry] = field(default_factory=dict)
    """Every step and rollback by its id."""
    knobs: Knobs = field(default_factory=dict)

    def rate(self, since: float, until: float) -> float:
        """Return messages finished per second between two moments."""
        seen = [sample for sample in self.samples if since <= sample.second <= until]
        if len(seen) < 2:
            return 0.0
        return (seen[-1].processed - seen[0].processed) / (seen[-1].second - seen[0].second)

    @property
    def changes(self) -> list[HistoryEntry]:
        """Steps and rollbacks in order of time."""
        kinds = {HistoryKind.STEP, HistoryKind.ROLLBACK}
        return sorted((each for each in self.history.values() if each.kind in kinds), key=lambda each: each.time)


def perform(workload: Workload, servers: str, *, knobs: Knobs, mode: TuningMode, begin: float, end: float) -> RealRun:
    """Run a part of a workload's schedule under these knobs, tuned or not."""
    return asyncio.run(_perform(workload, servers, knobs=knobs, mode=mode, begin=begin, end=end))


async def _perform(
    workload: Workload, servers: str, *, knobs: Knobs, mode: TuningMode, begin: float, end: float
) -> RealRun:
    topic = f"autotune-{uuid.uuid4().hex[:8]}"
    _create(servers, topic, workload.partitions)
    consumer = manifest(workload, topic=topic, group=topic, knobs=knobs, mode=mode)
    consumer["spec"]["source"]["kafka"]["bootstrapServers"] = servers.split(",")
    directory = Path(tempfile.mkdtemp(prefix="autotune-"))
    offer = Offer(servers, topic, workload, begin=begin, end=end)
    async with AsyncExitStack() as stack:
        server = PrometheusServer(directory / "prometheus")
        stack.callback(server.stop)
        server.start()
        machine = Machine(consumer, [], directory, module_path=(ROOT,))
        await stack.enter_async_context(operated(machine, server, server.address))
        await until_ready(machine)
        offer.start()
        try:
            kept = await _watch(machine, end - begin)
        finally:
            await asyncio.to_thread(offer.stop)
    offer.require_success()
    kept.knobs = dict(knobs) | _tuned(machine.consumer)
    return kept


def _create(servers: str, topic: str, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(timeout=30)


async def _watch(machine: Machine, seconds: float) -> RealRun:
    kept, begun = RealRun(), time.monotonic()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        while (second := time.monotonic() - begun) < seconds:
            pages: list[tuple[Manifest, Any]] = [
                (pod.manifest(), await page(session, pod)) for pod in list(machine.running)
            ]
            if all(text for _, text in pages):
                kept.samples.append(look(second, machine.consumer, pages))
            for entry in ParallelConsumerStatus.parse(machine.consumer).tuning.history:
                kept.history[entry.id] = entry
            await asyncio.sleep(LOOK_SECONDS)
    return kept


def _tuned(consumer: Manifest) -> Knobs:
    tuned = ParallelConsumerStatus.parse(consumer).tuning.knobs
    return {knob: value for knob in Knob if (value := tuned.of(knob)) is not None}
