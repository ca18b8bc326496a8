"""The reference pages, made from what the code enforces: resource, knobs, metrics. Pure: no file is written."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from consumer_runtime.contract.knobs import Knobs, ProcessKnobs, camel_case
from consumer_runtime.contract.metrics import CATALOGUE, CLIENT_CATALOGUE, Metric
from parallel_consumer_operator import exposition

Schema = Mapping[str, Any]

RESOURCE_PAGE, KNOBS_PAGE, METRICS_PAGE = "parallelconsumer.md", "knobs.md", "metrics.md"
"""Under docs/reference/."""
_MADE = "Made from {source} by `make generate`; do not edit."
_BOUNDS = {
    "minLength": "at least {} characters", "maxLength": "at most {} characters", "minItems": "at least {} items",
    "maxItems": "at most {} items", "maxProperties": "at most {} entries", "pattern": "matches `{}`",
    "format": "{}",
}  # fmt: skip
_PRECEDENCE = """\
A value in `spec` wins over the profile's, the profile's over the built-in default; `status.effective` shows each with
its source. A field without a default here may be filled by a profile, or is simply left out."""
_OPEN = "x-kubernetes-preserve-unknown-fields"


def pages(definition: Schema) -> dict[str, str]:
    """Return the text of each page by its name."""
    return {RESOURCE_PAGE: resource_page(definition), KNOBS_PAGE: knobs_page(), METRICS_PAGE: metrics_page()}


def resource_page(definition: Schema) -> str:
    """Return the page of the whole resource: every field with type, bounds, default and what it is; every rule."""
    names, (version,) = definition["spec"]["names"], definition["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    short, category = names["shortNames"][0], names["categories"][0]
    api = f"{definition['spec']['group']}/{version['name']}"
    head = [
        f"# {names['kind']}",
        _MADE.format(source="operator/parallel_consumer_operator/resource"),
        f"`apiVersion: {api}`, short name `{short}`, category `{category}`; see also `kubectl explain {short}`.",
        _PRECEDENCE,
    ]
    columns = [
        f"| {each['name']} | `{each['jsonPath']}` | {each['description']} | {'yes' if each['priority'] else ''} |"
        for each in version["additionalPrinterColumns"]
    ]
    table = ["| column | from | what it is | only with `-o wide` |", "|---|---|---|---|", *columns]
    parts = [*head, *_rules(schema), *_objects(schema["properties"]["spec"], "spec")]
    parts += [*_objects(schema["properties"]["status"], "status"), "## Columns of `kubectl get`", "\n".join(table)]
    return "\n\n".join(parts) + "\n"


def knobs_page() -> str:
    """Return the page of the knobs: names, unit, bounds, default, and what a change takes."""
    rows = [*_knobs(Knobs, "execution"), *_knobs(ProcessKnobs, "execution.process")]
    head = ["# Knobs", _MADE.format(source="consumer_runtime/contract/knobs.py")]
    table = ["| in the resource | in the settings file | unit | bounds | default | a change | tuned | what it is |"]
    return "\n\n".join([*head, "\n".join([*table, "|---|---|---|---|---|---|---|---|", *rows])]) + "\n"


def metrics_page() -> str:
    """Return the page of the metrics that a consumer pod and the operator export."""
    sources = "consumer_runtime/contract/metrics.py and operator/parallel_consumer_operator/exposition.py"
    head = ["# Metrics", _MADE.format(source=sources), "## Of a consumer", _metrics(CATALOGUE)]
    buckets = ", ".join(f"{bound:g}" for bound in next(each.buckets for each in CATALOGUE if each.buckets))
    client = [
        f"Buckets of the histograms, in seconds: {buckets}.",
        "## Of its Kafka client",
        _metrics(CLIENT_CATALOGUE),
    ]
    return "\n\n".join([*head, *client, "## Of the operator", _metrics(exposition.CATALOGUE)]) + "\n"


def _metrics(catalogue: Iterable[Metric]) -> str:
    rows = (f"| `{each.name}` | {each.kind} | {', '.join(each.labels)} | {_cell(each.help)} |" for each in catalogue)
    return "\n".join(["| metric | kind | labels | what it is |", "|---|---|---|---|", *rows])


def _knobs(model: Any, section: str) -> Iterator[str]:
    for name, schema in model.model_json_schema()["properties"].items():
        cells = [
            f"`{section}.{camel_case(name)}`", f"`{section}.{name}`", schema["x-unit"],
            f"{schema['minimum']} to {schema['maximum']}", str(schema["default"]),
            {"hot": "takes effect at once", "restart": "restarts the pods"}[schema["x-change"]],
            "yes" if schema["x-tunable"] else "", _cell(schema["description"]),
        ]  # fmt: skip
        yield f"| {' | '.join(cells)} |"


def _objects(schema: Schema, path: str) -> Iterator[str]:
    """Yield the section of an object, then those of the objects in it."""
    yield f"## `{path}`"
    if schema.get("description"):
        yield str(schema["description"])
    required = set(schema.get("required", ()))
    rows = [
        f"| `{name}` | {_type(part)} | {_cell(_bounds(part))} | {_default(part, needed=name in required)}"
        f" | {_cell(part.get('description', ''))} |"
        for name, part in schema["properties"].items()
    ]
    yield "\n".join(["| field | type | bounds | default | what it is |", "|---|---|---|---|---|", *rows])
    yield from _rules(schema)
    for name, part in schema["properties"].items():
        place, inner = _innermost(part, f"{path}.{name}")
        if inner.get("properties"):
            yield from _objects(inner, place)
        else:
            yield from _rules(part, of=f"`{path}.{name}`: ")


def _rules(schema: Schema, *, of: str = "") -> Iterator[str]:
    rules = schema.get("x-kubernetes-validations")
    if rules:
        yield "\n".join(["Refused with these words:", "", *(f"- {of}{rule['message']}" for rule in rules)])


def _innermost(schema: Schema, path: str) -> tuple[str, Schema]:
    if "items" in schema:
        return f"{path}[]", schema["items"]
    if isinstance(schema.get("additionalProperties"), Mapping):
        return f"{path}.*", schema["additionalProperties"]
    return path, schema


def _type(schema: Schema) -> str:
    if "x-kubernetes-int-or-string" in schema:
        return "integer or string"
    if _OPEN in schema:
        return "object in Kubernetes' own shape"
    if "items" in schema:
        return f"list of: {_type(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), Mapping):
        return f"map of: {_type(schema['additionalProperties'])}"
    return str(schema["type"])


def _bounds(schema: Schema) -> str:
    found = []
    if "enum" in schema:
        found.append(", ".join(f"`{choice}`" for choice in schema["enum"]))
    if "minimum" in schema and "maximum" in schema:
        found.append(f"{schema['minimum']} to {schema['maximum']}")
    elif "minimum" in schema:
        found.append(f"at least {schema['minimum']}")
    found += [words.format(schema[key]) for key, words in _BOUNDS.items() if key in schema]
    if isinstance(schema.get("items"), Mapping) and (each := _bounds(schema["items"])):
        found.append(f"each: {each}")
    if isinstance(schema.get("additionalProperties"), Mapping) and (each := _bounds(schema["additionalProperties"])):
        found.append(f"each: {each}")
    return "; ".join(found)


def _default(schema: Schema, *, needed: bool) -> str:
    if needed:
        return "needed"
    default = schema.get("default")
    return "" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
