import http.server
import json
import queue
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from testbed import monitoring, readiness
from testbed.cluster import Kubernetes
from testbed.errors import TestbedError
from testbed.monitoring import Prometheus

pytestmark = pytest.mark.cluster


def monitor(namespace: str) -> dict[str, Any]:
    """A PodMonitor for the probe's pods."""
    endpoint = {"port": "http", "path": "/", "interval": "1s"}
    spec = {"selector": {"matchLabels": {"app": "probe"}}, "podMetricsEndpoints": [endpoint]}
    kind = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor"}
    return {**kind, "metadata": {"name": "probe", "namespace": namespace}, "spec": spec}


def rule(namespace: str) -> dict[str, Any]:
    """An alert that fires as soon as both pods are scraped."""
    expression = f'sum by (namespace) (probe_up{{namespace="{namespace}"}}) == 2'
    alert = {"alert": "BothUp", "expr": expression}
    kind = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule"}
    metadata = {"name": "probe", "namespace": namespace}
    return {**kind, "metadata": metadata, "spec": {"groups": [{"name": "g", "interval": "1s", "rules": [alert]}]}}


def series(prometheus: Prometheus, query: str) -> int:
    """How many series answer the query."""
    address = prometheus.url.removeprefix("http://")
    answer = readiness.fetch(address, f"/api/v1/query?query={quote(query)}") or b'{"data": {"result": []}}'
    return len(json.loads(answer)["data"]["result"])


def targets(prometheus: Prometheus, namespace: str) -> list[str]:
    """What of the namespace is scraped now."""
    answer = readiness.fetch(prometheus.url.removeprefix("http://"), "/api/v1/targets?state=active")
    active = json.loads(answer or b'{"data": {"activeTargets": []}}')["data"]["activeTargets"]
    return [target["scrapeUrl"] for target in active if target["labels"].get("namespace") == namespace]


@pytest.fixture
def webhook(kubernetes: Kubernetes) -> Iterator[tuple[str, queue.Queue[dict[str, Any]]]]:
    """A receiver of alerts: its address, and what it received."""
    received: queue.Queue[dict[str, Any]] = queue.Queue()

    class Receiver(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the parent's name)
            """Say nothing."""

        def do_POST(self) -> None:
            """Keep what Alertmanager sends."""
            received.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

    server = http.server.ThreadingHTTPServer((kubernetes.instance.host_address, 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{server.server_address[0]!s}:{server.server_port}/", received
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("probe")
def test_a_pod_monitor_is_read_and_its_pods_are_scraped(prometheus: Prometheus, kubernetes: Kubernetes, namespace: str):
    """Both pods have samples within seconds, and are left alone after the PodMonitor is gone."""
    kubernetes.apply(monitor(namespace))
    query = f'probe_up{{namespace="{namespace}"}}'
    readiness.wait("samples", lambda: series(prometheus, query) == 2, seconds=60)
    assert len(targets(prometheus, namespace)) == 2
    kubernetes.run_kubectl("delete", "podmonitor", "probe", "-n", namespace)
    readiness.wait("end of scraping", lambda: targets(prometheus, namespace) == [], seconds=60)


@pytest.mark.usefixtures("probe")
def test_a_rule_is_read_and_its_alert_arrives(
    prometheus: Prometheus, kubernetes: Kubernetes, namespace: str, webhook: tuple[str, queue.Queue[dict[str, Any]]]
):
    """From a PrometheusRule to a receiver: operator, Prometheus and Alertmanager are all in the way."""
    address, received = webhook
    route = {"receiver": "test", "group_by": ["namespace"], "group_wait": "1s", "group_interval": "5s"}
    receivers = [{"name": "test", "webhook_configs": [{"url": address}]}]
    prometheus.configure_alertmanager({"route": route, "receivers": receivers})
    try:
        kubernetes.apply(monitor(namespace), rule(namespace))
        notification = received.get(timeout=90)
        while notification["groupLabels"]["namespace"] != namespace:  # another test's, now resolved
            notification = received.get(timeout=90)
        alert = notification["alerts"][0]
        assert (alert["labels"]["alertname"], alert["status"]) == ("BothUp", "firing")
    finally:
        prometheus.configure_alertmanager(monitoring.QUIET_ALERTMANAGER)


def test_a_refused_alertmanager_configuration_says_why(prometheus: Prometheus):
    """The error shows what Alertmanager logged; its old configuration stays."""
    with pytest.raises(TestbedError, match=r"refused the configuration(?s:.*)undefined receiver"):
        prometheus.configure_alertmanager({"route": {"receiver": "missing"}, "receivers": []})
    prometheus.configure_alertmanager(monitoring.QUIET_ALERTMANAGER)


def test_the_scrape_interval_can_be_set(prometheus: Prometheus):
    """The running Prometheus has the new interval within seconds, and the old one when it is set back."""
    before = prometheus.current_scrape_interval()
    wanted = "2s" if before != "2s" else "3s"
    Prometheus(prometheus.instance, scrape_interval=wanted).start()
    readiness.wait("interval", lambda: prometheus.current_scrape_interval() == wanted, seconds=30)
    prometheus.set_scrape_interval(before)
    readiness.wait("interval", lambda: prometheus.current_scrape_interval() == before, seconds=30)
