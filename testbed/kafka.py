"""Kafka 4.3, one KRaft node: a listener on loopback for the machine and one on the instance's link for pods."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import artifacts, commands, leftovers, network, ports, processes, readiness, state
from testbed.artifacts import Name
from testbed.errors import NotRunningError
from testbed.layout import Instance, Part, Port
from testbed.progress import Progress
from testbed.state import PartState, ProcessRecord

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

LOOPBACK = "127.0.0.1"
READY_SECONDS = 120.0
STOP_SECONDS = 20.0
CLUSTER_ID = "cGFyYWxsZWxjb25zdW1lcg"
JAVA = ("java", "-Xmx1g", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")


@dataclass(frozen=True)
class Security:
    """Listeners beside the plain ones (TLS, SASL) as server properties; their ports must be named in them.

    `listeners` maps a listener's name to its `address:port`, `protocols` to its security protocol.
    """

    listeners: Mapping[str, str] = field(default_factory=dict)
    protocols: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)


class Kafka:
    """The broker. `stop`, `kill`, `pause` keep data and ports, for chaos; `remove` takes everything away."""

    def __init__(
        self, instance: Instance | None = None, *, security: Security | None = None, for_pods: bool = True
    ) -> None:
        """Take `for_pods=False` for a broker on loopback alone, which needs neither root nor a network."""
        self.for_pods = for_pods
        self.instance = instance or Instance()
        self.security = security or Security()

    @property
    def bootstrap_servers(self) -> str:
        """For clients on this machine."""
        return self._fact("bootstrap_servers")

    @property
    def pod_bootstrap_servers(self) -> str:
        """For clients in pods; also reachable from this machine.

        Raises:
            NotRunningError: Kafka is down, or was started without root and so has no listener for pods.
        """
        return self._fact("pod_bootstrap_servers")

    @property
    def process(self) -> ProcessRecord:
        """The broker's process, alive or not."""
        found = self._state()
        if found is None or "kafka" not in found.processes:
            msg = "Kafka was not started; run `python -m testbed up kafka`"
            raise NotRunningError(msg)
        return found.processes["kafka"]

    def build(self, progress: Progress | None = None) -> None:
        """Fetch the jars unless they are cached."""
        artifacts.ensure([Name.KAFKA], self.instance.cache, progress or Progress())

    def is_up(self) -> bool:
        """Whether the broker's process runs and was seen ready."""
        found = self._state()
        return found is not None and found.complete and processes.alive(found.processes["kafka"])

    def start(self, progress: Progress | None = None) -> None:
        """Start the broker, on the ports and data of the last start when there was one; returns when it answers.

        Raises:
            NotReadyError: it did not come up; with the end of its log.
        """
        if self.is_up():
            return
        telling = progress or Progress()
        self.build(telling)
        if self.for_pods and network.permitted():
            network.ensure(self.instance, telling)
        with telling.step("Start kafka"):
            found = self._state() or PartState(part=Part.KAFKA, facts=self._choose_ports())
            processes.stop(found.processes.values(), grace_seconds=STOP_SECONDS)  # of a start that was given up
            found.complete = False
            state.save(self.instance, found)
            self._write_properties(found.facts)
            self._format()
            record = self._spawn(found)
            readiness.wait("Kafka", self.ready, seconds=READY_SECONDS, process=record)
            found.complete = True
            state.save(self.instance, found)

    def ready(self) -> bool:
        """Whether the broker answers a metadata request on its loopback listener."""
        host, _, port = self.bootstrap_servers.partition(":")
        if not readiness.listening(host, int(port)):
            return False
        from confluent_kafka import KafkaException

        try:
            return bool(self.admin().list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    def stop(self) -> None:
        """Shut the broker down in order; its data and ports stay for the next `start`."""
        processes.stop([self.process], grace_seconds=STOP_SECONDS)

    def kill(self) -> None:
        """End the broker as a power cut would."""
        record = self.process
        processes.send(record, signal.SIGKILL)
        readiness.wait("End of Kafka", lambda: not processes.alive(record), seconds=5)

    def restart(self) -> None:
        """Stop and start: the same ports, the same data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the broker (SIGSTOP): connections stay open and nothing answers."""
        processes.send(self.process, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen broker go on."""
        processes.send(self.process, signal.SIGCONT)

    def remove(self) -> None:
        """Stop the broker and delete its data and record."""
        found = self._state()
        if found is not None:
            processes.stop(found.processes.values(), grace_seconds=STOP_SECONDS)
            leftovers.sweep(self.instance, Part.KAFKA)

    def admin(self) -> "AdminClient":
        """A new admin client on the loopback listener."""
        from confluent_kafka.admin import AdminClient

        return AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})

    def create_topic(self, name: str, *, partitions: int = 8, config: Mapping[str, str] | None = None) -> None:
        """Create a topic and wait until it is there.

        Raises:
            confluent_kafka.KafkaException: the broker refused, for one because the topic exists.
            NotReadyError: the broker took it, and does not show it within 30 s.
        """
        from confluent_kafka.cimpl import NewTopic

        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=dict(config or {}))
        admin = self.admin()  # held until the result is there: the client's end would cancel the request
        admin.create_topics([topic])[name].result(timeout=30)
        # a busy broker shows a topic seconds after it has agreed to it
        readiness.wait(f"Topic {name}", lambda: _has_leaders(admin, name), seconds=30)

    def _choose_ports(self) -> dict[str, str]:
        facts = {
            "bootstrap_servers": f"{LOOPBACK}:{ports.choose(self.instance, Port.KAFKA, LOOPBACK)}",
            "controller": f"{LOOPBACK}:{ports.choose(self.instance, Port.KAFKA_CONTROLLER, LOOPBACK)}",
        }
        if self.for_pods and network.exists(self.instance):
            address = self.instance.host_address
            facts["pod_bootstrap_servers"] = f"{address}:{ports.choose(self.instance, Port.KAFKA_PODS, address)}"
        return facts

    def _write_properties(self, facts: Mapping[str, str]) -> None:
        listeners = {"HOST": facts["bootstrap_servers"], **self.security.listeners}
        if "pod_bootstrap_servers" in facts:
            listeners["PODS"] = facts["pod_bootstrap_servers"]
        protocols = {"CONTROLLER": "PLAINTEXT", "HOST": "PLAINTEXT", "PODS": "PLAINTEXT", **self.security.protocols}
        advertised = ",".join(f"{name}://{address}" for name, address in listeners.items())
        properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{facts['controller']}",
            "listeners": f"{advertised},CONTROLLER://{facts['controller']}",
            "advertised.listeners": advertised,
            "inter.broker.listener.name": "HOST",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": ",".join(f"{name}:{kind}" for name, kind in protocols.items()),
            "log.dirs": str(self._folder / "data"),
            # one broker: what Kafka replicates three times by default could never be created
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "num.partitions": "8",
            **self.security.properties,
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))

    def _format(self) -> None:
        if (self._folder / "data" / "meta.properties").exists():
            return
        tool: list[str | Path] = [*JAVA, "-cp", self._classpath, "kafka.tools.StorageTool"]
        command = [*tool, "format", "-t", CLUSTER_ID, "-c", self._properties]
        commands.run(command, log=self._folder / "format.log", cwd=self._folder)

    def _spawn(self, found: PartState) -> ProcessRecord:
        command: list[str | Path] = [*JAVA, "-cp", self._classpath, "kafka.Kafka", self._properties]
        return processes.spawn(self.instance, found, "kafka", command)

    @property
    def _classpath(self) -> str:
        return f"{artifacts.ARTIFACTS[Name.KAFKA].folder(self.instance.cache) / 'libs'}/*"

    @property
    def _folder(self) -> Path:
        return state.folder(self.instance, Part.KAFKA)

    @property
    def _properties(self) -> Path:
        return self._folder / "server.properties"

    def _state(self) -> PartState | None:
        return state.load(self.instance, Part.KAFKA)

    def _fact(self, name: str) -> str:
        found = self._state()
        if found is None or name not in found.facts:
            msg = f"Kafka has no {name}: it is down, or was started without root; run `python -m testbed up kafka`"
            raise NotRunningError(msg)
        return found.facts[name]


def _has_leaders(admin: "AdminClient", topic: str) -> bool:
    found = admin.list_topics(topic, timeout=10).topics[topic]
    return found.error is None and all(each.leader >= 0 for each in found.partitions.values())
