"""Names, folders, addresses and ports of one testbed instance. Values only: nothing here touches the machine.

Instances are told apart by a number, 0 to 15, from which every name, address range and preferred port follows, so that
two of them can run side by side (0 for development, another for a test that takes its testbed down).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

CACHE_VARIABLE = "PARALLEL_CONSUMER_TESTBED_CACHE"
INSTANCE_VARIABLE = "PARALLEL_CONSUMER_TESTBED_INSTANCE"
# Every process of an instance carries this in its environment: that is how `down` finds them after a crash.
MARKER_VARIABLE = "PARALLEL_CONSUMER_TESTBED_RUN"
PROJECT = Path(__file__).resolve().parent.parent
RECIPES = Path(__file__).resolve().parent / "recipes"
LAST_INSTANCE = 15


class Part(StrEnum):
    """What can be brought up on its own."""

    KAFKA = "kafka"
    KUBERNETES = "kubernetes"
    PROMETHEUS = "prometheus"


class Port(StrEnum):
    """Every port that an instance listens on outside its network namespace."""

    KAFKA = "kafka"
    KAFKA_CONTROLLER = "kafka-controller"
    KAFKA_PODS = "kafka-pods"
    ETCD = "etcd"
    ETCD_PEER = "etcd-peer"
    API_SERVER = "api-server"
    CONTROLLER_MANAGER = "controller-manager"
    SCHEDULER = "scheduler"
    PROMETHEUS_OPERATOR = "prometheus-operator"
    PROMETHEUS = "prometheus"
    ALERTMANAGER = "alertmanager"
    HOST_PROMETHEUS = "host-prometheus"


# Instance n adds 100 n. Below 32768, so that no client socket takes one by chance.
PREFERRED_PORTS: Mapping[Port, int] = {
    Port.KAFKA: 21092,
    Port.KAFKA_CONTROLLER: 21093,
    Port.KAFKA_PODS: 21094,
    Port.ETCD: 21079,
    Port.ETCD_PEER: 21080,
    Port.API_SERVER: 21043,
    Port.CONTROLLER_MANAGER: 21057,
    Port.SCHEDULER: 21059,
    Port.PROMETHEUS_OPERATOR: 21088,
    Port.PROMETHEUS: 21090,
    Port.ALERTMANAGER: 21095,
    Port.HOST_PROMETHEUS: 21096,
}


def cache_root() -> Path:
    """Where built parts and running state live: `PARALLEL_CONSUMER_TESTBED_CACHE`, else a folder under ~/.cache."""
    configured = os.environ.get(CACHE_VARIABLE)
    return Path(configured).resolve() if configured else Path.home() / ".cache" / "parallel-consumer-testbed"


def instance_number() -> int:
    """The instance that commands mean when none is named: `PARALLEL_CONSUMER_TESTBED_INSTANCE`, else 0."""
    text = os.environ.get(INSTANCE_VARIABLE, "0")
    if not text.isdigit() or int(text) > LAST_INSTANCE:
        msg = f"{INSTANCE_VARIABLE} is {text!r}; allowed are 0 to {LAST_INSTANCE}"
        raise ValueError(msg)
    return int(text)


@dataclass(frozen=True)
class Instance:
    """One testbed: its number, where it is kept, and the ports that differ from the preferred ones."""

    number: int = field(default_factory=instance_number)
    cache: Path = field(default_factory=cache_root)
    ports: Mapping[Port, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the network namespace, of the link into it and of the cgroup."""
        return f"pctb{self.number}"

    @property
    def run(self) -> Path:
        """Everything that a running instance writes; gone after `down`."""
        return self.cache / "run" / str(self.number)

    @property
    def host_address(self) -> str:
        """The machine as pods see it: Kafka's pod listener, the API server and Prometheus are here."""
        return f"10.200.{self.number}.1"

    @property
    def node_address(self) -> str:
        """The node as the machine sees it; the cluster's DNS server is here too."""
        return f"10.200.{self.number}.2"

    @property
    def link_range(self) -> str:
        """The range of the link between machine and node."""
        return f"10.200.{self.number}.0/24"

    @property
    def pod_range(self) -> str:
        """Addresses of pods, routed: the machine reaches a pod at its own address."""
        return f"10.{self._block}.0.0/16"

    @property
    def service_range(self) -> str:
        """Cluster addresses of Services, routed to the node, where kube-proxy translates them."""
        return f"10.{self._block + 10}.0.0/16"

    @property
    def api_service_address(self) -> str:
        """The cluster address of the `kubernetes` Service, always the first of the range."""
        return f"10.{self._block + 10}.0.1"

    @property
    def _block(self) -> int:
        """Second number of the pod range; ten instances share a block of twenty, pods in its first half."""
        return 210 + 20 * (self.number // 10) + self.number % 10

    def preferred(self, port: Port) -> int:
        """The port to try first."""
        return self.ports.get(port, PREFERRED_PORTS[port] + 100 * self.number)
