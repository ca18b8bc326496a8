import ipaddress
import json
from collections.abc import Callable

import pytest

from testbed import readiness
from testbed.cluster import Kubernetes
from testbed.errors import TestbedError
from testbed.kafka import Kafka
from testbed.layout import Instance

pytestmark = pytest.mark.cluster


def seen_by(pod: str, question: str) -> str | None:
    """What the pod finds when asked, None when it finds an error."""
    found = readiness.fetch(pod, question)
    return None if found is None else found.decode()


def test_a_confined_pod_runs_and_the_machine_reaches_it(probe: str, kubernetes: Kubernetes):
    """Not root, read-only, no capability, default seccomp: it runs, at an address of the pods' range."""
    address = ipaddress.ip_address(probe.partition(":")[0])
    assert address in ipaddress.ip_network(kubernetes.instance.pod_range)
    assert seen_by(probe, "/") == "probe_up 1\n"


def test_service_names_resolve_in_pods(probe: str, namespace: str, kubernetes: Kubernetes):
    """Short, qualified and foreign namespaces' names lead to the Service; other names are unknown at once."""
    address = kubernetes.get("service", "probe", namespace)["spec"]["clusterIP"]
    for name in ("probe", f"probe.{namespace}", f"probe.{namespace}.svc.cluster.local"):
        assert seen_by(probe, f"/resolve?{name}") == address
    assert seen_by(probe, "/resolve?kubernetes.default.svc") == kubernetes.instance.api_service_address
    assert seen_by(probe, "/resolve?broker.invalid") is None


def test_services_work_for_pods_and_machine(probe: str, namespace: str, kubernetes: Kubernetes):
    """A pod reaches its own Service, often enough to meet itself, and so does the machine."""
    address = kubernetes.get("service", "probe", namespace)["spec"]["clusterIP"]
    readiness.wait("kube-proxy", lambda: seen_by(probe, "/connect?probe:80") is not None, seconds=30)
    for _ in range(10):
        assert seen_by(probe, "/connect?probe:80") is not None
        assert readiness.fetch(f"{address}:80", "/") == b"probe_up 1\n"


def test_a_pod_reaches_kafka_and_the_api_server(probe: str, kafka: Kafka, kubernetes: Kubernetes):
    """Both listen where pods can go; Kafka's loopback listener is not for them."""
    assert seen_by(probe, f"/connect?{kafka.pod_bootstrap_servers}") is not None
    assert seen_by(probe, "/connect?kubernetes.default.svc:443") is not None
    assert seen_by(probe, f"/connect?{kafka.bootstrap_servers}") is None


def test_logs_and_exec_work(probe: str, namespace: str, kubernetes: Kubernetes):
    """The API server reaches the kubelet in its namespace."""
    assert seen_by(probe, "/") is not None
    user = kubernetes.run_kubectl("exec", "-n", namespace, "deployment/probe", "--", "id", "-u")
    assert user.strip() == "65532"
    kubernetes.run_kubectl("logs", "-n", namespace, "deployment/probe")


def test_an_unchanged_image_is_neither_built_nor_loaded_again(
    probe: str, kubernetes: Kubernetes, capsys: pytest.CaptureFixture[str], pytestconfig: pytest.Config
):
    """The second build of the same inputs does nothing and says nothing."""
    dockerfile = pytestconfig.rootpath / "tests" / "integration" / "testbed" / "probe" / "Dockerfile"
    assert seen_by(probe, "/") is not None
    capsys.readouterr()
    kubernetes.build_image("probe", "localhost/testbed-probe:dev", dockerfile=dockerfile)
    assert capsys.readouterr().err == ""


def test_the_audit_log_tells_who_did_what(kubernetes: Kubernetes, namespace: str):
    """A request in somebody's name is on record with verb and resource; the cluster's own parts are not.

    A request that was refused before its sender was known has a user without a name.
    """
    with pytest.raises(TestbedError, match="forbidden"):
        kubernetes.run_kubectl("get", "secrets", "-n", namespace, "--as=mallory")
    entries = [json.loads(line) for line in kubernetes.audit_log.read_text().splitlines()]
    mallory = [entry for entry in entries if entry.get("impersonatedUser", {}).get("username") == "mallory"]
    assert ("list", "secrets", namespace) in {
        (entry["verb"], entry["objectRef"]["resource"], entry["objectRef"]["namespace"]) for entry in mallory
    }
    assert not [entry for entry in entries if entry["user"].get("username") == "system:kube-scheduler"]


def test_an_image_needs_a_node(spare: Callable[..., Instance]):
    """Asking a cluster that is down for its address names the command that starts it."""
    with pytest.raises(TestbedError, match="run `python -m testbed up kubernetes`"):
        Kubernetes(spare()).run_kubectl("get", "nodes", f"--server={Kubernetes(spare()).server}")
