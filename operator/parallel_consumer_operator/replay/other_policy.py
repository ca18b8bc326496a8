"""Another policy for decisions that were recorded: a file whose fields replace those of `spec.tuning`.

What the file leaves out stays as it was recorded, bounds included. It decides nothing.
"""

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from parallel_consumer_operator.replay.recording import UnreadableError, complaint, fields
from parallel_consumer_operator.resource import names
from parallel_consumer_operator.resource.tuning import Knob, TuningSpec
from parallel_consumer_operator.tuning.policy import Bounds, Policy

Changes = dict[str, Any]


def read(path: Path) -> Changes:
    """Return the changes of a file: fields of `spec.tuning`, bare or in a whole ParallelConsumer.

    Raises UnreadableError naming file, line or field, and what is allowed.
    """
    try:
        loaded = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise UnreadableError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    changes = _tuning(path, loaded)
    _require_known(str(path), changes, TuningSpec)
    return changes


def policy(path: Path, recorded: Policy, changes: Changes) -> Policy:
    """Return the recorded policy with the changes; raises UnreadableError for what they make of it."""
    spec = recorded.spec.model_dump(mode="json", by_alias=True)
    try:
        changed = TuningSpec.model_validate(_merged(spec, changes))
    except ValidationError as error:
        raise complaint(error, str(path)) from error
    bounds = {knob: _fence(path, changed, knob, before) for knob, before in recorded.bounds.items()}
    return recorded.model_copy(update={"spec": changed, "bounds": bounds})


def _tuning(path: Path, loaded: Any) -> Changes:
    whole = loaded if isinstance(loaded, dict) else None
    if whole is not None and whole.get("kind") == names.KIND:
        whole = (whole.get("spec") or {}).get("tuning")
    if not isinstance(whole, dict) or not whole:
        raise UnreadableError(f"{path}: the fields of spec.tuning are allowed: {fields(TuningSpec)}")
    return whole


def _require_known(where: str, section: Any, model: type[BaseModel]) -> None:
    """Name an unknown field and those that exist; what else is wrong shows when the policy is made."""
    if not isinstance(section, dict):
        return
    known = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    for name, value in section.items():
        if name not in known:
            raise UnreadableError(f"{where}: {name}: no such field, allowed are {fields(model)}")
        inner = known[name]
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            _require_known(f"{where}: {name}", value, inner)


def _merged(before: Any, changes: Any) -> Any:
    if not isinstance(before, dict) or not isinstance(changes, dict):
        return changes
    return {**before, **{name: _merged(before.get(name), value) for name, value in changes.items()}}


def _fence(path: Path, spec: TuningSpec, knob: Knob, before: Bounds) -> Bounds:
    """A stated bound wins over the recorded one, which already holds what profile and start made of it."""
    stated = spec.knobs.of(knob)
    low = before.min if stated.min is None else stated.min
    high = before.max if stated.max is None else stated.max
    if low > high:
        raise UnreadableError(f"{path}: knobs.{knob}: {low}..{high} is not allowed: min must be at most max")
    return Bounds(min=low, max=high)
