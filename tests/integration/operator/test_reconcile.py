"""The operator as a process before a real API server: children, drift, ownership, deletion, status. No pods run here.

`Any` stands for the fixtures' types: a conftest cannot be imported from.
"""

import time
from typing import Any

import pytest

pytestmark = pytest.mark.cluster
CHILDREN = (("deployment", "orders"), ("configmap", "orders-settings"), ("serviceaccount", "orders"))


def writes(lab: Any) -> list[Any]:
    """Return our entries in the managed fields of each child and of the resource: any write of ours changes one."""
    found = [lab.get(kind, name, managed=True) for kind, name in (*CHILDREN, ("pcon", "orders"))]
    ours = "parallel-consumer-operator"
    return [[entry for entry in each["metadata"]["managedFields"] if entry["manager"] == ours] for each in found]


def exist(lab: Any) -> bool:
    """Whether every child is there, and the status tells of them."""
    return all(lab.get(kind, name) for kind, name in CHILDREN) and lab.status().get("observedGeneration") == 1


def test_a_resource_gets_its_children_and_its_status(lab: Any, operator: Any) -> None:
    """Deployment, settings and account exist, belong to the resource, and kubectl shows how things stand."""
    lab.apply(lab.consumer(execution={"maxInFlight": 16}))
    lab.eventually(lambda: exist(lab))
    owner = lab.get("pcon", "orders")["metadata"]["uid"]
    for kind, name in CHILDREN:
        reference = lab.get(kind, name)["metadata"]["ownerReferences"][0]
        assert (reference["uid"], reference.get("blockOwnerDeletion", False)) == (owner, False)
    assert lab.settings()["execution"]["max_in_flight"] == 16
    assert lab.condition("Progressing") == ("True", "WaitingForPods")
    header, row = lab.done("get", "pcon", "orders").splitlines()
    assert header.split() == ["NAME", "MODE", "READY", "LAG", "IN-FLIGHT", "TUNING", "REASON", "AGE"]
    assert row.split()[:3] == ["orders", "async", "0"]
    wide, values = lab.done("get", "pcon", "orders", "-o", "wide").splitlines()
    more = ["GROUP", "REPLICAS", "MAX-IN-FLIGHT", "POLL-BATCH", "WORKERS", "PROFILE", "MESSAGE"]
    assert wide.split()[-len(more) :] == more
    assert {"orders-group", "16", "500", "None"} <= set(values.split())
    assert "Deployment orders" in lab.eventually(lambda: lab.events("Created"))[0]


def test_effective_values_are_told_with_their_source(lab: Any, operator: Any) -> None:
    """Spec, profile and default stand beside each other in the status."""
    lab.apply(lab.consumer(profile="LowLatency", execution={"maxInFlight": 300}))
    lab.eventually(lambda: exist(lab))
    knobs = {knob["name"]: (knob["value"], knob["source"]) for knob in lab.status()["effective"]["knobs"]}
    assert knobs["maxInFlight"] == (300, "Spec")
    assert knobs["pollBatchSize"] == (200, "Profile")
    assert knobs["revokeGraceMs"] == (5000, "Default")


def test_drift_is_repaired_and_other_owners_fields_are_left_alone(lab: Any, operator: Any) -> None:
    """A deleted ConfigMap comes back under a new generation, a changed replica count too; a foreign label stays."""
    lab.apply(lab.consumer(replicas=2))
    lab.eventually(lambda: exist(lab))
    lab.done("label", "deployment", "orders", "team=shop")
    lab.done("delete", "configmap", "orders-settings")
    lab.done("scale", "deployment", "orders", "--replicas=7")
    lab.eventually(lambda: lab.get("deployment", "orders")["spec"]["replicas"] == 2)
    assert lab.eventually(lab.settings)["generation"] == 2
    assert lab.get("deployment", "orders")["metadata"]["labels"]["team"] == "shop"
    lab.eventually(lambda: any("Deployment orders" in message for message in lab.events("Repaired")))


def test_vandalised_settings_are_written_anew_under_a_new_generation(lab: Any, operator: Any) -> None:
    """The pods would otherwise keep what someone put there."""
    lab.apply(lab.consumer(execution={"maxInFlight": 16}))
    lab.eventually(lambda: exist(lab))
    lab.done("patch", "configmap", "orders-settings", "-p", '{"data": {"runtime.yaml": "execution: {}"}}')
    lab.eventually(lambda: lab.settings().get("generation") == 2)
    assert lab.settings()["execution"]["max_in_flight"] == 16


