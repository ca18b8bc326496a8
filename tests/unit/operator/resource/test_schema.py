"""The converter: what pydantic says becomes what a structural schema may say."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from parallel_consumer_operator.resource.definition import definition
from parallel_consumer_operator.resource.schema import UnsupportedSchemaError, structural


class Colour(StrEnum):
    """A closed choice."""

    RED = "red"


class Inner(BaseModel):
    """The inner model's own words."""

    size: int = 3


class Tree(BaseModel):
    """Refers to itself."""

    children: list["Tree"] = []


def property_of(annotation: Any, default: Any = ...) -> dict[str, Any]:
    """Return the structural schema of a field with this annotation."""
    model = type("Sample", (BaseModel,), {"__annotations__": {"field": annotation}, **_default(default)})
    schema: dict[str, Any] = structural(model)["properties"]["field"]
    return schema


def _default(default: Any) -> dict[str, Any]:
    return {} if default is ... else {"field": default}


@pytest.mark.parametrize(
    ("annotation", "default", "expected"),
    [
        (int, ..., {"type": "integer"}),
        (int | None, None, {"type": "integer", "nullable": True}),
        (Annotated[int, Field(gt=0, lt=10)], ..., {"type": "integer", "minimum": 1, "maximum": 9}),
        (
            Annotated[int, Field(ge=1, le=9)] | None,
            None,
            {"type": "integer", "minimum": 1, "maximum": 9, "nullable": True},
        ),
        (Colour, Colour.RED, {"type": "string", "enum": ["red"], "default": "red", "description": "A closed choice."}),
        (list[str], [], {"type": "array", "items": {"type": "string"}}),
        (dict[str, int], ..., {"type": "object", "additionalProperties": {"type": "integer"}}),
        (int | str, ..., {"x-kubernetes-int-or-string": True}),
        (bool, False, {"type": "boolean", "default": False}),
    ],
)
def test_a_field_becomes(annotation: Any, default: Any, expected: dict[str, Any]) -> None:
    """Null becomes nullable, exclusive bounds whole ones; lists and objects have no default."""
    assert property_of(annotation, default) == expected


def test_references_are_put_in_place_and_a_fields_own_words_win() -> None:
    """No $ref is left, and the description is the field's where it has one."""
    described = property_of(Annotated[Inner, Field(description="The field's words.")])
    assert described["description"] == "The field's words."
    assert described["properties"]["size"] == {"type": "integer", "default": 3}
    assert property_of(Inner)["description"] == "The inner model's own words."


@pytest.mark.parametrize("annotation", [Tree, int | list[str], Any])
def test_what_cannot_be_said_is_refused(annotation: Any) -> None:
    """A union, a recursion or an untyped field is an error that names the place, not a wrong schema."""
    with pytest.raises(UnsupportedSchemaError, match=r"Sample\.field"):
        property_of(annotation)


def every_schema(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each schema of a tree with its path."""
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from every_schema(part, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from every_schema(schema[key], f"{path}.{key}")


def the_schema() -> dict[str, Any]:
    """Return the definition's schema of spec and status."""
    schema: dict[str, Any] = definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    return {"type": "object", "properties": {"spec": schema["spec"], "status": schema["status"]}}


ALL = list(every_schema(the_schema(), ""))


@pytest.mark.parametrize(("path", "schema"), ALL, ids=[path or "root" for path, _ in ALL])
def test_everything_in_the_definition_is_bounded(path: str, schema: dict[str, Any]) -> None:
    """Lists, texts and maps have a limit (CEL's cost is estimated from it), and no keyword is one that CRDs lack."""
    match schema.get("type"):
        case "array":
            assert "maxItems" in schema
        case "string":
            assert schema.keys() & {"maxLength", "enum"} or schema.get("format") == "date-time"
        case "object" if "additionalProperties" in schema:
            assert "maxProperties" in schema
    assert not schema.keys() & {"$ref", "anyOf", "allOf", "title", "const", "exclusiveMinimum", "exclusiveMaximum"}
    assert not [key for key in schema if key.startswith("x-") and not key.startswith("x-kubernetes-")]


def test_no_default_where_a_profile_may_fill() -> None:
    """The API server would fill such a field before the profile could."""
    execution = the_schema()["properties"]["spec"]["properties"]["execution"]["properties"]
    assert [name for name, schema in execution.items() if "default" in schema] == ["ordering"]


def test_each_field_explains_itself() -> None:
    """`kubectl explain` has words for every field of spec and status."""
    silent = [path for path, schema in ALL if path and not schema.get("description")
              and not path.endswith(("items", "additionalProperties"))]  # fmt: skip
    assert silent == []
