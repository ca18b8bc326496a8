"""The node: containerd, kubelet, kube-proxy and the cluster's DNS server, all in the instance's network namespace.

Pods are routed, not bridged (CNI `ptp`), so that traffic to a Service's own node passes the address translation, and
the machine reaches every pod at its own address.
"""

import json
from pathlib import Path

import yaml

from testbed import artifacts, cgroups, containers, control_plane, debian, images, processes, readiness, state
from testbed.artifacts import Name
from testbed.errors import TestbedError
from testbed.layout import CACHE_VARIABLE, Instance, Part
from testbed.progress import Progress
from testbed.state import PartState

NODE = "testbed"
READY_SECONDS = 120.0
SOCKET_PATH_LENGTH = 107  # sun_path of unix(7), less its final zero
CLUSTER_DOMAIN = "cluster.local"


def start(instance: Instance, found: PartState, progress: Progress) -> None:
    """Start what does not run yet and wait until the node is Ready. The control plane must be up.

    Raises:
        NotReadyError: a process ended or the node did not become Ready; with the end of a log.
    """
    debian.ensure(debian.NODE, progress)
    cgroups.create(instance)
    _write_configuration(instance)
    _spawn(instance, found, "containerd", ["containerd", "--config", "containerd.toml"])
    readiness.wait(
        "containerd", lambda: containers.answers(instance), seconds=READY_SECONDS, process=found.processes["containerd"]
    )
    images.ensure_pause(instance, progress)
    _spawn(instance, found, "coredns", [_program(instance, Name.COREDNS, "coredns"), "-conf", "Corefile"])
    _spawn(instance, found, "kube-proxy", [_program(instance, Name.KUBERNETES, "kube-proxy"), "--config=proxy.yaml"])
    _spawn(instance, found, "kubelet", _kubelet(instance))
    kubelet = found.processes["kubelet"]
    readiness.wait("Node", lambda: is_ready(instance), seconds=READY_SECONDS, process=kubelet, interval_seconds=0.3)


def refuse_long_path(instance: Instance) -> None:
    """Refuse a folder in which sockets cannot be: kubelet's longest path has a temporary name of ten digits.

    Raises:
        TestbedError: the folder's path is too long.
    """
    longest = state.folder(instance, Part.KUBERNETES) / "kubelet" / "pod-resources" / "4294967295"
    excess = len(str(longest)) - SOCKET_PATH_LENGTH
    if excess > 0:
        raise TestbedError(
            f"{instance.cache} is {excess} characters too long for the sockets below it; set {CACHE_VARIABLE} to a"
            " shorter path"
        )


def is_ready(instance: Instance) -> bool:
    """Whether the node reports Ready."""
    path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    return control_plane.kubectl(instance, "get", "node", NODE, "-o", path, timeout_seconds=5).stdout == "True"


def _spawn(instance: Instance, found: PartState, name: str, argv: list[str | Path]) -> None:
    if name not in found.processes or not processes.alive(found.processes[name]):
        processes.spawn(instance, found, name, argv, in_namespace=True)


def _program(instance: Instance, name: Name, binary: str) -> Path:
    return artifacts.program(instance.cache, name, binary)


def _kubelet(instance: Instance) -> list[str | Path]:
    home = state.folder(instance, Part.KUBERNETES)
    return [
        _program(instance, Name.KUBERNETES, "kubelet"),
        "--config=kubelet.yaml",
        f"--kubeconfig={home / 'node.kubeconfig'}",
        f"--hostname-override={NODE}",
        f"--root-dir={home / 'kubelet'}",
        f"--cert-dir={home / 'kubelet' / 'pki'}",
        f"--node-ip={instance.node_address}",
    ]


def _write_configuration(instance: Instance) -> None:
    home = state.folder(instance, Part.KUBERNETES)
    (home / "cni").mkdir(exist_ok=True)
    (home / "cni" / "10-testbed.conflist").write_text(json.dumps(_cni(instance), indent=2))
    (home / "containerd.toml").write_text(_containerd(instance))
    (home / "kubelet.yaml").write_text(yaml.safe_dump(_kubelet_configuration(instance)))
    (home / "proxy.yaml").write_text(yaml.safe_dump(_proxy(instance)))
    (home / "Corefile").write_text(_corefile(instance))


def _cni(instance: Instance) -> dict[str, object]:
    ipam = {
        "type": "host-local",
        "dataDir": str(state.folder(instance, Part.KUBERNETES) / "cni-addresses"),
        "ranges": [[{"subnet": instance.pod_range}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {"cniVersion": "0.4.0", "name": instance.name, "plugins": [{"type": "ptp", "ipMasq": False, "ipam": ipam}]}


def _containerd(instance: Instance) -> str:
    home = state.folder(instance, Part.KUBERNETES)
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE every sandbox would die with "can't get final child's PID".
    # netns_mounts_under_state_dir: the pods' namespaces are then ours to find, and to unmount after a crash.
    return f"""\
version = 2
root = "{home}/containerd"
state = "{home}/containerd-state"
[grpc]
  address = "{containers.socket(instance)}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{home}/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{images.PAUSE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{debian.CNI_PLUGINS}"
    conf_dir = "{home}/cni"
"""


def _kubelet_configuration(instance: Instance) -> dict[str, object]:
    home = state.folder(instance, Part.KUBERNETES)
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(control_plane.authority(instance).certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{instance.name}",
        "failSwapOn": False,
        "failCgroupV1": False,
        "containerRuntimeEndpoint": f"unix://{containers.socket(instance)}",
        "clusterDNS": [instance.node_address],
        "clusterDomain": CLUSTER_DOMAIN,
        "podLogsDir": str(home / "pod-logs"),
        "volumePluginDir": str(home / "volume-plugins"),
        "resolvConf": "",  # the machine's own name servers are out of the pods' reach
        # a full disk or memory of the machine is not the testbed's to answer with evictions
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": False,
    }


def _proxy(instance: Instance) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": instance.pod_range,
        "hostnameOverride": NODE,
        "conntrack": {"maxPerCore": 0},
        "clientConnection": {
            "kubeconfig": str(state.folder(instance, Part.KUBERNETES) / "kube-proxy.kubeconfig"),
        },
    }


def _corefile(instance: Instance) -> str:
    kubeconfig = state.folder(instance, Part.KUBERNETES) / "coredns.kubeconfig"
    return f"""\
{CLUSTER_DOMAIN}:53 in-addr.arpa:53 {{
    bind {instance.node_address}
    errors
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
        kubeconfig {kubeconfig} testbed
        pods insecure
        ttl 5
    }}
}}
.:53 {{
    bind {instance.node_address}
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
"""