def test_a_field_that_is_no_longer_wanted_goes(lab: Any, operator: Any) -> None:
    """What we stop applying, we stop owning: the environment variable is gone."""
    env = [{"name": "COLOUR", "value": "red"}]
    lab.apply(lab.consumer(handler={"entrypoint": "orders:handle", "env": env}))
    lab.eventually(lambda: exist(lab))
    lab.apply(lab.consumer(handler={"entrypoint": "orders:handle", "env": []}))

    def variables() -> set[str]:
        container = lab.get("deployment", "orders")["spec"]["template"]["spec"]["containers"][0]
        return {variable["name"] for variable in container["env"]}

    lab.eventually(lambda: variables() == {"POD_NAME", "PYTHONUNBUFFERED"})


def test_nothing_is_written_when_nothing_changed(lab: Any, operator: Any) -> None:
    """Neither time, nor a restart of the operator, nor an unrelated annotation leads to a write."""
    lab.apply(lab.consumer(suspend=True, tuning={"mode": "Off"}))
    lab.eventually(lambda: exist(lab) and lab.condition("Ready") == ("True", "Suspended"))
    time.sleep(2)
    before = writes(lab)
    assert all(before)
    operator.end()
    operator.start()
    time.sleep(6)
    assert writes(lab) == before
    lab.done("annotate", "pcon", "orders", "note=hello")
    time.sleep(3)
    assert writes(lab)[:-1] == before[:-1]


def test_a_spec_edit_is_followed_within_seconds(lab: Any, operator: Any) -> None:
    """A hot knob reaches the settings and leaves the pod template alone; the ordering rolls the pods and says so."""
    lab.apply(lab.consumer(execution={"maxInFlight": 16}))
    lab.eventually(lambda: exist(lab))
    template = lab.get("deployment", "orders")["spec"]["template"]
    lab.apply(lab.consumer(execution={"maxInFlight": 32}))
    lab.eventually(lambda: lab.settings()["execution"]["max_in_flight"] == 32, seconds=30)
    assert lab.get("deployment", "orders")["spec"]["template"] == template
    lab.apply(lab.consumer(execution={"maxInFlight": 32, "ordering": "partition"}))
    lab.eventually(lambda: lab.condition("Progressing") == ("True", "RollingOut"), seconds=30)
    assert "execution.ordering" in lab.eventually(lambda: lab.events("RollingOut"))[0]


@pytest.mark.parametrize(("kind", "membership"), [("deployment", "dynamic"), ("statefulset", "static")])
def test_a_rollout_that_a_person_restarts_goes_its_way(lab: Any, operator: Any, kind: str, membership: str) -> None:
    """Kubectl's annotation on the pods is not ours: no restart, drift, edit or rollout of ours takes it away."""
    manifest = lab.consumer(tuning={"mode": "Off"})
    manifest["spec"]["source"]["kafka"]["membership"] = membership
    lab.apply(manifest)
    lab.eventually(lambda: lab.get(kind, "orders") and lab.status().get("observedGeneration") == 1)
    ours = hashes(lab, kind)
    lab.done("rollout", "restart", kind, "orders")
    stamp = restarted_at(lab, kind)
    assert stamp
    operator.end()
    operator.start()
    lab.done("scale", kind, "orders", "--replicas=7")
    lab.eventually(lambda: lab.get(kind, "orders")["spec"]["replicas"] == 1)
    assert (restarted_at(lab, kind), hashes(lab, kind)) == (stamp, ours)
    manifest["spec"]["execution"] = {"ordering": "partition"}
    lab.apply(manifest)
    lab.eventually(lambda: hashes(lab, kind) != ours)
    assert restarted_at(lab, kind) == stamp
    managers = [each["manager"] for each in lab.get(kind, "orders", managed=True)["metadata"]["managedFields"]]
    assert "kubectl-rollout" in managers


def hashes(lab: Any, kind: str) -> str:
    """Return what stands for the pods as the operator wants them."""
    annotations = lab.get(kind, "orders")["spec"]["template"]["metadata"]["annotations"]
    return str(annotations["parallelconsumer.dev/restart-hash"])


def restarted_at(lab: Any, kind: str) -> str:
    """Return when a person last restarted the pods, empty for never."""
    annotations = lab.get(kind, "orders")["spec"]["template"]["metadata"]["annotations"]
    return str(annotations.get("kubectl.kubernetes.io/restartedAt", ""))


