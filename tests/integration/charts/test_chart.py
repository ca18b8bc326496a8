"""The chart against a real API server: what Helm, its schema and the server themselves say. Pods are `tests/e2e`."""

import io
import json
import subprocess
import tarfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from parallel_consumer_operator.desired.objects import holds
from testbed.cluster import Kubernetes

pytestmark = pytest.mark.cluster
CHART = Path(__file__).resolve().parents[3] / "charts" / "parallel-consumer-operator"
PREVIOUS = "3d53128"
"""The commit whose chart stands for the previous one: before StatefulSets and schema registries."""
EVERYTHING = (
    "--set=replicas=2,networkPolicy.enabled=true",
    "--set=metrics.podMonitor.enabled=true,metrics.prometheusRule.enabled=true,metrics.dashboard.enabled=true",
)
MONITORING = ("PodMonitor", "PrometheusRule")
RESOURCE = "parallelconsumers.parallelconsumer.dev"

Completed = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Helm:
    """Helm and its friends, in a namespace of this test's own."""

    cluster: Kubernetes
    namespace: str

    def run(
        self, *arguments: str, program: Path | None = None, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run helm, or another program, in the namespace."""
        return subprocess.run(
            [str(program or self.cluster.helm), *arguments, *(() if program else ("--namespace", self.namespace))],
            env=self.cluster.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def done(self, *arguments: str) -> str:
        """Run helm, which must succeed; return what it printed."""
        answer = self.run(*arguments)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def rendered(self, *arguments: str) -> str:
        """The manifests that an installation would make, as this server's version gets them."""
        version = json.loads(self.cluster.run_kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]
        return self.done("template", "release", str(CHART), "--kube-version", version, *arguments)

    def allowed(self, verb: str, resource: str, *who: str, namespace: str | None = None) -> bool:
        """Whether somebody may do something, by the server's own answer."""
        where = ("--namespace", namespace) if namespace else ("--all-namespaces",)
        answer = self.run("auth", "can-i", verb, resource, *who, *where, program=self.cluster.kubectl)
        return answer.stdout.strip() == "yes"


@pytest.fixture
def helm(control_plane: Kubernetes) -> Iterator[Helm]:
    """Helm in a namespace that enforces the restricted Pod Security Standard; its releases are removed afterwards."""
    control_plane.build_helm()
    name = f"chart-{uuid.uuid4().hex[:8]}"
    control_plane.apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        }
    )
    runner = Helm(control_plane, name)
    yield runner
    for release in runner.done("list", "--short").split():
        runner.done("uninstall", release)
    control_plane.run_kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def install(helm: Helm) -> Callable[..., str]:
    """Install the chart as release `pco`; the definition may have been there before."""
    return lambda *arguments: helm.done("upgrade", "--install", "pco", str(CHART), "--take-ownership", *arguments)


def test_lint_has_nothing_to_say(helm: Helm) -> None:
    """`helm lint --strict` finds neither an error nor a warning."""
    assert "0 chart(s) failed" in helm.done("lint", "--strict", str(CHART))


def test_the_charts_own_tests_pass(helm: Helm) -> None:
    """helm-unittest runs the suites beside the templates; all of them ran and none failed."""
    answer = helm.run(str(CHART), program=helm.cluster.helm_unittest)
    assert answer.returncode == 0, answer.stdout
    suites = len(list((CHART / "tests").glob("*_test.yaml")))
    assert f"Test Suites: {suites} passed, {suites} total" in answer.stdout


@pytest.mark.parametrize(
    "mode", [(), ("--set=watchNamespaces={default},crds.install=false",)], ids=["cluster", "namespaced"]
)
def test_the_server_accepts_every_object(helm: Helm, mode: tuple[str, ...]) -> None:
    """A server-side dry run takes all that can be switched on, in both modes, with strict field validation.

    The prometheus-operator's kinds are looked at only where its definitions are installed.
    """
    known = helm.cluster.run_kubectl("api-resources", "--api-group=monitoring.coreos.com", "-o", "name")
    documents = helm.rendered(*EVERYTHING, *mode).split("\n---\n")
    if "podmonitors" not in known:
        documents = [text for text in documents if not any(f"kind: {kind}" in text for kind in MONITORING)]
    manifests = "\n---\n".join(documents)
    options = ("--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict")
    answer = helm.run("apply", *options, "-f", "-", program=helm.cluster.kubectl, stdin=manifests)
    assert answer.returncode == 0, answer.stderr
    assert "Warning" not in answer.stderr
    assert "deployment.apps/release-parallel-consumer-operator serverside-applied" in answer.stdout


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("replica=2", "additional properties 'replica' not allowed"),
        ("crds.instal=false", "additional properties 'instal' not allowed"),
        ("replicas=11", "at '/replicas': maximum: got 11, want 10"),
        ("image.pullPolicy=Sometimes", "at '/image/pullPolicy': value must be one of"),
        ("prometheus.url=prometheus:9090", "at '/prometheus/url': 'prometheus:9090' does not match pattern"),
        ("image.digest=abc", "at '/image/digest': 'abc' does not match pattern"),
        ("tolerations[0].keyy=x", "at '/tolerations/0': additional properties 'keyy' not allowed"),
        ("resources.limits.memory=lots", "at '/resources/limits/memory'"),
        ("replicas=2,leaderElection.enabled=false", "more than one needs leaderElection.enabled: true"),
    ],
)
def test_a_wrong_value_is_refused_by_name(helm: Helm, setting: str, complaint: str) -> None:
    """A value that is unknown or out of bounds stops the installation with the value's path and what is wrong."""
    answer = helm.run("install", "pco", str(CHART), "--dry-run=server", "--set", setting)
    assert answer.returncode != 0
    assert complaint in answer.stderr


