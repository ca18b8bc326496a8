"""The compatibility check, by mutation: each way to break manifests is seen, each way to widen is let through."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from parallel_consumer_operator.resource.compatibility import breaks
from parallel_consumer_operator.resource.definition import definition

RELEASED = Path(__file__).resolve().parents[4] / "crds" / "released"
CURRENT = json.loads(json.dumps(definition()))
"""Without the parts that Python shares, so that a mutation hits one place."""
KAFKA = "spec.source.kafka"


def schema_at(whole: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the schema at a dotted path; `*` is the item of a list or a map."""
    found: dict[str, Any] = whole["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for step in filter(None, path.split(".")):
        if step == "*":
            found = found["items"] if "items" in found else found["additionalProperties"]
        else:
            found = found["properties"][step]
    return found


def changed(path: str, change: Callable[[dict[str, Any]], object]) -> list[str]:
    """Return what the check says when the schema at a path is changed from the released one to this."""
    mutated = copy.deepcopy(CURRENT)
    change(schema_at(mutated, path))
    return breaks(CURRENT, mutated)


def put(**values: Any) -> Callable[[dict[str, Any]], object]:
    """Return a change that puts keywords."""
    return lambda schema: schema.update(values)


def rule(text: str) -> Callable[[dict[str, Any]], object]:
    """Return a change that adds a rule."""
    return lambda schema: schema.setdefault("x-kubernetes-validations", []).append({"rule": text, "message": "no"})


def drop(*keywords: str) -> Callable[[dict[str, Any]], object]:
    """Return a change that takes keywords out."""
    return lambda schema: [schema.pop(keyword) for keyword in keywords]


NARROWER = [
    ("spec", lambda schema: schema["properties"].pop("suspend"), "spec.suspend: the field is gone"),
    ("spec", lambda schema: schema["required"].append("execution"), "spec: execution is needed now"),
    ("spec.replicas", put(maximum=10), "spec.replicas: maximum was 1000, is 10"),
    ("spec.replicas", put(minimum=1), "spec.replicas: minimum was 0, is 1"),
    ("spec.replicas", put(type="string"), "spec.replicas: was integer, is string"),
    ("spec.replicas", put(default=2), "spec.replicas: the default was 1, is 2"),
    ("spec.replicas", drop("default"), "spec.replicas: the default was 1, is None"),
    ("spec.execution.maxInFlight", put(default=9), "spec.execution.maxInFlight: the default was None, is 9"),
    ("spec.execution.maxInFlight", drop("nullable"), "may not be null any more"),
    ("spec.profile", put(enum=["None"]), "spec.profile: the choice LowLatency is gone"),
    ("spec.handler.entrypoint", put(enum=["a:b"]), "only a:b are left"),
    ("spec.handler.entrypoint", put(pattern="^a"), "pattern was not set, is ^a"),
    ("spec.handler.entrypoint", put(maxLength=10), "maxLength was 512, is 10"),
    (f"{KAFKA}.topics", put(maxItems=1), "spec.source.kafka.topics: maxItems was 64, is 1"),
    (f"{KAFKA}.topics.*", put(minLength=5), "spec.source.kafka.topics[]: minLength was 1, is 5"),
    (f"{KAFKA}.properties", put(maxProperties=1), "maxProperties was 64, is 1"),
    (f"{KAFKA}.properties.*", put(maxLength=1), "spec.source.kafka.properties.*: maxLength was 1024, is 1"),
    (f"{KAFKA}.properties", drop("additionalProperties"), "takes no names of one's own any more"),
    ("spec.podTemplate.spec.affinity", drop("x-kubernetes-preserve-unknown-fields"), "takes only known fields now"),
    (KAFKA, rule("self.consumerGroup != 'x'"), "spec.source.kafka: a rule is new: no"),
    ("status.tuning", lambda schema: schema["properties"].pop("history"), "status.tuning.history: the field is gone"),
]  # fmt: skip
WIDER = [
    ("spec", lambda schema: schema["properties"].update(fresh={"type": "string", "default": "x"})),
    ("spec", lambda schema: schema["required"].remove("handler")),
    ("spec.replicas", put(maximum=2_000, minimum=-1)),
    ("spec.replicas", drop("maximum", "minimum")),
    ("spec.replicas", put(nullable=True)),
    ("spec.profile", lambda schema: schema["enum"].append("Another")),
    ("spec.profile", drop("enum")),
    ("spec.handler.entrypoint", put(maxLength=10_000)),
    ("spec.handler.entrypoint", put(description="other words")),
    (KAFKA, drop("x-kubernetes-validations")),
]


@pytest.mark.parametrize(("path", "change", "words"), NARROWER, ids=[words for _, _, words in NARROWER])
def test_what_narrows_is_named(path: str, change: Callable[[dict[str, Any]], object], words: str) -> None:
    """The sentence has the field's path and what became of it."""
    assert any(words in sentence for sentence in changed(path, change))


@pytest.mark.parametrize(("path", "change"), WIDER)
def test_what_widens_is_let_through(path: str, change: Callable[[dict[str, Any]], object]) -> None:
    """A new field, a wider bound, a further choice, other words."""
    assert changed(path, change) == []


def test_a_rule_about_a_new_field_is_no_break() -> None:
    """No released manifest has the field, so none can be refused for it."""

    def with_field(schema: dict[str, Any]) -> None:
        schema["properties"]["fresh"] = {"type": "string"}
        rule("!has(self.fresh) || has(self.topics)")(schema)

    assert changed(KAFKA, with_field) == []


def places(schema: dict[str, Any], at: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the place of every field below a schema."""
    for name, part in schema.get("properties", {}).items():
        yield (*at, name)
        yield from places(part, (*at, name))
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from places(schema[key], (*at, "*"))


def test_no_field_can_go_unseen() -> None:
    """Taken out one after the other, each field of spec and status is missed."""
    released = copy.deepcopy(CURRENT)
    every = list(places(schema_at(released, ""), ()))
    assert len(every) > 250
    for *parents, name in every:
        mutated = schema_at(released, ".".join(parents))["properties"]
        kept = mutated.pop(name)
        try:
            assert breaks(CURRENT, released), name
        finally:
            mutated[name] = kept


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda spec: spec.update(scope="Cluster"), "scope changed"),
        (lambda spec: spec["names"].update(shortNames=[]), "the short name pcon is gone"),
        (lambda spec: spec["names"].update(plural="consumers"), "names.plural changed"),
        (lambda spec: spec["versions"][0].update(served=False), "version v1alpha1 is not served any more"),
        (lambda spec: spec["versions"][0]["subresources"].pop("scale"), "scale subresource"),
    ],
)
def test_names_and_versions_stay(change: Callable[[dict[str, Any]], object], words: str) -> None:
    """What clients and autoscalers address the resource by."""
    mutated = copy.deepcopy(CURRENT)
    change(mutated["spec"])
    assert any(words in sentence for sentence in breaks(CURRENT, mutated))


@pytest.mark.parametrize("file", sorted(RELEASED.glob("*.yaml")), ids=lambda file: file.stem)
def test_this_definition_takes_what_a_released_one_took(file: Path) -> None:
    """What `make check` asks of the last release, asked of all."""
    assert breaks(yaml.safe_load(file.read_text()), definition()) == []
