"""Many resources on a real API server: made, edited, looked at through `kubectl proxy`, so without our own client."""

import asyncio
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from testbed.cluster import Kubernetes

AT_ONCE = 16
NAMESPACE = f"scale-{os.getpid()}"
"""Of this run: one that was cut off leaves its own behind."""
RESOURCES = f"/apis/parallelconsumer.dev/v1alpha1/namespaces/{NAMESPACE}/parallelconsumers"
CHILDREN = (
    f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments",
    f"/api/v1/namespaces/{NAMESPACE}/configmaps",
    f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts",
)
LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Server:
    """The API server behind a proxy on this machine."""

    session: aiohttp.ClientSession

    async def items(self, path: str) -> list[dict[str, Any]]:
        """Return all objects of a kind."""
        async with self.session.get(path) as answer:
            answer.raise_for_status()
            found: list[dict[str, Any]] = (await answer.json())["items"]
            return found

    async def make(self, numbers: range) -> None:
        """Make suspended resources without tuning and monitoring."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with turns, self.session.post(RESOURCES, json=_resource(number)) as answer:
                answer.raise_for_status()

        await asyncio.gather(*map(one, numbers))

    async def edit(self, number: int, value: int) -> float:
        """Change one spec; return the seconds until the status tells that it was followed."""
        path = f"{RESOURCES}/{_name(number)}"
        body = json.dumps({"spec": {"execution": {"maxInFlight": value}}})
        headers = {"Content-Type": "application/merge-patch+json"}
        async with self.session.patch(path, data=body, headers=headers) as answer:
            answer.raise_for_status()
            generation = (await answer.json())["metadata"]["generation"]
        began = time.perf_counter()
        while True:
            async with self.session.get(path) as answer:
                if (await answer.json()).get("status", {}).get("observedGeneration") == generation:
                    return time.perf_counter() - began
            await asyncio.sleep(LOOK_SECONDS)

    async def are_observed(self, count: int) -> bool:
        """Return whether the status of each resource tells of its present spec."""
        found = await self.items(RESOURCES)
        seen = [each.get("status", {}).get("observedGeneration") == each["metadata"]["generation"] for each in found]
        return len(seen) == count and all(seen)

    async def versions(self) -> dict[str, str]:
        """Return the version of each resource and child: any write to one changes it."""
        lists = [await self.items(path) for path in (RESOURCES, *CHILDREN)]
        return {each["metadata"]["uid"]: each["metadata"]["resourceVersion"] for items in lists for each in items}


@asynccontextmanager
async def proxied(cluster: Kubernetes) -> AsyncIterator[Server]:
    """Reach the API server while the block runs, with an empty namespace; it is removed afterwards."""
    cluster.run_kubectl("create", "namespace", NAMESPACE)
    command = [str(cluster.kubectl), "proxy", "--port=0"]
    with subprocess.Popen(command, env=cluster.environment, stdout=subprocess.PIPE, text=True) as proxy:  # noqa: ASYNC220
        try:
            assert proxy.stdout is not None  # noqa: S101 - it is a pipe
            address = "http://" + proxy.stdout.readline().rsplit(" ", 1)[1].strip()
            async with aiohttp.ClientSession(address, timeout=aiohttp.ClientTimeout(total=60)) as session:
                yield Server(session)
        finally:
            proxy.terminate()
            cluster.run_kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def _name(number: int) -> str:
    return f"consumer-{number:04d}"


def _resource(number: int) -> dict[str, Any]:
    name = _name(number)
    kafka = {"bootstrapServers": ["kafka:9092"], "topics": ["orders"], "consumerGroup": name}
    off = {"podMonitor": {"enabled": False}, "prometheusRule": {"enabled": False}}
    return {
        "apiVersion": "parallelconsumer.dev/v1alpha1",
        "kind": "ParallelConsumer",
        "metadata": {"name": name},
        "spec": {
            "suspend": True,
            "source": {"kafka": kafka},
            "handler": {"entrypoint": "orders:handle"},
            "execution": {"maxInFlight": 64},
            "tuning": {"mode": "Off"},
            "monitoring": off,
        },
    }
