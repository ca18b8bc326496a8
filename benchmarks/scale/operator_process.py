"""The operator as a process of its own, and what it costs: from /proc, and from its own metrics."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks.scale.server import NAMESPACE
from testbed.cluster import Kubernetes

START_SECONDS = 300.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class OperatorProcess:
    """One running operator."""

    process: subprocess.Popen[bytes]
    port: int
    started_at: float

    async def passed(self) -> int:
        """Return how many passes are done, 0 while it does not answer."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
                session.get(f"http://127.0.0.1:{self.port}/metrics") as answer,
            ):
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError):
            return 0
        name = 'pcon_operator_reconciles_total{outcome="done"}'
        return next((int(float(line.split()[-1])) for line in text.splitlines() if line.startswith(name)), 0)

    async def until_passed(self, count: int) -> float:
        """Return the seconds from the start of the process until so many passes are done."""
        async with asyncio.timeout(START_SECONDS):
            while await self.passed() < count:  # noqa: ASYNC110 - another process's state has no event
                await asyncio.sleep(0.1)
        return time.perf_counter() - self.started_at

    def rss_mb(self) -> float:
        """Return its resident memory in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1_000

    def end(self) -> float:
        """End it in order; return the seconds that it took."""
        began = time.perf_counter()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        return time.perf_counter() - began


def start(cluster: Kubernetes, log: Path) -> OperatorProcess:
    """Start the operator for the namespace."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "parallel_consumer_operator", "run", "--namespace", NAMESPACE]
    began = time.perf_counter()
    with log.open("ab") as lines:
        process = subprocess.Popen(
            [*command, "--http-port", str(port)], env={**os.environ, **cluster.environment}, stderr=lines
        )
    return OperatorProcess(process, port, began)


def cpu_seconds(*pids: int) -> float:
    """Return the CPU seconds that processes have used so far."""
    fields = (Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids)
    return sum(int(each[11]) + int(each[12]) for each in fields) / _TICKS