def test_installing_makes_the_resource_known(helm: Helm, install: Callable[..., str]) -> None:
    """After an installation kubectl knows the kind by its short name, and the notes say what to do next."""
    notes = install()
    _eventually(lambda: _is_served(helm))
    assert helm.cluster.run_kubectl("get", "pcon", "--namespace", helm.namespace) == ""
    assert "kubectl apply -f examples/short-io-async/" in notes


def test_people_get_the_resource_with_their_role(helm: Helm, install: Callable[..., str]) -> None:
    """Whoever may view a namespace may view ParallelConsumers; editors may change and scale them, not their status."""
    install()
    for role in ("view", "edit", "admin"):
        arguments = ("create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}er", "-n", helm.namespace)
        helm.cluster.run_kubectl(*arguments)

    def may(user: str, verb: str, *subresource: str) -> bool:
        return helm.allowed(verb, RESOURCE, f"--as={user}", *subresource, namespace=helm.namespace)

    _eventually(lambda: may("viewer", "list") and may("editer", "create") and may("adminer", "delete"))
    assert may("editer", "patch", "--subresource=scale")
    assert not may("viewer", "create")
    assert not may("editer", "patch", "--subresource=status")


def test_the_operator_may_do_what_it_does_and_no_more(helm: Helm, install: Callable[..., str]) -> None:
    """In the whole cluster it reads resources and makes their children; it writes no spec and lists no Secret."""
    install()
    who = f"--as=system:serviceaccount:{helm.namespace}:pco-parallel-consumer-operator"
    _eventually(lambda: helm.allowed("list", RESOURCE, who))
    assert helm.allowed("patch", "deployments.apps", who)
    assert helm.allowed("update", "leases.coordination.k8s.io", who, namespace=helm.namespace)
    for verb, resource in [
        ("patch", RESOURCE),
        ("list", "secrets"),
        ("delete", "pods"),
        ("create", "pods"),
        ("get", "leases.coordination.k8s.io"),
        ("list", "namespaces"),
    ]:
        assert not helm.allowed(verb, resource, who), f"{verb} {resource}"


def test_a_namespaced_operator_sees_its_namespaces_only(helm: Helm, install: Callable[..., str]) -> None:
    """With watchNamespaces it has its Role there, and nothing in any other namespace or in the cluster."""
    install("--set", f"watchNamespaces={{{helm.namespace}}}")
    who = f"--as=system:serviceaccount:{helm.namespace}:pco-parallel-consumer-operator"
    _eventually(lambda: helm.allowed("list", RESOURCE, who, namespace=helm.namespace))
    assert not helm.allowed("list", RESOURCE, who)
    assert not helm.allowed("get", "secrets", who, namespace="default")


def test_upgrading_the_chart_upgrades_the_definition(helm: Helm, install: Callable[..., str]) -> None:
    """A field that an older definition lacks is there after `helm upgrade`."""
    install()
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/suspend"
    older = json.dumps([{"op": "remove", "path": path}])
    helm.cluster.run_kubectl("patch", "crd", RESOURCE, "--type=json", "-p", older)
    install("--set=podLabels.upgraded=yes")
    found = json.loads(helm.cluster.run_kubectl("get", "crd", RESOURCE, "-o", "json"))
    assert "suspend" in found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]


