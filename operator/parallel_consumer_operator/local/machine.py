"""The port of the control loop on one machine: objects in memory, pods as child processes. Not Kubernetes, and no fake.

The runtime, its settings file, its metrics and `/state` are the real ones; only the API server and kubelet are played.
"""

import asyncio
import base64
import copy
import itertools
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from consumer_runtime.contract import pod as contract
from consumer_runtime.contract.state import RuntimeState
from parallel_consumer_operator.errors import ConflictError, NotFoundError, PodUnreachableError
from parallel_consumer_operator.local.pod import LocalPod, PodTemplate
from parallel_consumer_operator.port import Event, Key, KindRef, Manifest
from parallel_consumer_operator.resource import names

KINDS = frozenset({"ConfigMap", "Deployment", "StatefulSet", "ServiceAccount", "Secret"})
"""What exists on a machine; a PodMonitor and the like answer as on a cluster without their definitions."""
WORKLOADS = frozenset({"Deployment", "StatefulSet"})


@dataclass(slots=True)
class Machine:
    """Implements `port.Port` for one ParallelConsumer and the ConfigMaps and Secrets given beside it."""

    consumer: Manifest
    documents: list[Manifest]
    directory: Path
    module_path: tuple[Path, ...] = ()
    """Where handlers are looked for beside `sourceConfigMapRef`."""
    on_pods: Callable[[list[LocalPod]], None] = lambda _pods: None
    """Told of every change of the pods: the way to Prometheus' targets, and to wake the control loop."""
    events: list[Event] = field(default_factory=list)
    running: list[LocalPod] = field(default_factory=list)
    _objects: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    _versions: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _names: "itertools.count[int]" = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        """Give the resource the metadata that an API server would."""
        self._stamp(self.consumer, None)
        self.consumer["metadata"].setdefault("namespace", "default")
        for document in self.documents:
            if document.get("kind") in KINDS:
                self._stamp(document, None)
                self._objects[document["kind"], document["metadata"]["name"]] = document

    @property
    def key(self) -> Key:
        """The resource's name."""
        metadata = self.consumer["metadata"]
        return Key(metadata["namespace"], metadata["name"])

    def edit_spec(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the resource's spec as a user's `kubectl edit` would."""
        change(self.consumer["spec"])
        self.consumer["metadata"]["generation"] += 1

    async def close(self) -> None:
        """End every pod, all at once."""
        pods, self.running = self.running, []
        await asyncio.gather(*(pod.stop() for pod in pods))

    async def resource(self, key: Key) -> Manifest | None:
        """Return the resource."""
        return copy.deepcopy(self.consumer) if key == self.key else None

    async def resources(self, namespaces: tuple[str, ...]) -> list[Manifest]:
        """Return the one resource."""
        del namespaces
        return [copy.deepcopy(self.consumer)]

    async def child(self, key: Key, kind: KindRef, name: str) -> Manifest | None:
        """Return one object, a workload with the status that its pods give it."""
        del key
        found = self._objects.get((kind.kind, name))
        if found is None:
            return None
        return {**copy.deepcopy(found), **self._workload_status(found)}

    async def pods(self, key: Key) -> list[Manifest]:
        """Return the child processes as pods."""
        return [pod.manifest() for pod in self.running] if key == self.key else []

    async def secret_versions(self, key: Key, secrets: frozenset[str]) -> dict[str, str | None]:
        """Return each Secret's version."""
        del key
        found = {name: self._objects.get(("Secret", name)) for name in secrets}
        return {name: secret["metadata"]["resourceVersion"] if secret else None for name, secret in found.items()}

    async def apply(self, manifest: Manifest, *, resource_version: str | None = None) -> Manifest:
        """Store one object and act on it: settings reach the pods' files, workloads start and stop processes."""
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        if kind not in KINDS:
            raise NotFoundError(f"this machine has no objects of kind {kind}")
        live = self._objects.get((kind, name))
        if resource_version is not None and live and live["metadata"]["resourceVersion"] != resource_version:
            raise ConflictError(f"{kind} {name} changed since it was read")
        stored = copy.deepcopy(manifest)
        self._stamp(stored, live)
        self._objects[kind, name] = stored
        await self._act_on(stored)
        return copy.deepcopy(stored)

    async def delete(self, key: Key, kind: KindRef, name: str) -> None:
        """Forget one object; a workload's processes end."""
        del key
        if self._objects.pop((kind.kind, name), None) and kind.kind in WORKLOADS:
            await self.close()

    async def write_status(self, key: Key, status: Manifest) -> None:
        """Keep the status in the resource."""
        if key == self.key:
            self.consumer["status"] = copy.deepcopy(status)

    async def post_event(self, resource: Manifest, event: Event) -> None:
        """Remember the event once."""
        del resource
        if event not in self.events:
            self.events.append(event)

    async def warnings(self, key: Key, uid: str) -> list[Manifest]:
        """Return nothing: a process either starts or says why it does not."""
        del key, uid
        return []

    async def touch_pod(self, key: Key, pod: str, value: str) -> None:
        """Note the annotation; the file is in place already, so there is nothing to hurry."""
        del key
        for each in self.running:
            if each.name == pod:
                each.annotations[names.ANNOTATION_TOUCHED] = value

    async def pod_state(self, pod: Manifest) -> RuntimeState:
        """Ask the child process."""
        found = next((each for each in self.running if each.name == pod["metadata"]["name"]), None)
        if found is None:
            raise PodUnreachableError(f"pod {pod['metadata']['name']} is gone")
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session,
                session.get(f"http://{found.address}{contract.STATE_PATH}") as answer,
            ):
                return RuntimeState.model_validate_json(await answer.read())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise PodUnreachableError(f"pod {found.name} does not answer at {contract.STATE_PATH}: {error}") from error

    def _stamp(self, manifest: Manifest, live: Manifest | None) -> None:
        metadata = manifest.setdefault("metadata", {})
        before = live["metadata"] if live else {}
        same = live is not None and _content(live) == _content(manifest)
        same_spec = live is not None and live.get("spec") == manifest.get("spec")
        metadata["uid"] = before.get("uid") or str(uuid.uuid4())
        metadata["creationTimestamp"] = before.get("creationTimestamp") or f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        metadata["generation"] = before.get("generation", 0) + (0 if same_spec else 1)
        metadata["resourceVersion"] = before["resourceVersion"] if same else str(next(self._versions))

    async def _act_on(self, stored: Manifest) -> None:
        if stored["kind"] in WORKLOADS:
            await self._scale(stored)
        elif stored["kind"] == "ConfigMap" and names.SETTINGS_KEY in (stored.get("data") or {}):
            for pod in self.running:
                pod.write_settings(stored["data"][names.SETTINGS_KEY])

    async def _scale(self, workload: Manifest) -> None:
        template = self._template(workload)
        stale = [pod for pod in self.running if pod.template != template]
        keep = [pod for pod in self.running if pod.template == template]
        wanted = workload["spec"].get("replicas", 1)
        surplus = [*stale, *keep[wanted:]]
        self.running = keep[:wanted]
        await asyncio.gather(*(pod.stop() for pod in surplus))
        for _ in range(wanted - len(self.running)):
            self.running.append(self._start_pod(workload["metadata"]["name"], template))
        self._changed()

    def _start_pod(self, workload: str, template: PodTemplate) -> LocalPod:
        name = f"{workload}-{next(self._names)}"
        pod = LocalPod(name, self.key.namespace, self.directory / name, template, self._changed)
        settings = self._objects["ConfigMap", names.settings_name(self.key.name)]["data"][names.SETTINGS_KEY]
        pod.start(settings)
        return pod

    def _changed(self) -> None:
        self.on_pods(self.running)

    def _template(self, workload: Manifest) -> PodTemplate:
        template = workload["spec"]["template"]
        container = next(each for each in template["spec"]["containers"] if each["name"] == names.CONTAINER)
        environment = {each["name"]: self._value(each) for each in container.get("env", ())}
        return PodTemplate(
            labels=dict(template["metadata"]["labels"]),
            annotations=dict(template["metadata"].get("annotations") or {}),
            environment={name: value for name, value in environment.items() if value is not None},
            module_path=(*self._handler_folder(), *self.module_path),
            grace_seconds=float(template["spec"].get("terminationGracePeriodSeconds", 30)),
        )

    def _value(self, variable: dict[str, Any]) -> str | None:
        source = variable.get("valueFrom", {})
        for kind, reference in (("Secret", "secretKeyRef"), ("ConfigMap", "configMapKeyRef")):
            if reference in source:
                return _contents(self._objects.get((kind, source[reference]["name"]), {})).get(source[reference]["key"])
        return variable.get("value")

    def _handler_folder(self) -> tuple[Path, ...]:
        reference = self.consumer["spec"]["handler"].get("sourceConfigMapRef")
        source = self._objects.get(("ConfigMap", reference["name"])) if reference else None
        if source is None:
            return ()
        version = source["metadata"]["resourceVersion"]
        folder = self.directory / f"handler-{version}"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in source.get("data", {}).items():
            (folder / Path(name).name).write_text(text)
        return (folder,)

    def _workload_status(self, found: Manifest) -> Manifest:
        if found["kind"] not in WORKLOADS:
            return {}
        ready = sum(pod.ready for pod in self.running)
        total = len(self.running)
        counts = {"replicas": total, "updatedReplicas": total, "readyReplicas": ready, "availableReplicas": ready}
        return {"status": {"observedGeneration": found["metadata"]["generation"], **counts}}


def scratch_directory() -> Path:
    """Return a new folder for the pods' files, logs and Prometheus' data; the operating system's temporary place."""
    return Path(tempfile.mkdtemp(prefix="parallel-consumer-"))


def _contents(held: Manifest) -> dict[str, str]:
    """Return the entries of a ConfigMap or Secret as text."""
    data = held.get("data", {})
    if held.get("kind") == "Secret":
        data = {name: base64.b64decode(value).decode() for name, value in data.items()}
    return {**data, **held.get("stringData", {})}


def _content(manifest: Manifest) -> dict[str, Any]:
    server_side = {"uid", "creationTimestamp", "generation", "resourceVersion"}
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in server_side}
    return {**{name: value for name, value in manifest.items() if name != "status"}, "metadata": metadata}
