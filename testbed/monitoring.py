"""Prometheus as an operator's users have it: prometheus-operator reads PodMonitor and PrometheusRule from the cluster.

The operator, Prometheus and Alertmanager run on the machine; Prometheus scrapes pods at their own addresses.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from testbed import artifacts, control_plane, debian, leftovers, ports, processes, readiness, scrape_config, state
from testbed.artifacts import ARTIFACTS, Name
from testbed.cluster import Kubernetes
from testbed.errors import NotRunningError, TestbedError
from testbed.layout import PROJECT, Instance, Part, Port
from testbed.progress import Progress
from testbed.state import PartState

READY_SECONDS = 120.0
LOOPBACK = "127.0.0.1"
DEFAULT_SCRAPE_INTERVAL = "5s"
QUIET_ALERTMANAGER: dict[str, Any] = {
    "route": {"receiver": "nobody", "group_wait": "1s", "group_interval": "5s"},
    "receivers": [{"name": "nobody"}],
}


class Prometheus:
    """Prometheus, Alertmanager and prometheus-operator beside a running cluster.

    `scrape_interval`, as `1s`: None leaves a running Prometheus as it is and starts a new one with 5 s.
    """

    def __init__(self, instance: Instance | None = None, *, scrape_interval: str | None = None) -> None:
        self.instance = instance or Instance()
        self.scrape_interval = scrape_interval

    @property
    def url(self) -> str:
        """Prometheus' base address, the same for machine and pods."""
        return f"http://{self._fact('prometheus')}"

    @property
    def alertmanager_url(self) -> str:
        """Alertmanager's base address."""
        return f"http://{self._fact('alertmanager')}"

    @property
    def promtool(self) -> Path:
        """The built promtool, for checking rules."""
        return artifacts.program(self.instance.cache, Name.PROMETHEUS, "promtool")

    def build(self, progress: Progress | None = None) -> None:
        """Build what is missing of it."""
        artifacts.ensure([Name.PROMETHEUS_OPERATOR, Name.PROMETHEUS], self.instance.cache, progress or Progress())

    def is_up(self) -> bool:
        """Whether all of its processes run and were seen ready."""
        found = self._state()
        return found is not None and found.complete and all(map(processes.alive, found.processes.values()))

    def start(self, progress: Progress | None = None) -> None:
        """Start it, or what of it has ended; returns when Prometheus has loaded the operator's configuration.

        Raises:
            NotRunningError: the cluster is down.
            NotReadyError: something did not come up; with the end of its log.
        """
        if self.is_up():
            if self.scrape_interval not in {None, self.current_scrape_interval()}:
                Kubernetes(self.instance).apply(self._prometheus_object())
            return
        telling = progress or Progress()
        cluster = Kubernetes(self.instance, control_plane_only=True)
        if not cluster.is_up():
            raise NotRunningError("Prometheus reads its configuration from the cluster; start Kubernetes first")
        self.build(telling)
        debian.ensure(debian.MONITORING, telling)
        found = self._state_to_build_on()
        with telling.step("Start prometheus"):
            self._install_resources(cluster)
            self._start_processes(cluster, found)
        found.complete = True
        state.save(self.instance, found)

    def ready(self) -> bool:
        """Whether Prometheus is ready and runs with the configuration that prometheus-operator generated."""
        if readiness.fetch(self._fact("prometheus"), "/-/ready") is None:
            return False
        return "prometheus" in self._running_configuration().get("external_labels", {})

    def current_scrape_interval(self) -> str:
        """The interval with which Prometheus runs now, as `5s`."""
        return str(self._running_configuration().get("scrape_interval"))

    def set_scrape_interval(self, interval: str) -> None:
        """Change the interval of scraping and of rule evaluation, as `1s`; a PodMonitor's own interval goes first."""
        self.scrape_interval = interval
        Kubernetes(self.instance).apply(self._prometheus_object())

    def configure_alertmanager(self, config: dict[str, Any]) -> None:
        """Give Alertmanager another configuration, for one to send alerts to a webhook of a test.

        Raises:
            TestbedError: Alertmanager refused it.
        """
        (self._folder / "alertmanager.yaml").write_text(yaml.safe_dump(config))
        if readiness.fetch(self._fact("alertmanager"), "/-/reload", method="POST") is None:
            log = self._folder / "logs" / "alertmanager.log"
            raise TestbedError(f"Alertmanager refused the configuration:\n{processes.tail(log, 5)}")

    def _running_configuration(self) -> dict[str, Any]:
        """The global section; only a generated one has external labels."""
        answer = readiness.fetch(self._fact("prometheus"), "/api/v1/status/config") or b'{"data": {"yaml": "{}"}}'
        loaded: dict[str, Any] = yaml.safe_load(json.loads(answer)["data"]["yaml"])
        return dict(loaded.get("global", {}))

    def remove(self) -> None:
        """Stop everything and delete its data; the objects in the cluster stay until the cluster goes."""
        found = self._state()
        if found is not None:
            processes.stop(found.processes.values())
        leftovers.sweep(self.instance, Part.PROMETHEUS)

    def _install_resources(self, cluster: Kubernetes) -> None:
        crds = ARTIFACTS[Name.PROMETHEUS_OPERATOR].folder(self.instance.cache) / "crds"
        cluster.run_kubectl("apply", "--server-side", "--force-conflicts", "-f", str(crds), timeout_seconds=60)
        cluster.run_kubectl("wait", "--for=condition=Established", "-f", str(crds), timeout_seconds=60)
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": scrape_config.NAMESPACE}}
        cluster.apply(namespace, self._prometheus_object())

    def _start_processes(self, cluster: Kubernetes, found: PartState) -> None:
        (self._folder / "alertmanager.yaml").write_text(yaml.safe_dump(QUIET_ALERTMANAGER))
        (self._folder / "prometheus.yaml").write_text(yaml.safe_dump({"global": {"scrape_interval": "15s"}}))
        commands: dict[str, list[str | Path]] = {
            "alertmanager": self._alertmanager(found),
            "prometheus": self._prometheus(found),
            "prometheus-operator": self._operator(found),
            "scrape-config": self._follower(cluster, found),
        }
        environment = {"KUBECONFIG": str(cluster.kubeconfig), "PYTHONPATH": str(PROJECT)}
        for name, argv in commands.items():
            if name not in found.processes or not processes.alive(found.processes[name]):
                processes.spawn(self.instance, found, name, argv, env=environment)
        alertmanager = found.facts["alertmanager"]
        readiness.wait(
            "Alertmanager",
            lambda: readiness.fetch(alertmanager, "/-/ready") is not None,
            seconds=READY_SECONDS,
            process=found.processes["alertmanager"],
        )
        readiness.wait("Prometheus", self.ready, seconds=READY_SECONDS, process=found.processes["prometheus"])

    def _prometheus_object(self) -> dict[str, Any]:
        certificates = control_plane.authority(self.instance)
        everything: dict[str, Any] = {}
        interval = self.scrape_interval or DEFAULT_SCRAPE_INTERVAL
        selected = ("podMonitor", "serviceMonitor", "rule", "probe")
        return {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "Prometheus",
            "metadata": {"name": scrape_config.NAME, "namespace": scrape_config.NAMESPACE},
            "spec": {
                "replicas": 0,
                "scrapeInterval": interval,
                "evaluationInterval": interval,
                **{f"{kind}Selector": everything for kind in selected},
                **{f"{kind}NamespaceSelector": everything for kind in selected},
                "apiserverConfig": {
                    "host": Kubernetes(self.instance).server,
                    "tlsConfig": {
                        "caFile": str(certificates.certificate),
                        "certFile": str(certificates.certificate_of("admin")),
                        "keyFile": str(certificates.key_of("admin")),
                    },
                },
            },
        }

    def _alertmanager(self, found: PartState) -> list[str | Path]:
        return [
            "prometheus-alertmanager",
            "--config.file=alertmanager.yaml",
            "--storage.path=alertmanager-data",
            f"--web.listen-address={found.facts['alertmanager']}",
            "--cluster.listen-address=",
        ]

    def _prometheus(self, found: PartState) -> list[str | Path]:
        return [
            artifacts.program(self.instance.cache, Name.PROMETHEUS, "prometheus"),
            "--config.file=prometheus.yaml",
            "--storage.tsdb.path=data",
            "--storage.tsdb.retention.time=1d",
            f"--web.listen-address={found.facts['prometheus']}",
            "--web.enable-lifecycle",
            "--web.enable-admin-api",
        ]

    def _operator(self, found: PartState) -> list[str | Path]:
        return [
            artifacts.program(self.instance.cache, Name.PROMETHEUS_OPERATOR, "prometheus-operator"),
            f"--web.listen-address={found.facts['operator']}",
        ]

    def _follower(self, cluster: Kubernetes, found: PartState) -> list[str | Path]:
        return [
            sys.executable,
            "-m",
            "testbed.scrape_config",
            f"--kubectl={cluster.kubectl}",
            f"--kubeconfig={cluster.kubeconfig}",
            f"--folder={self._folder}",
            f"--prometheus={found.facts['prometheus']}",
            f"--alertmanager={found.facts['alertmanager']}",
        ]

    def _state_to_build_on(self) -> PartState:
        found = self._state()
        if found is None or not any(map(processes.alive, found.processes.values())):
            leftovers.sweep(self.instance, Part.PROMETHEUS)
            found = PartState(part=Part.PROMETHEUS, facts=self._choose_facts())
        found.complete = False
        self._folder.mkdir(parents=True, exist_ok=True)
        state.save(self.instance, found)
        return found

    def _choose_facts(self) -> dict[str, str]:
        server = Kubernetes(self.instance).server.removeprefix("https://").partition(":")[0]
        chosen = {name: ports.choose(self.instance, port, server) for name, port in _SHARED.items()}
        facts = {name: f"{server}:{number}" for name, number in chosen.items()}
        return {**facts, "operator": f"{LOOPBACK}:{ports.choose(self.instance, Port.PROMETHEUS_OPERATOR, LOOPBACK)}"}

    @property
    def _folder(self) -> Path:
        return state.folder(self.instance, Part.PROMETHEUS)

    def _state(self) -> PartState | None:
        return state.load(self.instance, Part.PROMETHEUS)

    def _fact(self, name: str) -> str:
        found = self._state()
        if found is None:
            raise NotRunningError("Prometheus is down; run `python -m testbed up prometheus`")
        return found.facts[name]


# What pods reach too: on the link's address, where the API server is.
_SHARED = {"prometheus": Port.PROMETHEUS, "alertmanager": Port.ALERTMANAGER}
