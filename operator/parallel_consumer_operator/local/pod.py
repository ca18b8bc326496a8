"""One runtime as a child process, told as a pod: its manifest, its restarts, its termination message.

Plays the kubelet's part for one pod. Which pods there are is `machine.py`'s affair.
"""

import asyncio
import contextlib
import os
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from consumer_runtime.contract import pod as contract
from parallel_consumer_operator.local.prometheus_server import free_port
from parallel_consumer_operator.port import Manifest
from parallel_consumer_operator.resource.names import CONTAINER

BACKOFF_SECONDS_AT_MOST = 30.0
"""Between two restarts of a process that ends; the kubelet's own goes up to 300 s, too long for a person who waits."""
PROBE_SECONDS = 0.5


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """What the pods of one Deployment have in common."""

    labels: dict[str, str]
    annotations: dict[str, str]
    environment: dict[str, str]
    module_path: tuple[Path, ...]
    """Folders whose modules the handler is found in, first one first."""
    grace_seconds: float


@dataclass(slots=True)
class _Ended:
    code: int
    message: str
    at: str


@dataclass(slots=True)
class LocalPod:
    """A child process with a settings file, a port and a termination message of its own."""

    name: str
    namespace: str
    directory: Path
    template: PodTemplate
    on_change: Callable[[], None]
    """Called when the pod becomes ready or unready, starts or ends."""
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    port: int = field(default_factory=free_port)
    created: str = field(default_factory=_now)
    annotations: dict[str, str] = field(default_factory=dict)
    restarts: int = 0
    ready: bool = False
    _process: asyncio.subprocess.Process | None = None
    _last: _Ended | None = None
    _task: asyncio.Task[None] | None = None

    def start(self, settings: str) -> None:
        """Begin to keep the process running; must be called in the event loop."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.write_settings(settings)
        self._task = asyncio.create_task(self._keep_running())

    def write_settings(self, settings: str) -> None:
        """Put the ConfigMap's file in place at once, as the kubelet does, with this pod's own port."""
        content = yaml.safe_load(settings)
        content["http"] = {"host": "127.0.0.1", "port": self.port}
        path = self._settings_file
        path.with_suffix(".new").write_text(yaml.safe_dump(content))
        path.with_suffix(".new").replace(path)

    async def stop(self) -> None:
        """End the process: SIGTERM, then after the grace period SIGKILL."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self.template.grace_seconds)
        except TimeoutError:
            process.kill()
            await process.wait()

    @property
    def address(self) -> str:
        """Where it serves, as `host:port`."""
        return f"127.0.0.1:{self.port}"

    @property
    def log_file(self) -> Path:
        """What the process wrote."""
        return self.directory / "log"

    def manifest(self) -> Manifest:
        """Return the pod as the API server would."""
        running = self._process is not None and self._process.returncode is None
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "uid": self.uid,
                "labels": dict(self.template.labels),
                "annotations": {**self.template.annotations, **self.annotations},
                "creationTimestamp": self.created,
            },
            "spec": {"containers": [{"name": CONTAINER}]},
            "status": {
                "phase": "Running",
                "podIP": "127.0.0.1",
                "conditions": [{"type": "Ready", "status": str(self.ready)}],
                "containerStatuses": [self._container_status(running=running)],
            },
        }

    def _container_status(self, *, running: bool) -> dict[str, Any]:
        waiting = {"waiting": {"reason": "CrashLoopBackOff" if self.restarts > 1 else "ContainerCreating"}}
        return {
            "name": CONTAINER,
            "ready": self.ready,
            "restartCount": self.restarts,
            "state": {"running": {"startedAt": self.created}} if running else waiting,
            "lastState": {"terminated": _terminated(self._last)} if self._last else {},
        }

    @property
    def _settings_file(self) -> Path:
        return self.directory / "runtime.yaml"

    @property
    def _termination_file(self) -> Path:
        return self.directory / "termination-message"

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **self.template.environment,
            "PYTHONPATH": os.pathsep.join([*map(str, self.template.module_path), os.environ.get("PYTHONPATH", "")]),
            contract.TERMINATION_MESSAGE_FILE_VARIABLE: str(self._termination_file),
            contract.SETTINGS_FILE_VARIABLE: str(self._settings_file),
            contract.POD_NAME_VARIABLE: self.name,
        }

    async def _keep_running(self) -> None:
        while True:
            await self._launch()
            await self._watch()
            self.restarts += 1
            self.on_change()
            await asyncio.sleep(min(BACKOFF_SECONDS_AT_MOST, 2.0 ** min(self.restarts, 6) / 2))

    async def _launch(self) -> None:
        self._termination_file.unlink(missing_ok=True)
        with self.log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "consumer_runtime", "run", "--config", str(self._settings_file)),
                env=self._environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A terminal's Ctrl-C is for the operator, which then stops its pods in order.
                start_new_session=True,
            )
        self.on_change()

    async def _watch(self) -> None:
        process = self._process
        if process is None:
            return
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while process.returncode is None:
                self._set_ready(ready=await self._answers(session))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), PROBE_SECONDS)
        message = self._termination_file.read_text() if self._termination_file.exists() else ""
        self._last = _Ended(process.returncode, message, _now())
        self._set_ready(ready=False)

    async def _answers(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"http://{self.address}{contract.READY_PATH}") as answer:
                return answer.ok
        except (aiohttp.ClientError, TimeoutError):
            return False

    def _set_ready(self, *, ready: bool) -> None:
        if ready != self.ready:
            self.ready = ready
            self.on_change()


def _terminated(ended: _Ended) -> dict[str, Any]:
    return {
        "exitCode": ended.code if ended.code >= 0 else 128 - ended.code,
        "reason": "Completed" if ended.code == 0 else "Error",
        "message": ended.message,
        "finishedAt": ended.at,
    }
