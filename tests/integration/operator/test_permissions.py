"""The operator under the chart's own roles: every verb that they grant is used, and no call is denied.

By the API server's audit log, in cluster mode and for one namespace. The pods are played (`played_node`).
`Any` stands for the fixtures' types: a conftest cannot be imported from.
"""

import dataclasses
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from played_node import ELSEWHERE, PlayedNode

from testbed.artifacts import ARTIFACTS, Name, ensure
from testbed.progress import Progress

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
CHART = Path(__file__).resolve().parents[3] / "charts" / "parallel-consumer-operator"
ACCOUNT = "pco-parallel-consumer-operator"
MONITORS = "podmonitors.monitoring.coreos.com"
ASKED = {"resources": {"requests": {"cpu": "100m"}}}
Grant = tuple[str, str]
"""A verb and a resource with its subresource."""


@pytest.fixture
def every_kind(lab: Any, scaled_objects: Path) -> Iterator[None]:
    """The definitions of KEDA and of the prometheus-operator, which a cluster need not have."""
    ensure([Name.PROMETHEUS_OPERATOR], lab.cluster.instance.cache, Progress())
    folder = ARTIFACTS[Name.PROMETHEUS_OPERATOR].folder(lab.cluster.instance.cache) / "crds"
    had = lab.get("crd", MONITORS)
    lab.done("apply", "--server-side", "--force-conflicts", "-f", str(folder), "-f", str(scaled_objects))
    for kind in (MONITORS, "scaledobjects.keda.sh"):
        lab.eventually(lambda kind=kind: lab.kubectl("get", kind).returncode == 0)
    yield
    if had is None:
        lab.done("delete", "crd", MONITORS, "--wait=false")


@pytest.fixture(params=["cluster", "namespaced"])
def account(request: pytest.FixtureRequest, lab: Any) -> Iterator[str]:
    """The chart without a pod, in one of its two modes; gives the operator's user name."""
    lab.cluster.build_helm()
    watched = (f"--set=watchNamespaces={{{lab.namespace}}}",) if request.param == "namespaced" else ()
    options = ("--namespace", lab.namespace, "--set=replicas=0,crds.install=false", *watched)
    _run(lab, lab.cluster.helm, "install", "pco", str(CHART), *options)
    yield f"system:serviceaccount:{lab.namespace}:{ACCOUNT}"
    _run(lab, lab.cluster.helm, "uninstall", "pco", "--namespace", lab.namespace)


@pytest.fixture
def confined(lab: Any, operator: Any, account: str, every_kind: None, tmp_path: Path) -> Iterator[Any]:
    """The operator as a process with the ServiceAccount's token and nothing else."""
    operator.end()
    whole = lab.get("clusterrole", f"{lab.namespace}:{ACCOUNT}") is not None
    made = dataclasses.replace(
        operator,
        namespace="" if whole else lab.namespace,
        environment={**operator.environment, "KUBECONFIG": str(kubeconfig(lab, tmp_path))},
        options=("--leader-elect", "--lease-namespace", lab.namespace, "--lease-name", ACCOUNT),
        process=None,
    )
    made.start()
    yield made
    made.close()


def test_each_verb_granted_is_used_and_no_call_is_denied(
    lab: Any, account: str, confined: Any, node: PlayedNode
) -> None:
    """A life with everything that a resource may have and lose again: calls and roles cover each other exactly."""
    lab.done("create", "secret", "generic", "key", "--from-literal=a=b")
    # Room for one pod: a StatefulSet of two lacks one, of which only events tell why.
    lab.done("create", "quota", "one-pod", "--hard=pods=1")
    lab.apply(consumer(lab, replicas=2, networkPolicy={"enabled": True}, scaling={"type": "HPA", "maxReplicas": 2}))
    lab.eventually(lambda: lab.get("hpa", "orders") and lab.get("deployment", "orders") and lab.get("pdb", "orders"))
    stateful = consumer(lab, replicas=2, scaling={"type": "KEDA", "minReplicas": 2, "maxReplicas": 3})
    stateful["spec"]["source"]["kafka"]["membership"] = "static"
    lab.apply(stateful)
    lab.eventually(lambda: lab.get("statefulset", "orders") and not lab.get("deployment", "orders"))
    lab.eventually(lambda: ("list", "events") in used(lab, account))
    off = {"podMonitor": {"enabled": False}, "prometheusRule": {"enabled": False}}
    lab.apply(consumer(lab, replicas=1, scaling={"type": "None"}, monitoring=off))
    lab.eventually(lambda: lab.get("deployment", "orders") and not lab.get("statefulset", "orders"))
    lab.eventually(lambda: len(json.loads(lab.done("get", "pods", "-o", "json"))["items"]) == 1)
    node.bring_up({"orders"})
    lab.apply(consumer(lab, replicas=1, scaling={"type": "None"}, monitoring=off, execution={"maxInFlight": 32}))
    lab.eventually(lambda: ("patch", "pods") in used(lab, account))
    for _ in range(2):  # the second event says the same again, and is counted in the first one
        lab.done("delete", "configmap", "orders-settings")
        lab.eventually(lambda: lab.get("configmap", "orders-settings"))
    # A read of the resource itself comes with the next comparison of the watch, 10 or 55 s after the start.
    lab.eventually(lambda: ("get", "parallelconsumers") in used(lab, account))
    lab.eventually(lambda: ("patch", "events") in used(lab, account))
    assert confined.end() == 0
    assert granted(lab) - used(lab, account) == set()
    assert used(lab, account) - granted(lab) == set()
    assert denied(lab, account) == set()


