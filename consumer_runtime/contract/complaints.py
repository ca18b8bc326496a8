"""What is wrong with settings, in words for whoever wrote them. Pure.

Not here: other errors (`consumer_runtime.errors`), the custom resource's spelling of a field (`settings_file`).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from consumer_runtime.contract.root import ConsumerError

Location = tuple[str | int, ...]
_SHOWN_AT_MOST = 200
_PLAIN = ("str", "int", "float", "bool")
_SECRET_WORDS = ("password", "secret", "passphrase", ".pem", "oauthbearer.config")


class Complaint(NamedTuple):
    """One thing that is wrong: where, what stands there (secrets hidden), and what is allowed instead."""

    location: Location
    value: str
    remedy: str

    def __str__(self) -> str:
        return f"{joined(self.location) or 'settings'} is {self.value!r}: {self.remedy}"


class InvalidSettingsError(ConsumerError, ValueError):
    """Settings that cannot be taken; `complaints` has each reason."""

    def __init__(self, complaints: list[Complaint]) -> None:
        super().__init__("\n".join(map(str, complaints)))
        self.complaints = complaints


def complaints(error: ValidationError, model: type[BaseModel]) -> list[Complaint]:
    """Return what pydantic found in settings of a model, once for each place."""
    found: dict[Location, Complaint] = {}
    for each in error.errors(include_url=False):
        place = each["loc"]
        is_choice = bool(place) and place[-1] in _PLAIN  # pydantic names each kind that a value might have been
        place = place[:-1] if is_choice else place
        remedy = "must be a text, a number, true or false" if is_choice else _remedy(each, model)
        found.setdefault(place, Complaint(place, shown(each["input"]), remedy))
    return list(found.values())


def joined(location: Location) -> str:
    """Return a location as people write it: `source.kafka.topics[0]`."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.removeprefix(".")


def shown(value: object) -> str:
    """Return a value as text of bounded length, without secrets."""
    text = value if isinstance(value, str) else repr(_without_secrets(value))
    return text if len(text) <= _SHOWN_AT_MOST else text[:_SHOWN_AT_MOST] + "..."


def _without_secrets(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: "(hidden)" if _is_secret(name) else _without_secrets(each) for name, each in value.items()}
    return [_without_secrets(each) for each in value] if isinstance(value, list) else value


def _is_secret(name: object) -> bool:
    return any(word in str(name) for word in _SECRET_WORDS)


def _remedy(error: Any, model: type[BaseModel]) -> str:
    if error["type"] == "extra_forbidden":
        return f"there is no such field; {_alternatives(error['loc'], model)}"
    if error["type"] == "missing":
        return "is needed and missing"
    message = str(error["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _alternatives(location: Location, model: type[BaseModel]) -> str:
    found: Any = model
    for part in location[:-1]:
        found = _model_within(found.model_fields[part].annotation) if isinstance(part, str) else found
        if found is None:
            return "take it out"
    allowed = "allowed are: " + ", ".join(found.model_fields)
    elsewhere = _place_of(str(location[-1]), model)
    return f"it belongs to {elsewhere}; here {allowed}" if elsewhere else allowed


def _place_of(name: str, model: Any, at: str = "") -> str:
    """Return where a model has a field of that name, empty when nowhere."""
    for each, field in model.model_fields.items():
        inner = _model_within(field.annotation)
        if inner is not None and (name in inner.model_fields or _place_of(name, inner)):
            return at + each if name in inner.model_fields else _place_of(name, inner, f"{at}{each}.")
    return ""


def _model_within(annotation: Any) -> Any:
    if hasattr(annotation, "model_fields"):
        return annotation
    return next((found for each in getattr(annotation, "__args__", ()) if (found := _model_within(each))), None)