def test_suspend_scales_to_zero_and_resume_brings_back(lab: Any, operator: Any) -> None:
    """The resource keeps its replicas; only the Deployment goes to zero."""
    lab.apply(lab.consumer(replicas=3))
    lab.eventually(lambda: exist(lab))
    lab.done("patch", "pcon", "orders", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    lab.eventually(lambda: lab.get("deployment", "orders")["spec"]["replicas"] == 0)
    lab.eventually(lambda: lab.condition("Ready") == ("True", "Suspended"))
    lab.done("patch", "pcon", "orders", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    lab.eventually(lambda: lab.get("deployment", "orders")["spec"]["replicas"] == 3)


def test_suspend_keeps_the_tuned_values(lab: Any, operator: Any) -> None:
    """A step of the tuner is in force before, in, and after a suspension, and named as the tuner's."""
    lab.apply(lab.consumer(execution={"maxInFlight": 16}))
    lab.eventually(lambda: exist(lab))
    operator.end()
    step = '{"status": {"tuning": {"knobs": {"maxInFlight": 64}}}}'
    lab.done("patch", "pcon", "orders", "--subresource=status", "--type=merge", "-p", step)
    operator.start()
    lab.eventually(lambda: lab.settings()["execution"]["max_in_flight"] == 64)
    for suspend, replicas in (("true", 0), ("false", 1)):
        lab.done("patch", "pcon", "orders", "--type=merge", "-p", f'{{"spec": {{"suspend": {suspend}}}}}')
        lab.eventually(lambda wanted=replicas: lab.get("deployment", "orders")["spec"]["replicas"] == wanted)
        lab.eventually(
            lambda: lab.status()["observedGeneration"] == lab.get("pcon", "orders")["metadata"]["generation"]
        )
        (knob,) = [knob for knob in lab.status()["effective"]["knobs"] if knob["name"] == "maxInFlight"]
        assert (knob["value"], knob["source"]) == (64, "Tuner")
        assert lab.settings()["execution"]["max_in_flight"] == 64


def test_handler_code_in_a_config_map_restarts_the_pods_when_it_changes(lab: Any, operator: Any) -> None:
    """Missing, it is told; there, the template follows its contents, and the condition names it."""
    lab.apply(lab.consumer(handler={"entrypoint": "orders:handle", "sourceConfigMapRef": {"name": "code"}}))
    lab.eventually(lambda: lab.condition("Degraded") == ("True", "ConfigMapMissing"))
    lab.done("create", "configmap", "code", "--from-literal=orders.py=one")
    lab.eventually(lambda: lab.condition("Degraded")[1] != "ConfigMapMissing")
    lab.done("patch", "configmap", "code", "-p", '{"data": {"orders.py": "two"}}')
    lab.eventually(lambda: any("the ConfigMap code" in message for message in lab.events("RollingOut")))


def test_a_paused_resource_is_left_alone_and_says_so(lab: Any, operator: Any) -> None:
    """No drift is repaired and no edit followed until the annotation goes."""
    lab.apply(lab.consumer())
    lab.eventually(lambda: exist(lab))
    lab.done("annotate", "pcon", "orders", "parallelconsumer.dev/paused=true")
    lab.eventually(lambda: lab.condition("Paused") == ("True", "Paused"))
    lab.done("delete", "configmap", "orders-settings")
    lab.apply(lab.consumer(replicas=4))
    lab.eventually(lambda: lab.status()["observedGeneration"] == 2)
    time.sleep(2)
    assert lab.get("configmap", "orders-settings") is None
    assert lab.get("deployment", "orders")["spec"]["replicas"] == 1
    lab.done("annotate", "pcon", "orders", "parallelconsumer.dev/paused-")
    lab.eventually(lambda: lab.settings() and lab.get("deployment", "orders")["spec"]["replicas"] == 4)
    lab.eventually(lambda: lab.condition("Paused") == ("False", "NotPaused"))


def test_an_object_of_somebody_else_is_never_taken_over(lab: Any, operator: Any) -> None:
    """A Deployment of the same name stays as it is, and the condition says what to do."""
    lab.done("create", "deployment", "orders", "--image=theirs:1", "--replicas=0")
    lab.apply(lab.consumer())
    lab.eventually(lambda: lab.condition("Degraded") == ("True", "NameTaken"))
    assert lab.get("deployment", "orders")["spec"]["template"]["spec"]["containers"][0]["image"] == "theirs:1"
    lab.done("delete", "deployment", "orders")
    lab.eventually(lambda: lab.condition("Degraded") == ("False", "AsExpected"))
    lab.eventually(lambda: lab.events("Recovered"))


def test_a_missing_secret_is_named_and_its_change_restarts(lab: Any, operator: Any) -> None:
    """The condition names the Secret; once it is there, new contents change the pod template, and no content leaks."""
    kafka = {**lab.consumer()["spec"]["source"]["kafka"], "caSecretRef": {"name": "authority"}}
    lab.apply(lab.consumer(source={"kafka": kafka}))
    lab.eventually(lambda: lab.condition("Degraded") == ("True", "SecretMissing"))
    [event, *_] = lab.eventually(lambda: lab.events("SecretMissing"))
    assert "Secret authority does not exist" in event
    lab.done("create", "secret", "generic", "authority", "--from-literal=ca.crt=one-of-a-kind")
    lab.eventually(lambda: lab.condition("Degraded")[1] != "SecretMissing")

    def mark() -> str:
        template = lab.get("deployment", "orders")["spec"]["template"]["metadata"]["annotations"]
        return str(template["parallelconsumer.dev/restart-hash"])

    before = lab.eventually(mark)
    lab.done("patch", "secret", "authority", "-p", '{"stringData": {"ca.crt": "another-one"}}')
    lab.eventually(lambda: mark() != before)
    everything = lab.done("get", "pcon,deployment,configmap,events", "-o", "json") + operator.log.read_text()
    assert "one-of-a-kind" not in everything
    assert "another-one" not in everything


def test_two_resources_on_one_group(lab: Any, operator: Any) -> None:
    """The younger one is told and makes no pods; it has them while the elder is suspended, and when the elder goes."""
    first, second = lab.consumer(), lab.consumer("late")
    second["spec"]["source"]["kafka"]["consumerGroup"] = first["spec"]["source"]["kafka"]["consumerGroup"]
    lab.apply(first)
    lab.eventually(lambda: exist(lab))
    time.sleep(1)
    lab.apply(second)
    lab.eventually(lambda: lab.condition("Degraded", "late") == ("True", "GroupConflict"))
    assert lab.get("deployment", "late") is None
    assert lab.condition("Degraded")[1] != "GroupConflict"
    lab.done("patch", "pcon", "orders", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    lab.eventually(lambda: lab.get("deployment", "late"))
    lab.eventually(lambda: lab.condition("Degraded", "late")[1] != "GroupConflict")
    lab.done("patch", "pcon", "orders", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    lab.eventually(lambda: lab.get("deployment", "late")["spec"]["replicas"] == 0)
    lab.eventually(lambda: lab.condition("Ready", "late") == ("False", "GroupConflict"))
    lab.done("delete", "pcon", "orders")
    lab.eventually(lambda: lab.get("deployment", "late")["spec"]["replicas"] == 1)
    lab.eventually(lambda: lab.condition("Degraded", "late")[1] != "GroupConflict")


def test_an_operator_that_starts_knows_the_elder_before_the_younger_moves(lab: Any, operator: Any) -> None:
    """Both were made while no operator ran: only the elder gets pods, whichever is looked at first."""
    operator.end()
    names = ("first", "then")
    for name in names:
        manifest = lab.consumer(name)
        manifest["spec"]["source"]["kafka"]["consumerGroup"] = "shared"
        lab.apply(manifest)
        time.sleep(1.1)
    operator.start()
    lab.eventually(lambda: lab.get("deployment", "first"))
    lab.eventually(lambda: lab.condition("Degraded", "then") == ("True", "GroupConflict"))
    assert lab.get("deployment", "then") is None


def test_deleting_takes_the_children_with_it_also_without_the_operator(lab: Any, operator: Any) -> None:
    """No finalizer: nothing hangs in Terminating when the operator is gone, and the children follow by owner."""
    lab.apply(lab.consumer())
    lab.eventually(lambda: exist(lab))
    operator.end()
    lab.done("delete", "pcon", "orders", "--timeout=10s")
    lab.eventually(lambda: not any(lab.get(kind, name) for kind, name in CHILDREN), seconds=60)


def test_the_scale_subresource_is_what_autoscalers_need(lab: Any, operator: Any) -> None:
    """Kubectl scale changes the spec, and the selector names the pods."""
    lab.apply(lab.consumer())
    lab.eventually(lambda: exist(lab))
    lab.done("scale", "pcon", "orders", "--replicas=5")
    lab.eventually(lambda: lab.get("deployment", "orders")["spec"]["replicas"] == 5)
    assert "parallelconsumer.dev/name=orders" in lab.status()["selector"]


def test_what_only_shows_as_a_whole_becomes_a_condition(lab: Any, operator: Any) -> None:
    """CEL sees only what is written; the default meets it later, and the condition names the field."""
    lab.apply(lab.consumer(retry={"maxBackoffMs": 10}))
    lab.eventually(lambda: lab.condition("Degraded") == ("True", "InvalidSpec"))
    assert "spec.retry" in lab.eventually(lambda: lab.events("InvalidSpec"))[0]
    lab.apply(lab.consumer(retry={"maxBackoffMs": 10_000}))
    lab.eventually(lambda: lab.condition("Degraded") == ("False", "AsExpected"))


def test_the_operator_ends_in_good_order(lab: Any, operator: Any) -> None:
    """SIGTERM ends it with 0 within seconds, and every line it logged is JSON."""
    lab.apply(lab.consumer())
    lab.eventually(lambda: exist(lab))
    began = time.monotonic()
    assert operator.end() == 0
    assert time.monotonic() - began < 8
    assert len(operator.lines()) == len(operator.log.read_text().splitlines())
