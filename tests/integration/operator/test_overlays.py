"""Overlays of `spec.podTemplate` that are refused while the consumer runs: what runs stays as it was, and it is told.

The API server refuses most of them by their schema (`test_security.py`). Here the definition lets everything through,
as one of another version or of a careless hand does, and the operator is the one that says no.
`Any` stands for the fixtures' types: a conftest cannot be imported from.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.cluster
DEFINITION = "crd/parallelconsumers.parallelconsumer.dev"
OVERLAY = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/podTemplate/properties/spec"
PLAIN = {"name": "proxy", "image": "proxy:1"}
NODE = {"name": "root", "hostPath": {"path": "/"}}
VAULT = {"name": "vault", "csi": {"driver": "secrets.example"}}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    # name: (what to put into spec.podTemplate.spec, what the sentence holds)
    "host-network": ({"hostNetwork": True}, "spec.podTemplate.spec.hostNetwork"),
    "host-pid": ({"hostPID": True}, "spec.podTemplate.spec.hostPID"),
    "host-ipc": ({"hostIPC": True}, "spec.podTemplate.spec.hostIPC"),
    "host-users": ({"hostUsers": True}, "spec.podTemplate.spec.hostUsers"),
    "host-path": ({"volumes": [NODE]}, "spec.podTemplate.spec.volumes.0.hostPath"),
    "privileged": (
        {"consumer": {"securityContext": {"privileged": True}}}, "spec.podTemplate.spec.consumer.securityContext",
    ),
    "sidecar": (
        {"sidecars": [{**PLAIN, "securityContext": {"privileged": True}}]},
        "spec.podTemplate.spec.sidecars.0.securityContext",
    ),
    "init": (
        {"initContainers": [{**PLAIN, "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]},
        "spec.podTemplate.spec.initContainers.0.securityContext",
    ),
    "host-port": (
        {"sidecars": [{**PLAIN, "ports": [{"containerPort": 80, "hostPort": 80}]}]},
        "spec.podTemplate.spec.sidecars.0.ports.0.hostPort",
    ),
    "token": ({"automountServiceAccountToken": True}, "spec.podTemplate.spec.automountServiceAccountToken"),
    "account": ({"serviceAccountName": "cloud"}, "runtime.allowedServiceAccounts"),
    "driver": ({"volumes": [VAULT]}, "runtime.allowedCsiDrivers"),
    "taken-name": ({"sidecars": [{**PLAIN, "name": "consumer"}]}, "spec.podTemplate.spec.sidecars"),
    "taken-volume": ({"volumes": [{"name": "settings", "emptyDir": {}}]}, "spec.podTemplate.spec.volumes"),
}  # fmt: skip

GOOD: dict[str, dict[str, Any]] = {name: {} for name in REFUSED}
"""The same resources without an overlay."""


@pytest.fixture
def unguarded(lab: Any) -> Iterator[None]:
    """A definition that takes any overlay; ours again afterwards."""
    whole = json.loads(lab.done("get", DEFINITION, "-o", "json"))
    kept: Any = whole
    for step in OVERLAY.split("/")[1:]:
        kept = kept[int(step)] if step.isdigit() else kept[step]
    # Of its fields only that of which the definition's own rules speak.
    loose = {"type": "object", "nullable": True, "x-kubernetes-preserve-unknown-fields": True}
    consumer = {**kept["properties"]["consumer"], "x-kubernetes-preserve-unknown-fields": True}
    _define(lab, {**loose, "properties": {"consumer": consumer}})
    bad = lab.consumer(podTemplate={"spec": {"hostNetwork": True, "consumer": {"securityContext": {}}}})
    lab.eventually(lambda: lab.refusal(bad) == "")
    yield
    _define(lab, kept)
    lab.eventually(lambda: "hostNetwork" in lab.refusal(bad))


def _define(lab: Any, schema: dict[str, Any]) -> None:
    lab.done("patch", DEFINITION, "--type=json", "-p", json.dumps([{"op": "add", "path": OVERLAY, "value": schema}]))


def consumers(lab: Any, value: int, overlays: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a resource for each overlay, all with this maxInFlight, as one list."""
    made = [
        lab.consumer(name, execution={"maxInFlight": value}, tuning={"mode": "Off"}, podTemplate={"spec": overlay})
        for name, overlay in overlays.items()
    ]
    return {"apiVersion": "v1", "kind": "List", "items": made}


