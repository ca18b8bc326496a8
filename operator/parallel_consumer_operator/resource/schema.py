"""Turns pydantic's JSON schema into a Kubernetes structural schema. Pure, and knows nothing of this resource.

A structural schema has no `$ref`, no null in a union, no numeric `exclusiveMinimum`, no unknown keywords, and no
`additionalProperties: false` beside `properties` (the API server prunes or refuses unknown fields by itself). See
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

_KEPT = (
    "type", "description", "enum", "default", "minimum", "maximum", "minLength", "maxLength", "pattern", "minItems",
    "maxItems", "minProperties", "maxProperties", "required", "format", "nullable",
)  # fmt: skip
_MAX_DEPTH = 32


class UnsupportedSchemaError(ValueError):
    """A model uses something that a structural schema cannot say."""


def structural(model: type[BaseModel]) -> Schema:
    """Return the structural schema of a model, by its aliases; raises UnsupportedSchemaError with the place."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(schema, schema.get("$defs", {}), path=model.__name__, depth=0)


def _convert(schema: Mapping[str, Any], definitions: Mapping[str, Any], *, path: str, depth: int) -> Schema:
    if depth > _MAX_DEPTH:
        raise UnsupportedSchemaError(f"{path}: a structural schema cannot refer to itself")
    schema = _plain(schema, definitions, path=path)
    converted = {key: schema[key] for key in _KEPT if key in schema} | _extensions(schema)
    converted |= _whole_bounds(schema)
    if "const" in schema:
        converted["enum"] = [schema["const"]]
    converted["description"] = " ".join(inspect.cleandoc(str(converted.get("description", ""))).split())
    if not converted["description"]:
        del converted["description"]
    if isinstance(converted.get("default"), dict | list) or converted.get("default", ...) is None:
        del converted["default"]
    if "properties" in schema:
        converted["properties"] = {
            name: _convert(part, definitions, path=f"{path}.{name}", depth=depth + 1)
            for name, part in schema["properties"].items()
        }
    open_object = "x-kubernetes-preserve-unknown-fields" in converted
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict) and not open_object:
            converted[key] = _convert(schema[key], definitions, path=f"{path}[]", depth=depth + 1)
    if "type" not in converted and "x-kubernetes-int-or-string" not in converted:
        raise UnsupportedSchemaError(f"{path}: a structural schema needs one type here, found {dict(schema)}")
    return converted


def _plain(schema: Mapping[str, Any], definitions: Mapping[str, Any], *, path: str) -> Schema:
    """Return the schema without references and unions at its top; one may hide the other a few times over."""
    plain = dict(schema)
    for _ in range(_MAX_DEPTH):
        if not {"$ref", "allOf", "anyOf"} & plain.keys():
            return plain
        plain = _without_null(_inlined(plain, definitions), path=path)
    raise UnsupportedSchemaError(f"{path}: a structural schema cannot refer to itself")


def _inlined(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """Put the referenced definition in place; what stands beside the reference wins (a field's own description)."""
    merged = dict(schema)
    for reference in [part["$ref"] for part in (merged, *merged.pop("allOf", [])) if "$ref" in part]:
        merged = {**definitions[reference.rsplit("/", 1)[-1]], **merged}
    merged.pop("$ref", None)
    return merged


def _without_null(schema: Schema, *, path: str) -> Schema:
    """`anyOf: [X, null]` says that the field may be null: X with `nullable`. Other unions cannot be said."""
    choices = schema.pop("anyOf", None)
    if choices is None:
        return schema
    real = [choice for choice in choices if choice.get("type") != "null"]
    if sorted(str(choice.get("type")) for choice in real) == ["integer", "string"]:
        return {**schema, "x-kubernetes-int-or-string": True}
    if len(real) != 1:
        raise UnsupportedSchemaError(f"{path}: a structural schema cannot choose between {real}")
    nullable = {"nullable": True} if len(real) < len(choices) else {}
    return {**real[0], **schema, **nullable}


def _whole_bounds(schema: Mapping[str, Any]) -> Schema:
    bounds: Schema = {}
    if isinstance(schema.get("exclusiveMinimum"), int):
        bounds["minimum"] = schema["exclusiveMinimum"] + 1
    if isinstance(schema.get("exclusiveMaximum"), int):
        bounds["maximum"] = schema["exclusiveMaximum"] - 1
    return bounds


def _extensions(schema: Mapping[str, Any]) -> Schema:
    return {key: value for key, value in schema.items() if key.startswith("x-kubernetes-")}