def test_a_namespace_without_a_role_holds_up_no_other(lab: Any, operator: Any, tmp_path: Path) -> None:
    """Of two namespaces to watch one has no Role: the other is served, and it too once the chart makes its Role."""
    lab.cluster.build_helm()
    refused = dataclasses.replace(lab, namespace=f"{lab.namespace}-b")
    lab.done("create", "namespace", refused.namespace)
    helm = ("--namespace", lab.namespace, "--set=replicas=0,crds.install=false")
    _run(lab, lab.cluster.helm, "install", "pco", str(CHART), *helm, f"--set=watchNamespaces={{{lab.namespace}}}")
    operator.end()
    environment = {**operator.environment, "KUBECONFIG": str(kubeconfig(lab, tmp_path))}
    made = dataclasses.replace(
        operator, environment=environment, options=("--namespace", refused.namespace), process=None
    )
    made.start()
    for each in (lab, refused):
        each.apply(consumer(each))
    lab.eventually(lambda: lab.status().get("observedGeneration") == 1)
    (line,) = [each for each in made.lines() if each["event"].startswith("namespace not watched")]
    assert (line["namespace"], line["level"]) == (refused.namespace, "error")
    assert "403" in line["error"]
    both = f"--set=watchNamespaces={{{lab.namespace},{refused.namespace}}}"
    _run(lab, lab.cluster.helm, "upgrade", "pco", str(CHART), *helm, both)
    refused.eventually(lambda: refused.status().get("observedGeneration") == 1, seconds=90)
    lab.done("delete", "configmap", "orders-settings")
    lab.eventually(lambda: lab.get("configmap", "orders-settings"))
    assert made.end() == 0
    _run(lab, lab.cluster.helm, "uninstall", "pco", "--namespace", lab.namespace)
    lab.done("delete", "namespace", refused.namespace, "--wait=false")


def kubeconfig(lab: Any, folder: Path) -> Path:
    """Write one that has the rights of the chart's service account and no others."""
    config = yaml.safe_load(lab.cluster.kubeconfig.read_text())
    token = lab.done("create", "token", ACCOUNT, "--duration=1h").strip()
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def consumer(lab: Any, **spec: Any) -> dict[str, Any]:
    """Return the resource, whose pods no real node takes."""
    handler = {"entrypoint": "orders:handle", "envFrom": [{"secretRef": {"name": "key"}}]}
    template = {"spec": {**ELSEWHERE["spec"], "consumer": ASKED}}
    manifest: dict[str, Any] = lab.consumer(handler=handler, podTemplate=template, **spec)
    # In cluster mode the operator sees what other tests leave in namespaces that are going.
    manifest["spec"]["source"]["kafka"]["consumerGroup"] = lab.namespace
    return manifest


def granted(lab: Any) -> set[Grant]:
    """Return each verb on each resource that the chart's roles give to the operator."""
    bound = [each for kind in ("rolebindings", "clusterrolebindings") for each in _items(lab, kind)]
    ours = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": lab.namespace}
    roles = {each["roleRef"]["name"] for each in bound if ours in each.get("subjects", [])}
    assert roles
    rules = [
        rule
        for kind in ("roles", "clusterroles")
        for role in _items(lab, kind)
        if role["metadata"]["name"] in roles
        for rule in role["rules"]
    ]
    return {(verb, resource) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}


def used(lab: Any, account: str) -> set[Grant]:
    """Return what the operator did. Server-side apply is a patch; where it made something, it was a create too."""
    answered = [call for call in _calls(lab, account) if call["responseStatus"]["code"] < 400]
    made = {
        ("create", _what(call))
        for call in answered
        if call["verb"] == "patch" and call["responseStatus"]["code"] == 201
    }
    # A read is used by asking, and often answered with 404.
    asked = {("get", _what(call)) for call in _calls(lab, account) if call["verb"] == "get"}
    return {(call["verb"], _what(call)) for call in answered} | made | asked


def denied(lab: Any, account: str) -> set[Grant]:
    """Return what the operator asked for and was not allowed to do."""
    decision = "authorization.k8s.io/decision"
    return {
        (call["verb"], _what(call))
        for call in _calls(lab, account)
        if call.get("annotations", {}).get(decision) == "forbid"
    }


def _calls(lab: Any, account: str) -> list[dict[str, Any]]:
    lines = [line for log in _logs(lab) for line in log.read_text().splitlines() if account in line]
    calls = [json.loads(line) for line in lines if line.endswith("}")]
    whole = [call for call in calls if "responseStatus" in call and "resource" in call.get("objectRef", {})]
    return [call for call in whole if call["user"].get("username") == account]


def _logs(lab: Any) -> list[Path]:
    """The audit log, and what was cut off from it because of its size."""
    current = lab.cluster.audit_log
    return sorted(current.parent.glob(f"{current.stem}*{current.suffix}"))


def _what(call: dict[str, Any]) -> str:
    reference = call["objectRef"]
    return "/".join(part for part in (reference["resource"], reference.get("subresource")) if part)


def _items(lab: Any, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(lab.done("get", kind, "-o", "json"))["items"]
    return found


def _run(lab: Any, program: Path, *arguments: str) -> None:
    done = subprocess.run(
        [str(program), *arguments],
        env=lab.cluster.environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
