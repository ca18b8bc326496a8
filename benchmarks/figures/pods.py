"""One, two and four pods of a ParallelConsumer on the testbed's node: what they carry, and where its cores are full.

The pods are the product's own, made by the operator, with tuning off. Kafka and the control plane share the cores.
"""

import json
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from benchmarks.compare.errors import RunFailedError
from benchmarks.compare.topics import Contents, Topic
from benchmarks.figures.figure import Bench, Figure
from testbed import installation
from testbed.cluster import Kubernetes
from testbed.installation import NAMESPACE, READY_SECONDS, Place
from testbed.monitoring import Prometheus
from testbed.progress import Progress

COUNTS = (1, 2, 4)
LIMITS = (16, 64, 256)
"""Messages in flight in each pod: at 5 ms a message the few leave room on the cores, the many do not."""
FULL_SHARE = 0.9
"""Of the machine's CPU time: above it the cores count as full."""
IDLE_SHARE = 0.5
"""Of the machine's CPU time at most, before there is a pod: Kafka and the control plane take 10 to 25 %."""
_BACKLOG = Contents(messages=4_000_000)
_NAME = "pods"
_WATCH_SECONDS = 10.0
_SETTLE_SECONDS = 6.0
"""A rebalance, and the first seconds of a new pod."""
_LOOK_SECONDS = 0.5
_HANDLER = '''import asyncio


async def handle(message):
    """Wait as long as the benchmark's 5 ms of I/O."""
    await asyncio.sleep(0.005)
'''
_STAT = Path("/proc/stat")
_IDLE, _IO_WAIT = 3, 4
"""Columns of the first line: proc_stat(5)."""


@dataclass(frozen=True, slots=True)
class Point:
    """What so many pods carried, and how many of the machine's cores were busy meanwhile."""

    pods: int
    rate: float
    """Messages a second."""
    busy: float


def figures(bench: Bench) -> Iterator[Figure]:
    """Scale a resource of 5 ms work, with few in flight and with many, and compare its pods with one of them."""
    progress, others = Progress(), (Kubernetes(), Prometheus())
    left = [each for each in others if not each.is_up()]
    try:
        place = installation.on_testbed(progress)
        installation.begin_afresh(place, _NAME, progress)
        installation.helm_install(place, progress)
        topic, cores = bench.topic(_BACKLOG), os.cpu_count() or 1
        time.sleep(_SETTLE_SECONDS)
        require_idle(_busy_cores(_SETTLE_SECONDS), cores)
        for limit in LIMITS:
            group = f"{_NAME}-{uuid.uuid4().hex[:8]}"
            yield figure(limit, list(_measured(bench, place, topic, group, limit)), cores=cores)
        installation.uninstall(place)
    finally:
        for part in left:
            part.remove()


def require_idle(busy: float, cores: int) -> None:
    """Raise RunFailedError when others use the cores: they would be full with one pod, and every figure kept."""
    if busy > IDLE_SHARE * cores:
        raise RunFailedError(f"{busy:.1f} of {cores} cores are busy before there is a pod: other programs take them")


def figure(limit: int, points: list[Point], *, cores: int) -> Figure:
    """Return what the most pods carried before the cores were full, as a share of as many times one pod's rate."""
    one = points[0].rate / points[0].pods
    last = ([each for each in points if not _is_full(each, cores)] or points[:1])[-1]
    shown = {f"{each.pods} pods: {what}": value for each in points for what, value in _told(each, one)}
    return Figure(
        name=f"pods over one, {limit} in flight each, 5 ms", value=last.rate / one, at_least=FULL_SHARE * last.pods,
        unit=f"times one pod's rate, with {last.pods}; {_until(points, cores)}", points=shown,
    )  # fmt: skip


def _until(points: Iterable[Point], cores: int) -> str:
    """Say with how many pods the cores are full."""
    full = next((each for each in points if _is_full(each, cores)), None)
    return f"{cores} cores are never full" if full is None else f"{cores} cores are full with {full.pods}"


def _is_full(point: Point, cores: int) -> bool:
    return point.busy >= FULL_SHARE * cores


