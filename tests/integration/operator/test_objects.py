"""The optional objects on a real API server: StatefulSet for static members, HPA and ScaledObject, none left behind.

The controllers are real too: the HorizontalPodAutoscaler's writes the resource's own scale. No pods run here.
`Any` stands for the fixtures' types: a conftest cannot be imported from.
"""

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.cluster

ASKED = {"spec": {"consumer": {"resources": {"requests": {"cpu": "100m"}}}}}


def static(lab: Any, membership: str) -> dict[str, Any]:
    """Return a consumer with this membership."""
    manifest: dict[str, Any] = lab.consumer(replicas=2)
    manifest["spec"]["source"]["kafka"]["membership"] = membership
    return manifest


def test_membership_decides_between_deployment_and_stateful_set(lab: Any, operator: Any) -> None:
    """Exactly one of the two exists, also after a change; drift of the StatefulSet is repaired, suspend empties it."""
    lab.apply(static(lab, "static"))
    found = lab.eventually(lambda: lab.get("statefulset", "orders"))
    assert (found["spec"]["podManagementPolicy"], found["spec"]["replicas"]) == ("Parallel", 2)
    assert lab.get("deployment", "orders") is None
    lab.done("scale", "statefulset", "orders", "--replicas=7")
    lab.eventually(lambda: lab.get("statefulset", "orders")["spec"]["replicas"] == 2)
    lab.done("patch", "pcon", "orders", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    lab.eventually(lambda: lab.get("statefulset", "orders")["spec"]["replicas"] == 0)
    lab.apply(static(lab, "dynamic"))
    lab.eventually(lambda: lab.get("deployment", "orders") and not lab.get("statefulset", "orders"))
    lab.apply(static(lab, "static"))
    lab.eventually(lambda: lab.get("statefulset", "orders") and not lab.get("deployment", "orders"))


def test_an_autoscaler_writes_the_resources_own_scale(lab: Any, operator: Any) -> None:
    """Kubernetes' own controller raises spec.replicas to its minimum, the operator follows; switched off, it goes."""
    scaling = {"type": "HPA", "minReplicas": 3, "maxReplicas": 8}
    lab.apply(lab.consumer(scaling=scaling, podTemplate=ASKED))
    lab.eventually(lambda: lab.get("hpa", "orders"))
    lab.eventually(lambda: lab.get("pcon", "orders")["spec"]["replicas"] == 3, seconds=60)
    lab.eventually(lambda: lab.get("deployment", "orders")["spec"]["replicas"] == 3)
    assert lab.get("pdb", "orders")["spec"]["maxUnavailable"] == 1
    lab.done("annotate", "hpa", "orders", "note=somebody-elses")
    operator.end()
    operator.start()
    lab.apply(lab.consumer(scaling={"type": "None"}, podTemplate=ASKED))
    lab.eventually(lambda: lab.get("hpa", "orders") is None)
    assert lab.get("pcon", "orders")["spec"]["replicas"] == 3


def test_a_scaled_object_is_made_where_keda_is(lab: Any, scaled_objects: Path, operator: Any) -> None:
    """Without KEDA the condition says so; with it the object is valid, follows an edit, and goes when switched off."""
    scaling = {"type": "KEDA", "minReplicas": 0, "maxReplicas": 8, "lagThreshold": 100}
    lab.apply(lab.consumer(scaling=scaling))
    lab.eventually(lambda: lab.condition("Degraded") == ("True", "KedaMissing"))
    assert lab.get("deployment", "orders")
    lab.done("apply", "--server-side", "-f", str(scaled_objects))
    found = lab.eventually(lambda: lab.kubectl("get", "scaledobject", "orders", "-o", "json").stdout, seconds=120)
    found = json.loads(found)
    lab.eventually(lambda: lab.condition("Degraded")[1] != "KedaMissing")
    assert found["spec"]["scaleTargetRef"]["kind"] == "ParallelConsumer"
    (trigger,) = found["spec"]["triggers"]
    assert (trigger["type"], trigger["metadata"]["lagThreshold"]) == ("kafka", "100")
    lab.apply(lab.consumer(scaling={**scaling, "lagThreshold": 200}))
    lab.eventually(
        lambda: lab.get("scaledobject", "orders")["spec"]["triggers"][0]["metadata"]["lagThreshold"] == "200"
    )
    lab.apply(lab.consumer(scaling={"type": "None"}))
    lab.eventually(lambda: lab.get("scaledobject", "orders") is None)
