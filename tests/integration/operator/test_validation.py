"""Bad input at the API server: every CEL rule and its message, and the mistakes that people make most.

`Any` stands for the fixture's type: a conftest cannot be imported from.
"""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from parallel_consumer_operator.resource.definition import definition
from parallel_consumer_operator.resource.rules import REFUSED_PROPERTIES, RULES

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).resolve().parents[3]

CPU = {"spec.podTemplate": {"spec": {"consumer": {"resources": {"requests": {"cpu": "500m"}}}}}}
BAD: list[tuple[str, dict[str, Any]]] = [
    ("metadata.name must be at most", {"metadata.name": "a" * 53}),
    ("set either topics or topicPattern", {"spec.source.kafka.topicPattern": "^orders"}),
    ("set either topics or topicPattern", {"spec.source.kafka.topics": []}),
    ("topics may hold letters", {"spec.source.kafka.topics": ["orders*"]}),
    ("topicPattern must begin with ^", {"spec.source.kafka.topics": [], "spec.source.kafka.topicPattern": "orders"}),
    ("bootstrapServers are host:port", {"spec.source.kafka.bootstrapServers": ["kafka"]}),
    ("bootstrapServers are host:port", {"spec.source.kafka.bootstrapServers": ["a:9092,b:9092"]}),
    ("saslMechanism is needed", {"spec.source.kafka.securityProtocol": "SASL_SSL"}),
    ("credentialsSecretRef is needed", {"spec.source.kafka.saslMechanism": "PLAIN"}),
    *(
        (f"properties may not hold {names[0]}", {"spec.source.kafka.properties": {name: "x"}})
        for names in REFUSED_PROPERTIES.values()
        for name in names
    ),
    ("entrypoint must be package.module:attribute", {"spec.handler.entrypoint": "orders.handle"}),
    ("entrypoint must be package.module:attribute", {"spec.handler.entrypoint": "../etc/passwd:x"}),
    (
        "OAUTHBEARER needs oauthToken",
        {"spec.source.kafka.saslMechanism": "OAUTHBEARER", "spec.source.kafka.securityProtocol": "SASL_SSL"},
    ),
    ("oauthToken must be package.module:function", {"spec.source.kafka.oauthToken": "shop.login"}),
    ("each of handler.topics must be", {"spec.handler.topics": {"orders": "shop.orders"}}),
    ("handler.topics names a topic that is not in", {"spec.handler.topics": {"refunds": "shop.refunds:handle"}}),
    ("handler.valueFormat schema_registry needs", {"spec.handler.valueFormat": "schema_registry"}),
    ("scaling.maxReplicas is needed", {"spec.scaling": {"type": "HPA"}, **CPU}),
    ("scaling.minReplicas is above", {"spec.scaling": {"type": "HPA", "minReplicas": 3, "maxReplicas": 2}, **CPU}),
    (
        "scaling.minReplicas must be at least 1",
        {"spec.scaling": {"type": "HPA", "minReplicas": 0, "maxReplicas": 2}, **CPU},
    ),
    ("scaling.type HPA measures CPU", {"spec.scaling": {"type": "HPA", "maxReplicas": 2}}),
    (
        "scaling.authenticationRef is needed",
        {"spec.scaling": {"type": "KEDA", "maxReplicas": 2}, "spec.source.kafka.securityProtocol": "SSL"},
    ),
    ("image must be an image reference", {"spec.handler.image": "shop/orders:1 --privileged"}),
    ("workerPoolSize has no effect", {"spec.execution": {"mode": "async", "workerPoolSize": 4}}),
    ("process has no effect", {"spec.execution": {"mode": "thread", "process": {"batchSize": 4}}}),
    (
        "in mode single only pollBatchSize can be tuned",
        {"spec.execution": {"mode": "single"}, "spec.tuning": {"knobs": {"maxInFlight": {"min": 1}}}},
    ),
    ("must be below 80 %", {"spec.execution": {"mode": "single", "taskTimeoutMs": 240_000}}),
    (
        "must be below 80 %",
        {
            "spec.execution": {"mode": "single", "taskTimeoutMs": 8_000},
            "spec.source.kafka.properties": {"max.poll.interval.ms": "10000"},
        },
    ),
    ("must be a whole number of milliseconds", {"spec.source.kafka.properties": {"max.poll.interval.ms": "5m"}}),
    ("retry.backoffMs is above maxBackoffMs", {"spec.retry": {"backoffMs": 10, "maxBackoffMs": 5}}),
    (
        "this policy's backoffMs is above",
        {"spec.retry": {"policies": [{"errors": ["a:B"], "maxRetries": 1, "backoffMs": 9, "maxBackoffMs": 8}]}},
    ),
    ("deadLetter.topic is needed", {"spec.deadLetter": {"enabled": True}}),
    *(
        (message, {"spec.execution": {"mode": "thread", knob: value}, "spec.tuning": {"knobs": {knob: limits}}})
        for knob in ("maxInFlight", "pollBatchSize", "workerPoolSize")
        for message, value, limits in (
            (f"tuning.knobs.{knob}.min is above its max", 5, {"min": 9, "max": 3}),
            (f"execution.{knob} is below tuning.knobs.{knob}.min", 5, {"min": 9}),
            (f"execution.{knob} is above tuning.knobs.{knob}.max", 5, {"max": 3}),
        )
    ),
    (
        "set bearerTokenSecretRef or basicAuthSecretRef",
        {"spec.tuning": {"prometheus": {"bearerTokenSecretRef": {"name": "a"}, "basicAuthSecretRef": {"name": "b"}}}},
    ),
    ("longWindowSeconds must be more", {"spec.tuning": {"behavior": {"windowSeconds": 60, "longWindowSeconds": 60}}}),
    (
        "a value or a valueFrom, not both",
        {"spec.handler.env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
    ),
    ("valueFrom needs exactly one", {"spec.handler.env": [{"name": "A", "valueFrom": {}}]}),
    ("needs either secretRef or configMapRef", {"spec.handler.envFrom": [{"prefix": "A"}]}),
]


def with_changes(manifest: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest with values put at dotted places."""
    changed = copy.deepcopy(manifest)
    for path, value in changes.items():
        *parents, last = path.split(".")
        target = changed
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
    return changed


@pytest.mark.parametrize(("message", "changes"), BAD)
def test_a_rule_says_what_to_do(lab: Any, message: str, changes: dict[str, Any]) -> None:
    """The API server refuses the manifest, in the words of the rule."""
    assert message in lab.refusal(with_changes(lab.consumer(), changes))


def test_every_rule_is_tried_here() -> None:
    """A new rule without a bad sample fails this test; the group's immutability needs an update and is tried below."""
    untried = [rule.message for rule in RULES if not any(rule.message.startswith(message) or message in rule.message
               for message, _ in BAD) and "cannot be changed" not in rule.message]  # fmt: skip
    assert untried == []


def test_the_consumer_group_cannot_be_changed(lab: Any) -> None:
    """Offsets belong to a group; the message says what to do instead."""
    lab.apply(lab.consumer())
    other = with_changes(lab.consumer(), {"spec.source.kafka.consumerGroup": "another"})
    assert "create a second ParallelConsumer instead" in lab.refusal(other, verb="apply")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"spec.replica": 3}, 'unknown field "spec.replica"'),
        ({"spec.execution": {"maxInFlght": 3}}, 'unknown field "spec.execution.maxInFlght"'),
        ({"spec.execution": {"mode": "turbo"}}, 'supported values: "single", "async", "thread", "process", "auto"'),
        ({"spec.execution": {"maxInFlight": 0}}, "should be greater than or equal to 1"),
        ({"spec.execution": {"maxInFlight": "many"}}, "must be of type integer"),
        ({"spec.replicas": 1_001}, "should be less than or equal to 1000"),
        ({"spec.source.kafka.topics": ["t"] * 65}, "must have at most 64 items"),
        ({"spec.handler.entrypoint": "a:" + "b" * 600}, "may not be more than 512"),
        ({"spec.source.kafka": {}}, "spec.source.kafka.bootstrapServers: Required value"),
    ],
)
def test_a_common_mistake_names_the_field(lab: Any, changes: dict[str, Any], words: str) -> None:
    """A misspelt field, a mode that does not exist, a value out of bounds, a missing field."""
    assert words in lab.refusal(with_changes(lab.consumer(), changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"spec.profile": "LowLatency"},
        {"spec.execution": {"mode": "process", "workerPoolSize": 4, "process": {"batchSize": 64}}},
        {"spec.execution": {"workerPoolSize": 4}, "spec.profile": "HighThroughput"},
        {"spec.source.kafka.topics": [], "spec.source.kafka.topicPattern": "^orders-.*"},
        {
            "spec.source.kafka.saslMechanism": "OAUTHBEARER",
            "spec.source.kafka.securityProtocol": "SASL_SSL",
            "spec.source.kafka.oauthToken": "shop.login:token",
        },
        {
            "spec.source.kafka.saslMechanism": "OAUTHBEARER",
            "spec.source.kafka.securityProtocol": "SASL_SSL",
            "spec.source.kafka.credentialsSecretRef": {"name": "client"},
            "spec.source.kafka.properties": {"sasl.oauthbearer.method": "oidc"},
        },
        {"spec.handler.topics": {"orders": "shop.orders:handle"}, "spec.handler.logContext": False},
        {"spec.handler.valueFormat": "schema_registry", "spec.source.kafka.schemaRegistry": {"url": "http://r:8081"}},
        {"spec.circuitBreaker": {}, "spec.results": {"topic": "done"}, "spec.logLevel": "DEBUG"},
        {"spec.scaling": {"type": "HPA", "maxReplicas": 8}, **CPU},
        {
            "spec.scaling": {"type": "KEDA", "minReplicas": 0, "maxReplicas": 8},
            "spec.source.kafka.membership": "static",
        },
        {"spec.source.kafka.properties": {"fetch.min.bytes": "1", "client.rack": "a"}},
        {"spec.retry": {"policies": [{"errors": ["a:B"], "maxRetries": 5, "backoffMs": 1, "maxBackoffMs": 8}]}},
        {"spec.tuning": {"mode": "Auto", "knobs": {"maxInFlight": {"min": 1, "max": 4000}}}},
    ],
)
def test_a_good_manifest_is_taken(lab: Any, changes: dict[str, Any]) -> None:
    """The rules refuse nothing that is right."""
    assert lab.refusal(with_changes(lab.consumer(), changes)) == ""


