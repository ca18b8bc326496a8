"""Everything that keeps a consumer from working, really caused on a node, side by side: each is told, and put right.

`Any` stands for the fixtures' types: a conftest cannot be imported from.
"""

import copy
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(480)]

GOOD = "async def handle(message):\n    pass\n"
CODE = {
    "good.py": GOOD,
    "raises.py": "raise RuntimeError('no licence')\n",
    "exits.py": "import os\nos._exit(3)\n",
    "eats.py": f"held = bytearray(400_000_000)\n{GOOD}",
    "opens.py": """
class Handler:
    async def open(self):
        raise OSError('no database')

    async def __call__(self, message):
        pass
""",
}  # fmt: skip
LITTLE = {"limits": {"memory": "160Mi"}}
NOWHERE = {"nodeSelector": {"disk": "of-gold"}}
NO_VOLUME = {
    "volumes": [{"name": "extra", "configMap": {"name": "absent-volume"}}],
    "consumer": {"volumeMounts": [{"name": "extra", "mountPath": "/extra"}]},
}
ABSENT_KEY = {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "code", "key": "absent-key"}}}
TOO_MUCH = {"consumer": {"resources": {"limits": {"memory": "9Gi"}}}}

CAUSES: dict[str, tuple[dict[str, Any], str, str]] = {
    # name: (what to put where in the spec, the reason, what the sentence holds)
    "import": ({"handler.entrypoint": "raises:handle"}, "HandlerFailedToImport", "no licence"),
    "module": ({"handler.entrypoint": "no.such:thing"}, "HandlerNotFound", "spec.handler.entrypoint"),
    "open": ({"handler.entrypoint": "opens:Handler"}, "HandlerUnsuitable", "no database"),
    "exit": ({"handler.entrypoint": "exits:handle"}, "CrashLoop", "exit code 3"),
    "memory": (
        {"handler.entrypoint": "eats:handle", "podTemplate.spec.consumer.resources": LITTLE},
        "OutOfMemory", "memory limit",
    ),
    "image": ({"handler.image": "localhost/no-such-image:1"}, "ImagePullFailed", "spec.handler.image"),
    "topic": ({"source.kafka.topics": ["does-not-exist"]}, "TopicNotFound", "spec.source.kafka.topics"),
    "broker": ({"source.kafka.bootstrapServers": ["10.200.0.1:1"]}, "BrokerUnreachable", "bootstrapServers"),
    "secret": ({"source.kafka.caSecretRef": {"name": "absent"}}, "SecretMissing", "Secret absent"),
    "code": ({"handler.sourceConfigMapRef": {"name": "absent-code"}}, "ConfigMapMissing", "ConfigMap absent-code"),
    "node": ({"podTemplate.spec": NOWHERE}, "Unschedulable", "nodeSelector"),
    "volume": ({"podTemplate.spec": NO_VOLUME}, "VolumeNotMounted", "absent-volume"),
    "env": ({"handler.env": [ABSENT_KEY]}, "PodConfigInvalid", "absent-key"),
    "sandbox": (
        {"podTemplate.spec": {"runtimeClassName": "op-no-such-sandbox"}}, "PodNotStarted", "no-such-sandbox",
    ),
    "limit": ({"podTemplate.spec": TOO_MUCH}, "PodsRefused", "memory"),
    "static": ({"podTemplate.spec": TOO_MUCH}, "PodsRefused", "memory"),
    "sidecar": (
        {"podTemplate.spec": {"initContainers": [{"name": "check", "image": "", "command": ["false"]}]}},
        "SidecarFailed", "container check",
    ),
}  # fmt: skip
SANDBOXED: dict[str, Any] = {
    "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "op-no-such-sandbox"},
    "handler": "no-such-sandbox",
}  # fmt: skip
LIMITS = {
    "apiVersion": "v1",
    "kind": "LimitRange",
    "metadata": {"name": "limits"},
    "spec": {"limits": [{"type": "Container", "max": {"memory": "8Gi"}, "default": {"memory": "1Gi"},
                         "defaultRequest": {"memory": "32Mi"}}]},
}  # fmt: skip


