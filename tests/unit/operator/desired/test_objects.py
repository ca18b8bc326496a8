"""Whether what exists is what is wanted: missing, drifted, applied as something else, or somebody else's."""

import copy
from typing import Any

import pytest

from parallel_consumer_operator.desired.effective import resolve
from parallel_consumer_operator.desired.objects import Objects, holds, is_owned, may_exist, needs_apply, objects
from parallel_consumer_operator.desired.owner import Owner, child
from parallel_consumer_operator.desired.restart import Build
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec

OWNER = Owner(namespace="shop", name="orders", uid="1")


def wanted(**data: str) -> dict[str, Any]:
    """Return a ConfigMap as we would apply it."""
    return child(OWNER, api_version="v1", kind="ConfigMap", name="orders", data=data)


def stored(manifest: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a manifest as the API server gives it back, with changes at its top."""
    live = copy.deepcopy(manifest)
    live["metadata"] |= {"uid": "2", "resourceVersion": "7", "managedFields": []}
    return live | changes


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        (None, True),
        (stored(wanted(a="1")), False),
        (stored(wanted(a="1"), data={"a": "1", "b": "someone else's"}), False),
        (stored(wanted(a="1"), data={"a": "2"}), True),
        (stored(wanted(a="1"), data={}), True),
        (stored(wanted(a="1", b="no longer wanted")), True),
    ],
)
def test_an_object_is_applied_when_it_is_not_what_we_want(live: dict[str, Any] | None, *, expected: bool) -> None:
    """Missing, changed, or with a field that we no longer want; another owner's extra field is left alone."""
    assert needs_apply(live, wanted(a="1")) is expected


@pytest.mark.parametrize(
    ("live", "ours", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": []}, True),
        ({"a": 1}, {"a": 1, "b": 0}, False),
        ([{"a": 1, "x": 2}], [{"a": 1}], True),
        ([{"a": 1}, {"a": 2}], [{"a": 1}], False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ("text", "text", True),
        ("text", ["t"], False),
        (None, {"a": 1}, False),
    ],
)
def test_live_holds_ours(live: Any, ours: Any, *, expected: bool) -> None:
    """Defaults beside our fields are fine; list items, their number and their order are ours."""
    assert holds(live, ours) is expected


def test_only_our_own_children_are_ours() -> None:
    """An object of the same name that belongs to another, or to nobody, is never taken over."""
    assert is_owned(stored(wanted()), OWNER)
    assert not is_owned(stored(wanted()), Owner(namespace="shop", name="orders", uid="another"))
    assert not is_owned({"metadata": {}}, OWNER)


def whole(**sections: Any) -> Objects:
    """Return what should and should not exist for a spec with these sections."""
    kafka = {"bootstrapServers": ["kafka:9092"], "topics": ["orders"], "consumerGroup": "orders"}
    source = {"kafka": kafka | sections.pop("kafka", {})}
    spec = ParallelConsumerSpec.model_validate({"source": source, "handler": {"entrypoint": "a:b"}, **sections})
    return objects(OWNER, spec, resolve(spec, tuned={}, cpu_limit=None), Build("runtime:1"))


def kinds(found: Objects) -> set[str]:
    """Return the kinds that are wanted."""
    return {manifest["kind"] for manifest in found.wanted}


LEAST = {"ServiceAccount", "PodMonitor", "PrometheusRule", "Deployment"}


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({}, LEAST),
        ({"replicas": 2}, LEAST | {"PodDisruptionBudget"}),
        ({"monitoring": {"podMonitor": {"enabled": False}}}, LEAST - {"PodMonitor"}),
        ({"networkPolicy": {"enabled": True}}, LEAST | {"NetworkPolicy"}),
        (
            {"scaling": {"type": "HPA", "maxReplicas": 3}},
            LEAST | {"PodDisruptionBudget", "HorizontalPodAutoscaler"},
        ),
        ({"scaling": {"type": "KEDA", "maxReplicas": 1}}, LEAST | {"ScaledObject"}),
        ({"kafka": {"membership": "static"}}, LEAST - {"Deployment"} | {"StatefulSet"}),
    ],
)
def test_what_exists_follows_the_spec(sections: dict[str, Any], expected: set[str]) -> None:
    """Each optional object by its switch; every kind is either wanted or unwanted; the workload comes last."""
    found = whole(**sections)
    assert kinds(found) == expected
    assert found.wanted[-1]["kind"] in {"Deployment", "StatefulSet"}
    every = {"PodDisruptionBudget", "NetworkPolicy", "HorizontalPodAutoscaler", "ScaledObject", "StatefulSet"}
    assert {kind.kind for kind, _ in found.unwanted} == (LEAST | every) - expected


def test_only_what_stood_beside_the_workload_is_looked_for() -> None:
    """A cold start of the operator asks for nothing that never was; without a workload, or with an old one, for all."""
    small, unwanted = whole(replicas=2), [kind for kind, _ in whole().unwanted]
    workload = stored(small.wanted[-1])
    assert [kind.kind for kind in unwanted if may_exist(kind, workload)] == ["PodDisruptionBudget"]
    assert all(may_exist(kind, None) for kind in unwanted)
    del workload["metadata"]["annotations"]
    assert {kind.kind for kind in unwanted if not may_exist(kind, workload)} == {"StatefulSet"}
