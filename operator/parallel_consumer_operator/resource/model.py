"""The root of the resource's models, and how a model of the contract becomes a part of the resource."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from consumer_runtime.contract.knobs import camel_case


class Model(BaseModel):
    """A part of the spec: camelCase outside, unknown fields refused, values do not change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, alias_generator=camel_case, populate_by_name=True
    )


class StatusModel(BaseModel):
    """A part of the status: what an older or newer operator wrote is read as far as it is known."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, use_attribute_docstrings=True, alias_generator=camel_case, populate_by_name=True
    )


def optional_fields(contract: type[BaseModel], *, name: str, leave_out: tuple[str, ...] = ()) -> Any:
    """Return a Model with each of the contract's fields, optional and without a default.

    A field that a profile may fill must not have a default in the schema: the API server would fill it first.
    The built-in default is named in the description instead; `desired/effective.py` puts it in.
    """
    fields: dict[str, Any] = {
        key: (Annotated[field.annotation, _described(field)] | None, None)
        for key, field in contract.model_fields.items()
        if key not in leave_out
    }
    return create_model(name, __base__=Model, __doc__=contract.__doc__, __module__=__name__, **fields)


def required_fields(contract: type[BaseModel], *, name: str) -> Any:
    """Return a Model with the contract's fields as they are: required ones required, camelCase outside."""
    fields: dict[str, Any] = {
        key: (Annotated[field.annotation, _described(field)], field.default if not field.is_required() else ...)
        for key, field in contract.model_fields.items()
    }
    return create_model(name, __base__=Model, __doc__=contract.__doc__, __module__=__name__, **fields)


def _described(field: FieldInfo) -> FieldInfo:
    """Return the field's bounds, with a description that also tells unit, default and what a change takes."""
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    notes = [field.description or ""]
    if "x-unit" in extra:
        notes.append(f"In {extra['x-unit']}.")
    if not field.is_required() and field.default is not None and not isinstance(field.default, BaseModel | list):
        notes.append(f"Default: {getattr(field.default, 'value', field.default)}.")
    if "x-change" in extra:
        notes.append("Takes effect at once." if extra["x-change"] == "hot" else "A change restarts the pods.")
    limits = {key: value for rule in field.metadata for key, value in _limits(rule).items()}
    return Field(description=" ".join(filter(None, notes)), **limits)  # type: ignore[no-any-return]


def _limits(rule: Any) -> dict[str, Any]:
    known = ("ge", "le", "gt", "lt", "min_length", "max_length", "pattern")
    return {key: getattr(rule, key) for key in known if getattr(rule, key, None) is not None}