def documents(file: Path) -> list[dict[str, Any]]:
    """Return the manifests in a YAML file, or in the YAML blocks of a page."""
    text = file.read_text()
    blocks = [part.partition("```")[0] for part in text.split("```yaml\n")[1:]] if file.suffix == ".md" else [text]
    return [document for block in blocks for document in yaml.safe_load_all(block)]


FILES = [ROOT / "docs" / "manifests.md", *sorted(ROOT.glob("examples/*/parallelconsumer.yaml"))]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_what_people_copy_is_taken_as_it_stands(lab: Any, file: Path) -> None:
    """Every manifest of the documents and the examples passes schema and rules, without an unknown field."""
    found = documents(file)
    assert found
    assert [refusal for each in found if (refusal := lab.refusal(each))] == []


def test_kubectl_explains_every_field(lab: Any) -> None:
    """The docstrings reach the person at the terminal, with unit, default and what a change takes."""
    text = " ".join(lab.done("explain", "pcon.spec.execution.maxInFlight").split())
    assert "Messages that run or wait for a worker at most" in text
    assert "Default: 256. Takes effect at once." in text


def described(schema: dict[str, Any], at: str = "") -> dict[str, str]:
    """Return the description of every field of a schema, by its path."""
    found: dict[str, str] = {}
    for name, part in schema.get("properties", {}).items():
        found[f"{at}.{name}"] = part.get("description", "")
        found |= described(part.get("items", part.get("additionalProperties") or part), f"{at}.{name}")
    return found


def test_kubectl_explains_the_whole_tree(lab: Any) -> None:
    """Each docstring of spec and status is what `kubectl explain --recursive` has to say, none is missing."""
    schema = definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    listed = lab.done("explain", "pcon", "--recursive")
    served = json.loads(lab.done("get", "--raw", "/openapi/v3/apis/parallelconsumer.dev/v1alpha1"))
    stored = served["components"]["schemas"]["dev.parallelconsumer.v1alpha1.ParallelConsumer"]["properties"]
    for part in ("spec", "status"):
        ours = described(schema[part])
        assert ours == described(stored[part])
        assert {path.rpartition(".")[2] for path in ours} <= set(listed.split())
