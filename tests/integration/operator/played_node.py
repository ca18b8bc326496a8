"""Plays the node: pods that the real controllers made become Ready, answer at /state, and have series in Prometheus.

The API server, the operator and Prometheus are real; what runs in the pods is not. Not a test.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from made_pods import MadePod

from consumer_runtime.contract import metrics
from consumer_runtime.contract import pod as contract
from parallel_consumer_operator.resource.names import METRIC_LABEL
from testbed.host_prometheus import HostPrometheus

ELSEWHERE = {"spec": {"nodeSelector": {"played": "by-the-test"}}}
"""For `spec.podTemplate`: no real node of the testbed takes these pods."""


QUICK = {
    "windowSeconds": 6, "longWindowSeconds": 13, "scaleUp": {"cooldownSeconds": 1}, "scaleDown": {"cooldownSeconds": 1},
}  # fmt: skip
"""For `spec.tuning.behavior`: the tuner decides, steps and judges within seconds."""


class PlayedNode:
    """The pods of one namespace, one for each ParallelConsumer, each busy up to its limit of 16 in flight."""

    def __init__(self, lab: Any) -> None:
        self._lab = lab
        self.made: dict[str, MadePod] = {}
        self.answers: dict[str, object] = {}
        """What pods say at /state, where it is not what a pod says that does its work."""
        self.silent = False
        """Whether they say nothing at all."""
        self._servers: list[ThreadingHTTPServer] = []
        self._settings: dict[str, dict[str, Any]] = {}
        self._closed = threading.Event()

    def bring_up(self, resources: set[str]) -> None:
        """Wait for one pod of each resource and make it Ready."""
        self._lab.eventually(lambda: {_resource(pod) for pod in self._pods()} == resources, seconds=60)
        self._read()
        for number, pod in enumerate(self._pods(), start=1):
            resource, name = _resource(pod), pod["metadata"]["name"]
            self.made[resource] = MadePod(name, (0, 1))
            self.made[resource].without.add(metrics.RETRIES.name)  # nothing fails
            address = f"127.77.{self._lab.cluster.instance.number}.{number}"
            self._serve_state(address, resource)
            status = json.dumps({"status": _running(address)})
            self._lab.done("patch", "pod", name, "--subresource=status", "--type=merge", "-p", status)
        threading.Thread(target=self._keep_reading, daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self._closed.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for made in self.made.values():
            made.stop()

    def _keep_reading(self) -> None:
        """As the pods do whose volumes the kubelet brings up to date."""
        while not self._closed.wait(0.3):
            self._read()

    def _read(self) -> None:
        listed = self._lab.kubectl("get", "configmaps", "-o", "json")
        for each in json.loads(listed.stdout)["items"] if listed.returncode == 0 else []:
            text = each["data"].get("runtime.yaml")
            if text:
                self._settings[each["metadata"]["name"]] = yaml.safe_load(text)

    @contextmanager
    def scraped(self, folder: Path) -> Iterator[str]:
        """Run a Prometheus that scrapes the pods every second, with the labels that a PodMonitor gives; its address."""
        targets = [
            {
                "targets": [made.address],
                "labels": {"namespace": self._lab.namespace, METRIC_LABEL: resource, "pod": made.name},
            }
            for resource, made in self.made.items()
        ]
        (folder / "targets.json").write_text(json.dumps(targets))
        with HostPrometheus(folder / "targets.json", scrape_interval="1s") as server:
            yield server.url

    def _pods(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self._lab.done("get", "pods", "-o", "json"))["items"]
        return found

    def _serve_state(self, address: str, resource: str) -> None:
        node = self

        class State(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                """Say that the newest settings are in force, as a runtime does once it has read them."""
                if node.silent:
                    self.close_connection = True
                    return
                settings = node._settings[f"{resource}-settings"]
                knobs = {"max_in_flight": settings["execution"]["max_in_flight"]}
                state = {"phase": "running", "config_generation": settings["generation"], "mode": "async"}
                state |= {"knobs": knobs, "assigned_partitions": 2, "in_flight": 14, **node.answers}
                body = json.dumps(state).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        server = ThreadingHTTPServer((address, contract.PORT), State)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._servers.append(server)


def _resource(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["labels"]["parallelconsumer.dev/name"])


def _running(address: str) -> dict[str, Any]:
    container = {
        "name": "consumer", "image": "played", "imageID": "played", "ready": True, "restartCount": 0,
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
    }  # fmt: skip
    return {
        "phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "containerStatuses": [container],
        "conditions": [{"type": "Ready", "status": "True"}],
    }  # fmt: skip