@pytest.fixture
def previous_chart(control_plane: Kubernetes, tmp_path: Path) -> Iterator[Path]:
    """The previous chart, from this repository's own history; the present definition is there again afterwards."""
    command = ["git", "archive", PREVIOUS, f"charts/{CHART.name}"]
    archive = subprocess.run(command, cwd=CHART.parents[1], capture_output=True, timeout=60, check=False)
    if archive.returncode:
        pytest.skip(f"this clone has no history as far as {PREVIOUS}: {archive.stderr.decode()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(tmp_path, filter="data")
    yield tmp_path / "charts" / CHART.name
    present = CHART.parents[1] / "crds" / "parallelconsumers.yaml"
    control_plane.run_kubectl("apply", "--server-side", "--force-conflicts", "-f", str(present))


def test_an_upgrade_from_the_previous_chart_keeps_everything(helm: Helm, previous_chart: Path) -> None:
    """Resources, the Deployment and their identity stay; definition and permissions are the new ones; nothing is left.

    The operator's image is not run here: what running consumers notice of an upgrade is asked in `tests/e2e`.
    """
    helm.done("upgrade", "--install", "pco", str(previous_chart), "--take-ownership", "--set=replicas=0")
    _eventually(lambda: _is_served(helm))
    who = f"--as=system:serviceaccount:{helm.namespace}:pco-parallel-consumer-operator"
    name = "pco-parallel-consumer-operator"
    kafka = {"bootstrapServers": ["kafka:9092"], "topics": ["t"], "consumerGroup": "g"}
    resource = {
        "apiVersion": "parallelconsumer.dev/v1alpha1",
        "kind": "ParallelConsumer",
        "metadata": {"name": "stays", "namespace": helm.namespace},
        "spec": {"source": {"kafka": kafka}, "handler": {"entrypoint": "handler:handle"}},
    }
    helm.cluster.apply(resource)
    newer = json.dumps({"spec": {"source": {"kafka": {"schemaRegistry": {"url": "http://registry"}}}}})
    patch = ("patch", RESOURCE, "stays", "-n", helm.namespace, "--type=merge", "-p", newer, "--dry-run=server")
    assert "schemaRegistry" not in helm.cluster.run_kubectl(*patch, "-o", "yaml")
    assert not helm.allowed("delete", "statefulsets.apps", who)
    before = helm.cluster.get(RESOURCE, "stays", helm.namespace)
    deployment = helm.cluster.get("deployment", name, helm.namespace)["metadata"]["uid"]

    helm.done("upgrade", "pco", str(CHART), "--set=replicas=0")

    after = helm.cluster.get(RESOURCE, "stays", helm.namespace)
    # The new definition adds its defaults; what was there stays.
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert holds(after["spec"], before["spec"])
    assert helm.cluster.get("deployment", name, helm.namespace)["metadata"]["uid"] == deployment
    _eventually(lambda: "schemaRegistry" in helm.cluster.run_kubectl(*patch, "-o", "yaml"))
    _eventually(lambda: helm.allowed("delete", "statefulsets.apps", who))
    assert _there(helm) == _rendered(helm.rendered("--set=replicas=0").replace("release-", "pco-"))


def test_uninstalling_leaves_resources_alone(helm: Helm, install: Callable[..., str]) -> None:
    """After `helm uninstall` a ParallelConsumer is still there, and can be deleted without the operator."""
    install()
    _eventually(lambda: _is_served(helm))
    source = {"kafka": {"bootstrapServers": ["kafka:9092"], "topics": ["t"], "consumerGroup": "g"}}
    helm.cluster.apply(
        {
            "apiVersion": "parallelconsumer.dev/v1alpha1",
            "kind": "ParallelConsumer",
            "metadata": {"name": "stays", "namespace": helm.namespace},
            "spec": {"source": source, "handler": {"entrypoint": "handler:handle"}},
        }
    )
    helm.done("uninstall", "pco")
    assert helm.cluster.get(RESOURCE, "stays", helm.namespace)["spec"]["replicas"] == 1
    helm.cluster.run_kubectl("delete", RESOURCE, "stays", "-n", helm.namespace, "--timeout=20s")


def _there(helm: Helm) -> set[tuple[str, str]]:
    """Kind and name of all that stands under the release's label."""
    kinds = "deployments,roles,rolebindings,serviceaccounts,services,networkpolicies,poddisruptionbudgets,configmaps"
    label = ("-l", "app.kubernetes.io/instance=pco", "-o", "json")
    mine = json.loads(helm.cluster.run_kubectl("get", kinds, "-n", helm.namespace, *label))["items"]
    all_roles = json.loads(helm.cluster.run_kubectl("get", "clusterroles,clusterrolebindings", *label))["items"]
    roles = [each for each in all_roles if each["metadata"]["name"].startswith(f"{helm.namespace}:")]
    return {(each["kind"], each["metadata"]["name"]) for each in (*mine, *roles)}


def _rendered(text: str) -> set[tuple[str, str]]:
    """Kind and name of what an installation makes; without the definition, which is everybody's, and `helm test`'s."""
    made = [each for each in yaml.safe_load_all(text) if each and "helm.sh/hook" not in str(each["metadata"])]
    return {(each["kind"], each["metadata"]["name"]) for each in made} - {("CustomResourceDefinition", RESOURCE)}


def _is_served(helm: Helm) -> bool:
    """`kubectl wait` stumbles over the null conditions of a definition that is a moment old."""
    return helm.run("get", RESOURCE, "--all-namespaces", program=helm.cluster.kubectl).returncode == 0


def _eventually(condition: Callable[[], bool], *, tries: int = 40) -> None:
    """Aggregated roles and the authorizer's caches follow within a second or two."""
    assert any(condition() for _ in range(tries))