def stored(lab: Any) -> dict[str, tuple[int, Any, Any]]:
    """Return generation and template of each Deployment, and the settings beside it."""
    workloads, maps = (json.loads(lab.done("get", kind, "-o", "json"))["items"] for kind in ("deployment", "configmap"))
    settings = {each["metadata"]["name"]: each["data"] for each in maps}
    return {
        each["metadata"]["name"]: (
            each["metadata"]["generation"], each["spec"]["template"], settings[f"{each['metadata']['name']}-settings"],
        )
        for each in workloads
    }  # fmt: skip


def degraded(lab: Any) -> dict[str, tuple[str, str, str, int]]:
    """Return status, reason and message of each resource's Degraded, and the spec's generation that it is about."""
    found = {}
    for resource in json.loads(lab.done("get", "pcon", "-o", "json"))["items"]:
        told = {each["type"]: each for each in resource.get("status", {}).get("conditions", [])}
        if condition := told.get("Degraded"):
            words = (condition["status"], condition["reason"], condition.get("message", ""))
            found[resource["metadata"]["name"]] = (*words, condition["observedGeneration"])
    return found


def test_a_refused_overlay_leaves_what_runs_as_it_was(lab: Any, unguarded: None, operator: Any) -> None:
    """Degraded and an event name the field; Deployment and settings keep their last good form, also over a restart."""
    lab.apply(consumers(lab, 16, GOOD))
    lab.eventually(lambda: _are_carried_out(lab, generation=1))
    before = stored(lab)
    assert before.keys() == REFUSED.keys()
    lab.apply(consumers(lab, 32, {name: overlay for name, (overlay, _) in REFUSED.items()}))
    lab.eventually(lambda: {told[1] for told in degraded(lab).values()} == {"InvalidSpec"})
    each_names_its_field(lab)
    assert stored(lab) == before
    operator.end()
    operator.log = operator.log.with_name("again.log")
    operator.start()
    lab.eventually(lambda: left_alone(operator) == REFUSED.keys())
    assert stored(lab) == before
    lab.apply(consumers(lab, 32, GOOD))
    lab.eventually(lambda: _are_carried_out(lab, generation=3))
    assert all("max_in_flight: 32" in settings["runtime.yaml"] for _, _, settings in stored(lab).values())


def _are_carried_out(lab: Any, *, generation: int) -> bool:
    """Whether every spec of this generation was taken; that no pod runs here may be told."""
    told = degraded(lab)
    return told.keys() == REFUSED.keys() and all(
        (reason != "InvalidSpec", seen) == (True, generation) for _, reason, _, seen in told.values()
    )


def each_names_its_field(lab: Any) -> None:
    """In the condition, which is of the present spec, and in an event; the values in force are told as they are."""
    told = degraded(lab)
    events = lab.eventually(lambda: len(found := lab.events("InvalidSpec")) == len(REFUSED) and found, seconds=10)
    for name, (_, words) in REFUSED.items():
        status, _, message, generation = told[name]
        assert (status, generation, words in message) == ("True", 2, True), (name, told[name])
        assert any(words in event for event in events), (name, events)
        knobs = {knob["name"]: knob["value"] for knob in lab.status(name)["effective"]["knobs"]}
        assert knobs["maxInFlight"] == 16


def left_alone(operator: Any) -> set[str]:
    """Return the names of those whose refusal this process logged."""
    return {line["resource"].partition("/")[2] for line in operator.lines() if line["event"] == "left as it is"}
