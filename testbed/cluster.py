"""Kubernetes 1.34: one node with pods, or the control plane alone for tests that need no pod."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import yaml

from testbed import (
    artifacts,
    containers,
    control_plane,
    debian,
    images,
    leftovers,
    network,
    node,
    processes,
    readiness,
    state,
)
from testbed.artifacts import Name
from testbed.errors import NotRunningError, TestbedError
from testbed.images import Image
from testbed.layout import Instance, Part
from testbed.progress import Progress
from testbed.state import PartState, ProcessRecord

CONTROL_PLANE_ARTIFACTS = (Name.KUBERNETES,)
NODE_ARTIFACTS = (Name.KUBERNETES, Name.COREDNS, Name.PAUSE_IMAGE)


class Kubernetes:
    """The testbed's cluster. `control_plane_only` starts no node; a later full start adds the node to it."""

    def __init__(self, instance: Instance | None = None, *, control_plane_only: bool = False) -> None:
        self.instance = instance or Instance()
        self.control_plane_only = control_plane_only

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, everything inside it."""
        return Path(self._fact("kubeconfig"))

    @property
    def server(self) -> str:
        """The API server's address, the same for machine and pods."""
        return self._fact("server")

    @property
    def audit_log(self) -> Path:
        """One JSON object per line: who did which verb on what, without the cluster's own parts."""
        return Path(self._fact("audit_log"))

    @property
    def kubectl(self) -> Path:
        """The built kubectl."""
        return artifacts.program(self.instance.cache, Name.KUBERNETES, "kubectl")

    @property
    def helm(self) -> Path:
        """The built helm; `build_helm` builds it."""
        return artifacts.program(self.instance.cache, Name.HELM, "helm")

    @property
    def helm_unittest(self) -> Path:
        """The built helm-unittest program; `build_helm` builds it."""
        return artifacts.program(self.instance.cache, Name.HELM_UNITTEST, "helm-unittest")

    @property
    def environment(self) -> dict[str, str]:
        """Our own environment with KUBECONFIG set and the built programs first on the PATH."""
        folders = (str(program.parent) for program in (self.kubectl, self.helm, self.helm_unittest))
        return {
            **processes.environment(),
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": ":".join([*folders, os.environ["PATH"]]),
        }

    def build(self, progress: Progress | None = None) -> None:
        """Build what is missing of it."""
        names = CONTROL_PLANE_ARTIFACTS if self.control_plane_only else NODE_ARTIFACTS
        artifacts.ensure(names, self.instance.cache, progress or Progress())

    def build_helm(self, progress: Progress | None = None) -> None:
        """Build helm and helm-unittest, which the cluster itself does not need."""
        artifacts.ensure([Name.HELM, Name.HELM_UNITTEST], self.instance.cache, progress or Progress())

    def is_up(self) -> bool:
        """Whether all of its processes run and were seen ready, the node's too unless it is not wanted."""
        found = self._state()
        if found is None or not found.complete:
            return False
        wanted = "kube-apiserver" if self.control_plane_only else "kubelet"
        return wanted in found.processes and all(map(processes.alive, found.processes.values()))

    def start(self, progress: Progress | None = None) -> None:
        """Bring the cluster up, or start again what of it has ended; returns when it is ready.

        Raises:
            NotReadyError: something did not come up; with the end of its log.
            NotPermittedError: the node was asked for without root.
        """
        if self.is_up():
            return
        if not self.control_plane_only:
            node.refuse_long_path(self.instance)
        telling = progress or Progress()
        self.build(telling)
        debian.ensure(debian.CONTROL_PLANE, telling)
        if network.permitted() or not self.control_plane_only:
            network.ensure(self.instance, telling)
        found = self._state_to_build_on()
        with telling.step("Start control plane"):
            control_plane.start(self.instance, found, scheduler=not self.control_plane_only)
        if not self.control_plane_only:
            with telling.step("Start node"):
                node.start(self.instance, found, telling)
        found.complete = True
        state.save(self.instance, found)

    def ready(self) -> bool:
        """Whether the API server answers and, unless there is none, the node is Ready."""
        found = self._state()
        if found is None or not control_plane.api_ready(self.instance, found.facts):
            return False
        return self.control_plane_only or node.is_ready(self.instance)

    def process(self, name: str) -> ProcessRecord:
        """One of its processes: etcd, kube-apiserver, kube-controller-manager, kubelet, containerd, ..."""
        found = self._state()
        if found is None or name not in found.processes:
            raise NotRunningError(
                f"Kubernetes has no process {name}; known are {sorted(found.processes) if found else []}"
            )
        return found.processes[name]

    def kill(self, name: str) -> None:
        """End one of its processes as a crash would; `start` starts it again, with its data."""
        record = self.process(name)
        processes.send(record, signal.SIGKILL)
        readiness.wait(f"End of {name}", lambda: processes.gone(record), seconds=10)

    def pause(self, name: str) -> None:
        """Freeze one of its processes (SIGSTOP)."""
        processes.send(self.process(name), signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let a frozen process go on."""
        processes.send(self.process(name), signal.SIGCONT)

    def remove(self) -> None:
        """Take everything away: pods first, then kubelet, containerd and the rest, mounts, cgroup and data."""
        found = self._state()
        if found is not None:
            self._stop(found, "kubelet")
            containers.end_all(self.instance)
            self._stop(found, "containerd", "kube-proxy", "coredns")
            self._stop(found, "kube-scheduler", "kube-controller-manager", "kube-apiserver")
            self._stop(found, "etcd")
        leftovers.sweep(self.instance, Part.KUBERNETES)

    def run_kubectl(self, *argv: str, timeout_seconds: float = 30.0) -> str:
        """Run kubectl as administrator; returns its standard output.

        Raises:
            TestbedError: it failed; with its standard error.
        """
        done = control_plane.kubectl(self.instance, *argv, timeout_seconds=timeout_seconds)
        if done.returncode != 0:
            raise TestbedError(f"kubectl {' '.join(argv)} failed: {done.stderr.strip()}")
        return done.stdout

    def apply(self, *objects: dict[str, Any], field_manager: str = "testbed") -> None:
        """Apply objects server-side."""
        file = state.folder(self.instance, Part.KUBERNETES) / f"apply-{os.getpid()}.yaml"
        file.write_text(yaml.safe_dump_all(objects))
        try:
            self.run_kubectl("apply", "--server-side", f"--field-manager={field_manager}", "-f", str(file))
        finally:
            file.unlink()

    def get(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any]:
        """One object as the API server holds it.

        Raises:
            TestbedError: it does not exist.
        """
        loaded: dict[str, Any] = json.loads(self.run_kubectl("get", kind, name, "-n", namespace, "-o", "json"))
        return loaded

    def build_image(
        self, target: str, tag: str, progress: Progress | None = None, *, dockerfile: Path = images.DOCKERFILE
    ) -> Image:
        """Build a stage of a Dockerfile, the project's unless named, and give it to the node, if anything changed.

        `tag` is the full name for manifests, as `localhost/parallel-consumer-runtime:dev`; with pull policy Never.

        Raises:
            CommandError: the build failed.
            NotRunningError: the node is down.
        """
        telling = progress or Progress()
        image = images.build(target, tag, cache=self.instance.cache, progress=telling, dockerfile=dockerfile)
        images.load(self.instance, image, telling)
        return image

    def _state_to_build_on(self) -> PartState:
        """The recorded state when something of it still runs, so that `start` repairs; else a clean beginning."""
        found = self._state()
        if found is not None and any(map(processes.alive, found.processes.values())):
            found.complete = False
        else:
            leftovers.sweep(self.instance, Part.KUBERNETES)
            found = PartState(part=Part.KUBERNETES, facts=control_plane.choose_facts(self.instance))
        state.save(self.instance, found)
        return found

    def _stop(self, found: PartState, *names: str) -> None:
        processes.stop([found.processes[name] for name in names if name in found.processes])

    def _state(self) -> PartState | None:
        return state.load(self.instance, Part.KUBERNETES)

    def _fact(self, name: str) -> str:
        found = self._state()
        if found is None:
            raise NotRunningError("Kubernetes is down; run `python -m testbed up kubernetes`")
        return found.facts[name]