def _told(point: Point, one: float) -> Iterator[tuple[str, float]]:
    yield "messages/s", round(point.rate)
    yield "times one", round(point.rate / one, 2)
    yield "cores busy", round(point.busy, 2)


def _measured(bench: Bench, place: Place, topic: Topic, group: str, limit: int) -> Iterator[Point]:
    committed = partial(_committed, bench, topic, group)
    for count in COUNTS:
        _apply(place, _manifests(topic, group, replicas=count, limit=limit))
        _wait_for(partial(_are_ready, place, count), f"{count} pods")
        _wait_for(partial(_goes_on, committed, committed()), "the group's progress")
        time.sleep(_SETTLE_SECONDS)
        before, at = committed(), time.monotonic()
        busy = _busy_cores(_WATCH_SECONDS)
        after, seconds = committed(), time.monotonic() - at
        if after >= topic.messages:
            raise RunFailedError(f"{count} pods reached the end of {topic.messages} messages: nothing was measured")
        yield Point(pods=count, rate=(after - before) / seconds, busy=busy)
    place.run(place.kubectl, "delete", "-n", NAMESPACE, f"pcon/{group}", "--wait=true")
    _wait_for(partial(_are_gone, place, group), "the end of the pods")


def _manifests(topic: Topic, group: str, *, replicas: int, limit: int) -> list[dict[str, Any]]:
    kafka = {"bootstrapServers": ["kafka:9092"], "topics": [topic.name], "consumerGroup": group}
    source = {"metadata": {"name": _NAME}, "data": {"handler.py": _HANDLER}}
    spec = {
        "replicas": replicas,
        "source": {"kafka": {**kafka, "autoOffsetReset": "earliest"}},
        "handler": {"entrypoint": "handler:handle", "sourceConfigMapRef": {"name": _NAME}},
        "execution": {"mode": "async", "maxInFlight": limit},
        "tuning": {"mode": "Off"},
    }
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", **source},
        {
            "apiVersion": "parallelconsumer.dev/v1alpha1",
            "kind": "ParallelConsumer",
            "metadata": {"name": group},
            "spec": spec,
        },
    ]


def _apply(place: Place, manifests: list[dict[str, Any]]) -> None:
    items = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    place.run(place.kubectl, "apply", "-n", NAMESPACE, "-f", "-", stdin=items)


def _are_ready(place: Place, count: int) -> bool:
    """Whether so many pods are there and ready, of the one resource."""
    found = place.get("pcon")["items"]
    states = [each.get("status", {}) for each in found]
    return [(each.get("replicas", 0), each.get("readyReplicas", 0)) for each in states] == [(count, count)]


def _are_gone(place: Place, name: str) -> bool:
    return not place.get("pods", "-l", f"parallelconsumer.dev/name={name}")["items"]


def _goes_on(committed: Callable[[], int], since: int) -> bool:
    return committed() > since


def _committed(bench: Bench, topic: Topic, group: str) -> int:
    """Return the sum of the group's offsets; those without a commit count as 0."""
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic.name, n) for n in range(len(topic.ends))])
    admin = bench.kafka.admin()  # held until the answer is there
    (answer,) = admin.list_consumer_group_offsets([asked], request_timeout=10).values()
    return sum(max(each.offset, 0) for each in answer.result().topic_partitions)


def _busy_cores(seconds: float) -> float:
    """Return how many cores are busy on average over the next seconds, whoever uses them."""
    before, at = busy_seconds(_STAT.read_text()), time.monotonic()
    time.sleep(seconds)
    return (busy_seconds(_STAT.read_text()) - before) / (time.monotonic() - at)


def busy_seconds(stat: str) -> float:
    """Return the CPU time that everything on the machine has used, of the text of /proc/stat."""
    columns = [int(each) for each in stat.splitlines()[0].split()[1:9]]
    return (sum(columns) - columns[_IDLE] - columns[_IO_WAIT]) / os.sysconf("SC_CLK_TCK")


def _wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RunFailedError(f"{what}: not within {READY_SECONDS:g} s")
        time.sleep(_LOOK_SECONDS)
