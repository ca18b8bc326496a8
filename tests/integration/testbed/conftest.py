import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from testbed import artifacts, parts
from testbed.artifacts import ARTIFACTS, Name
from testbed.cluster import Kubernetes
from testbed.layout import LAST_INSTANCE, Instance, cache_root
from testbed.progress import Progress

PROBE_IMAGE = "localhost/testbed-probe:dev"


@pytest.fixture
def spare() -> Iterator[Callable[..., Instance]]:
    """Makes a testbed of the test's own beside the shared one; it uses the parts already built, and is taken down."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    cache = Path(tempfile.mkdtemp(prefix="testbed-"))  # tmp_path is too long for the sockets in it
    instance = Instance(LAST_INSTANCE - int(worker), cache=cache)

    def make(*names: Name) -> Instance:
        artifacts.ensure(names, cache_root(), Progress())
        for name in names:
            built = ARTIFACTS[name].folder(cache_root())
            (cache / built.name).symlink_to(built)
        return instance

    yield make
    parts.down(instance=instance)
    shutil.rmtree(cache)


@pytest.fixture
def namespace(kubernetes: Kubernetes) -> Iterator[str]:
    """A namespace of the test's own in the shared cluster."""
    name = f"testbed-{uuid4().hex[:8]}"
    kubernetes.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    kubernetes.run_kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def probe(kubernetes: Kubernetes, namespace: str) -> str:
    """Two pods and a Service called `probe`, ready; the value is one pod's address."""
    kubernetes.build_image("probe", PROBE_IMAGE, dockerfile=Path(__file__).parent / "probe" / "Dockerfile")
    deploy(kubernetes, namespace)
    pods = json.loads(kubernetes.run_kubectl("get", "pods", "-n", namespace, "-l", "app=probe", "-o", "json"))["items"]
    return f"{pods[0]['status']['podIP']}:8000"


def deploy(cluster: Kubernetes, namespace: str) -> None:
    """Run the probe's Deployment and Service, confined as strictly as the product's pods, until it is ready."""
    confined = {
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "probe",
        "image": PROBE_IMAGE,
        "imagePullPolicy": "Never",
        "ports": [{"name": "http", "containerPort": 8000}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
        "securityContext": confined,
        "volumeMounts": [{"name": "memory", "mountPath": "/memory"}],
    }
    volumes = [{"name": "memory", "emptyDir": {"medium": "Memory"}}]
    labels, metadata = {"app": "probe"}, {"name": "probe", "namespace": namespace}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "volumes": volumes}}
    cluster.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": "http"}]},
        },
    )
    waiting = ("rollout", "status", "deployment/probe", "-n", namespace, "--timeout=60s")
    cluster.run_kubectl(*waiting, timeout_seconds=70)