def with_changes(manifest: dict[str, Any], changes: dict[str, Any], *, image: str) -> dict[str, Any]:
    """Return a manifest with values put at dotted places of its spec; an empty image becomes this one."""
    changed = copy.deepcopy(manifest)
    for path, value in changes.items():
        *parents, last = path.split(".")
        target = changed["spec"]
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
    text = json.dumps(changed).replace('"image": ""', f'"image": "{image}"')
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@pytest.fixture
def consumers(lab: Any, kafka: Any, pods: Any, runtime_image: str) -> Iterator[dict[str, tuple[Any, Any]]]:
    """One good ParallelConsumer for each cause, and the same with its fault. Not applied yet."""
    topic = f"op-{uuid.uuid4().hex[:8]}"
    kafka.create_topic(topic, partitions=1)
    lab.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "code"}, "data": CODE})
    lab.apply(LIMITS)
    lab.apply(SANDBOXED)
    found = {}
    for name, (changes, _, _) in CAUSES.items():
        good = lab.consumer(name, execution={"mode": "async"}, tuning={"mode": "Off"})
        good["spec"]["source"]["kafka"] = {
            "bootstrapServers": kafka.pod_bootstrap_servers.split(","), "topics": [topic],
            "consumerGroup": f"{topic}-{name}", "membership": "static" if name == "static" else "dynamic",
        }  # fmt: skip
        good["spec"]["handler"] = {"entrypoint": "good:handle", "sourceConfigMapRef": {"name": "code"}}
        found[name] = (good, with_changes(good, changes, image=runtime_image))
    yield found
    lab.done("delete", "runtimeclass", SANDBOXED["metadata"]["name"])


def test_what_keeps_a_consumer_from_working_is_told_and_can_be_put_right(lab: Any, consumers: Any) -> None:
    """Degraded has the cause, its sentence the field or the name and what to do; put right, the consumer runs."""
    lab.apply({"apiVersion": "v1", "kind": "List", "items": [bad for _, bad in consumers.values()]})
    open_causes = dict(CAUSES)

    def told() -> bool:
        for resource in json.loads(lab.done("get", "pcon", "-o", "json"))["items"]:
            name = resource["metadata"]["name"]
            conditions = {each["type"]: each for each in resource.get("status", {}).get("conditions", [])}
            degraded = conditions.get("Degraded", {})
            _, reason, words = CAUSES[name]
            if degraded.get("status") == "True" and degraded["reason"] == reason and words in degraded["message"]:
                open_causes.pop(name, None)
        return not open_causes

    try:
        lab.eventually(told, seconds=180)
    except AssertionError:
        statuses = {name: lab.status(name).get("conditions", []) for name in open_causes}
        wrong = {name: [each for each in found if each["type"] == "Degraded"] for name, found in statuses.items()}
        pytest.fail(f"not told: {json.dumps(wrong, indent=1)}")
    assert any("no licence" in message for message in lab.events("HandlerFailedToImport"))
    lab.apply({"apiVersion": "v1", "kind": "List", "items": [good for good, _ in consumers.values()]})

    def unwell() -> list[str]:
        wanted = (("True", "Running"), ("False", "AsExpected"))
        found = {name: (lab.condition("Ready", name), lab.condition("Degraded", name)) for name in consumers}
        return [f"{name}: {each}" for name, each in found.items() if each != wanted]

    lab.eventually(lambda: not unwell(), seconds=180)
    (member,) = json.loads(lab.done("get", "pods", "-l", "parallelconsumer.dev/name=static", "-o", "json"))["items"]
    assert (member["metadata"]["name"], member["metadata"]["ownerReferences"][0]["kind"]) == ("static-0", "StatefulSet")
