import os
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from testbed import artifacts, cgroups, images, leftovers, network, parts, processes, readiness, state
from testbed.artifacts import ARTIFACTS, Name
from testbed.cluster import Kubernetes
from testbed.errors import NotReadyError, TestbedError
from testbed.kafka import Kafka
from testbed.layout import LAST_INSTANCE, MARKER_VARIABLE, Instance, Part, cache_root
from testbed.monitoring import Prometheus
from testbed.parts import Options

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]  # alone on a fresh machine, the first test builds
NODE = (Name.KAFKA, Name.KUBERNETES, Name.COREDNS, Name.PAUSE_IMAGE, Name.PROMETHEUS_OPERATOR, Name.PROMETHEUS)
SLEEPER = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "sleeper", "namespace": "default"},
    "spec": {
        "terminationGracePeriodSeconds": 600,
        "containers": [
            {
                "name": "sleeper",
                "image": images.PAUSE,
                "imagePullPolicy": "Never",
                "volumeMounts": [{"name": "memory", "mountPath": "/memory"}],
            }
        ],
        "volumes": [{"name": "memory", "emptyDir": {"medium": "Memory"}}],
    },
}


@dataclass(frozen=True)
class Machine:
    """What the machine's own tools list that belongs to one instance, or to nobody; other instances come and go."""

    processes: frozenset[str]
    mounts: frozenset[str]
    links: frozenset[str]
    namespaces: frozenset[str]
    rules: frozenset[str]
    routes: frozenset[str]
    cgroups: frozenset[str]
    sockets: frozenset[str]


def look(instance: Instance) -> Machine:
    """Everything of the machine in which an instance could leave a trace."""
    return Machine(
        processes=frozenset(ours(instance)),
        mounts=frozenset(line for line in lines("findmnt", "--raw", "--noheadings") if foreign_free(line, instance)),
        links=frozenset(line for line in lines("ip", "-oneline", "link") if foreign_free(line, instance)),
        namespaces=frozenset(line for line in lines("ip", "netns", "list") if foreign_free(line, instance)),
        rules=frozenset(line for line in lines("iptables-save") if line.startswith(("-A", ":"))),
        routes=frozenset(line for line in lines("ip", "route") if foreign_free(line, instance)),
        cgroups=frozenset(str(folder) for folder in Path("/sys/fs/cgroup").glob(f"**/{instance.name}")),
        sockets=frozenset(line for line in lines("ss", "-ltnH") if instance.host_address in line),
    )


def ours(instance: Instance) -> set[str]:
    """Command lines of processes that carry the instance's mark, run in its namespace or name its folder."""
    found = {str(pid) for part in Part for pid in processes.marked(instance, part)}
    found |= {str(pid) for pid in cgroups.pids(instance)}
    command = ["pgrep", "--full", f"{instance.run}/"]
    return found | set(subprocess.run(command, capture_output=True, text=True, check=False).stdout.split())


def lines(*argv: str) -> list[str]:
    """The output of a command, by line; packet counters and the like are left out by the commands chosen."""
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return [" ".join(line.split("[")[0].split()) for line in done.stdout.splitlines()]


def foreign_free(line: str, instance: Instance) -> bool:
    """Whether a line is not another instance's doing."""
    others = [Instance(number, cache=cache_root()) for number in range(LAST_INSTANCE + 1) if number != instance.number]
    return not any(re.search(rf"{other.name}(?!\d)", line) or f"{other.run}/" in line for other in others)


def run_a_pod(cluster: Kubernetes) -> None:
    """A pod with a mount of its own, running; its pid is in the instance's cgroup."""
    cluster.apply(SLEEPER)
    cluster.run_kubectl("wait", "--for=condition=Ready", "pod/sleeper", "--timeout=60s", timeout_seconds=70)


def test_down_leaves_the_machine_as_it_was(spare: Callable[..., Instance]):
    """Everything up with a pod running, then down: no process, mount, link, rule, route, cgroup or listener is left."""
    instance = spare(*NODE)
    before = look(instance)
    parts.up(instance=instance)
    run_a_pod(Kubernetes(instance))
    during = look(instance)
    assert during.processes
    assert during.mounts > before.mounts
    assert during.links > before.links
    assert during.routes > before.routes
    assert during.cgroups > before.cgroups
    assert leftovers.find(instance)
    parts.down(instance=instance)
    assert look(instance) == before
    assert not leftovers.find(instance)
    assert not instance.run.exists()


def test_down_cleans_up_after_a_crash(spare: Callable[..., Instance]):
    """Every recorded process killed at once, the records lost: shims, pods, mounts and links are found nevertheless."""
    instance = spare(*NODE)
    before = look(instance)
    parts.up(instance=instance)
    run_a_pod(Kubernetes(instance))
    for part in Part:
        found = state.load(instance, part)
        assert found is not None
        for record in found.processes.values():
            processes.send(record, signal.SIGKILL)
        state.forget(instance, part)
    assert cgroups.pids(instance), "the pod outlives containerd, or this test shows nothing"
    assert leftovers.mounts(instance.run)
    parts.down(instance=instance)
    assert look(instance) == before


