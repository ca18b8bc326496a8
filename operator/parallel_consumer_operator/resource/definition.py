"""The CustomResourceDefinition, made from the models and the rules. Pure; `generate.py` writes it to a file."""

from typing import Any

from parallel_consumer_operator.resource import names
from parallel_consumer_operator.resource.rules import RULES, Rule
from parallel_consumer_operator.resource.schema import Schema, structural
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec
from parallel_consumer_operator.resource.status import ParallelConsumerStatus

_COLUMNS = (
    ("Mode", "string", ".status.effective.mode", "How the handler runs.", 0),
    ("Ready", "integer", ".status.readyReplicas", "Pods that are ready.", 0),
    ("Lag", "integer", ".status.lag.messages", "Messages not committed yet.", 0),
    ("In-Flight", "integer", ".status.inFlight", "Messages admitted and not finished.", 0),
    ("Tuning", "string", ".status.tuning.phase", "What the tuner is doing.", 0),
    ("Reason", "string", ".status.reason", "What matters most now.", 0),
    ("Age", "date", ".metadata.creationTimestamp", "Since when it exists.", 0),
    ("Group", "string", ".spec.source.kafka.consumerGroup", "The consumer group.", 1),
    ("Replicas", "integer", ".spec.replicas", "Pods wanted.", 1),
    ("Max-In-Flight", "integer", ".status.effective.knobs[?(@.name=='maxInFlight')].value", "The limit in force.", 1),
    ("Poll-Batch", "integer", ".status.effective.knobs[?(@.name=='pollBatchSize')].value", "The size in force.", 1),
    ("Workers", "integer", ".status.effective.knobs[?(@.name=='workerPoolSize')].value", "The pool in force.", 1),
    ("Profile", "string", ".spec.profile", "The profile.", 1),
    ("Message", "string", ".status.tuning.message", "The tuner's last decision.", 1),
)


def definition() -> dict[str, Any]:
    """Return the CustomResourceDefinition as a manifest."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.KIND.lower(),
                "shortNames": ["pcon"],
                "categories": ["kafka"],
            },
            "versions": [_version()],
        },
    }


def _version() -> dict[str, Any]:
    return {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _schema()},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path, "description": text, "priority": priority}
            for name, kind, path, text, priority in _COLUMNS
        ],
    }


def _schema() -> Schema:
    schema: Schema = {
        "description": "A parallel Kafka consumer: many messages at once, exact offsets, tuned while it runs.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(ParallelConsumerSpec),
            "status": structural(ParallelConsumerStatus),
        },
    }
    for rule in RULES:
        _add(schema, rule)
    return schema


def _add(schema: Schema, rule: Rule) -> None:
    """Put a rule at its place; raises KeyError when the place does not exist."""
    place = schema
    for step in rule.path.split(".") if rule.path else ():
        if step == "*":
            place = place["items"] if "items" in place else place["additionalProperties"]
        else:
            place = place["properties"][step]
    place.setdefault("x-kubernetes-validations", []).append({"rule": rule.rule, "message": rule.message})
