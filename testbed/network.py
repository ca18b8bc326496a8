"""The instance's network: a namespace that is the node, and one link from the machine into it.

Pods, kubelet, containerd, kube-proxy with its iptables rules and the cluster's DNS all live in the namespace; the
machine itself gets one interface and two routes. Taking the namespace away takes the rules, the pods' links and
addresses with it, also after a crash. The pods have no way out to other networks.
"""

import contextlib
import ipaddress
import json
import os
import subprocess
from pathlib import Path

from testbed import debian
from testbed.errors import NetworkTakenError, NotPermittedError, TestbedError
from testbed.layout import Instance
from testbed.progress import Progress

NODE_INTERFACE = "node"


def permitted() -> bool:
    """Whether we may make namespaces and links. Without it there is Kafka on loopback and a control plane, no pods."""
    return os.geteuid() == 0


def exists(instance: Instance) -> bool:
    """Whether the link and the namespace are there."""
    return _link(instance).exists() and namespace(instance).exists()


def namespace(instance: Instance) -> Path:
    """The file that names the namespace."""
    return Path("/run/netns") / instance.name


def ensure(instance: Instance, progress: Progress) -> None:
    """Make namespace, link, addresses and routes; does nothing when they are there.

    Raises:
        NotPermittedError: not root.
        NetworkTakenError: the machine already has a route into one of our ranges.
    """
    if exists(instance):
        return
    if not permitted():
        msg = "the testbed's node needs a network of its own; run as root, or use the control plane alone"
        raise NotPermittedError(msg)
    debian.ensure(debian.NODE, progress)
    remove(instance)
    _refuse_overlap(instance)
    try:
        _make(instance)
    except TestbedError:
        remove(instance)
        raise


def remove(instance: Instance) -> None:
    """Take link and namespace away, whatever of them is there."""
    if _link(instance).exists():
        _run("ip", "link", "delete", instance.name)
    if namespace(instance).exists():
        _run("ip", "netns", "delete", instance.name)


def _make(instance: Instance) -> None:
    name, host, node = instance.name, instance.host_address, instance.node_address
    prefix = instance.link_range.partition("/")[2]
    _run("ip", "netns", "add", name)
    _run("ip", "link", "add", name, "type", "veth", "peer", "name", NODE_INTERFACE, "netns", name)
    _run("ip", "address", "add", f"{host}/{prefix}", "dev", name)
    _run("ip", "link", "set", name, "up")
    _inside(instance, "ip", "address", "add", f"{node}/{prefix}", "dev", NODE_INTERFACE)
    _inside(instance, "ip", "link", "set", NODE_INTERFACE, "up")
    _inside(instance, "ip", "link", "set", "lo", "up")
    _inside(instance, "ip", "route", "add", "default", "via", host)
    _inside(instance, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    for addresses in (instance.pod_range, instance.service_range):
        _run("ip", "route", "add", addresses, "via", node, "dev", name)


def _refuse_overlap(instance: Instance) -> None:
    routes = json.loads(_run("ip", "-json", "route", "show", "table", "main") or "[]")
    ours = [ipaddress.ip_network(text) for text in (instance.link_range, instance.pod_range, instance.service_range)]
    for route in routes:
        with contextlib.suppress(ValueError):  # "default"
            theirs = ipaddress.ip_network(route["dst"])
            if any(theirs.overlaps(range_) for range_ in ours):
                msg = (
                    f"the machine already routes {theirs} to {route.get('dev')}, which testbed instance"
                    f" {instance.number} needs; choose another number in PARALLEL_CONSUMER_TESTBED_INSTANCE"
                )
                raise NetworkTakenError(msg)


def _link(instance: Instance) -> Path:
    return Path("/sys/class/net") / instance.name


def _inside(instance: Instance, *argv: str) -> str:
    return _run("nsenter", f"--net={namespace(instance)}", *argv)


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        msg = f"{' '.join(argv)} failed: {done.stderr.strip()}"
        raise TestbedError(msg)
    return done.stdout