def test_up_after_a_crash_starts_anew(spare: Callable[..., Instance]):
    """`up` finds dead processes and old mounts, clears them and brings up a cluster that runs pods."""
    instance = spare(*NODE)
    parts.up(Part.KUBERNETES, instance=instance)
    run_a_pod(Kubernetes(instance))
    found = state.load(instance, Part.KUBERNETES)
    assert found is not None
    for record in found.processes.values():
        processes.send(record, signal.SIGKILL)
    readiness.wait("the crash", lambda: all(map(processes.gone, found.processes.values())), seconds=10)
    parts.up(Part.KUBERNETES, instance=instance)
    run_a_pod(Kubernetes(instance))
    assert Kubernetes(instance).ready()


def test_a_half_failed_up_says_why_and_down_cleans_up(spare: Callable[..., Instance]):
    """A kubelet that does not start: the error has its last words, the rest stays for a look, `down` leaves nothing."""
    instance = spare(Name.COREDNS, Name.PAUSE_IMAGE)
    before = look(instance)
    break_kubelet(instance.cache)
    with pytest.raises(NotReadyError, match=r"process kubelet ended(?s:.*)no such flag: today"):
        parts.up(Part.KUBERNETES, instance=instance)
    assert Kubernetes(instance, control_plane_only=True).ready()
    parts.down(instance=instance)
    assert look(instance) == before


def break_kubelet(cache: Path) -> None:
    """Put a Kubernetes into the cache whose kubelet ends with an error; its other programs are the real ones."""
    built = ARTIFACTS[Name.KUBERNETES].folder(cache_root())
    folder = cache / built.name
    (folder / "bin").mkdir(parents=True)
    (folder / artifacts.STAMP).write_text((built / artifacts.STAMP).read_text())
    for program in (built / "bin").iterdir():
        (folder / "bin" / program.name).symlink_to(program)
    kubelet = folder / "bin" / "kubelet"
    kubelet.unlink()
    kubelet.write_text("#!/bin/sh\necho no such flag: today\nexit 1\n")
    kubelet.chmod(0o755)


def test_a_killed_api_server_is_started_again_with_its_data(spare: Callable[..., Instance]):
    """`start` repairs: the API server is a new process, the object from before is there, nothing else was restarted."""
    instance = spare(Name.KUBERNETES)
    cluster = Kubernetes(instance, control_plane_only=True)
    cluster.start()
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}, "data": {"a": "1"}})
    api_server, etcd = cluster.process("kube-apiserver"), cluster.process("etcd")
    cluster.kill("kube-apiserver")
    assert not cluster.is_up()
    cluster.start()
    assert cluster.get("configmap", "kept")["data"] == {"a": "1"}
    assert cluster.process("kube-apiserver") != api_server
    assert cluster.process("etcd") == etcd


def test_a_node_can_be_added_to_a_control_plane(spare: Callable[..., Instance]):
    """A test session's control plane becomes a whole cluster when another test needs pods; its objects stay."""
    instance = spare(*NODE)
    parts.up(Part.KUBERNETES, instance=instance, options=Options(control_plane_only=True))
    assert "node" not in Kubernetes(instance).run_kubectl("get", "nodes", "-o", "name")
    api_server = Kubernetes(instance).process("kube-apiserver")
    parts.up(Part.KUBERNETES, instance=instance)
    run_a_pod(Kubernetes(instance))
    assert Kubernetes(instance).process("kube-apiserver") == api_server


def test_parts_go_down_one_by_one(spare: Callable[..., Instance]):
    """Without Kubernetes there is no Prometheus, and Kafka stays with its listener for pods."""
    instance = spare(*NODE)
    parts.up(instance=instance)
    parts.down(Part.KUBERNETES, instance=instance)
    assert not Prometheus(instance).is_up()
    assert Kafka(instance).ready()
    host, _, port = Kafka(instance).pod_bootstrap_servers.partition(":")
    assert readiness.listening(host, int(port))
    parts.down(Part.KAFKA, instance=instance)
    assert not network.exists(instance)


def test_a_path_that_is_too_long_for_sockets_is_refused(spare: Callable[..., Instance]):
    """The error names the path and the variable, before kubelet fails on it in words of its own."""
    short = spare(*NODE)
    deep = short.cache / ("d" * 50)
    deep.mkdir()
    for built in short.cache.glob("*-*"):
        (deep / built.name).symlink_to(built.resolve())
    instance = Instance(short.number, cache=deep)
    try:
        with pytest.raises(TestbedError, match=r"characters too long for the sockets.*PARALLEL_CONSUMER_TESTBED_CACHE"):
            parts.up(Part.KUBERNETES, instance=instance)
    finally:
        parts.down(instance=instance)


def test_no_process_of_this_session_carries_the_mark():
    """The mark would make `down` end the tests themselves."""
    assert MARKER_VARIABLE not in os.environ
