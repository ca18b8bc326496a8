"""The ConfigMap that holds the runtime's settings: the only place where tuned values reach the pods. Pure."""

import json
from typing import Any

import yaml

from consumer_runtime.contract.knobs import tunable_knobs
from consumer_runtime.contract.settings import RuntimeSettings
from parallel_consumer_operator.desired.effective import Effective, Tuned
from parallel_consumer_operator.desired.owner import Owner, child
from parallel_consumer_operator.port import Manifest
from parallel_consumer_operator.resource import names


def settings_map(owner: Owner, effective: Effective, *, generation: int) -> Manifest:
    """Return the ConfigMap with the settings of a generation."""
    document = {"generation": generation, **_document(effective.settings)}
    tuned = {name: {"value": step.value, "start": step.start} for name, step in effective.tuned.items()}
    return child(
        owner,
        api_version="v1",
        kind="ConfigMap",
        name=names.settings_name(owner.name),
        annotations={names.ANNOTATION_TUNED: json.dumps(tuned, sort_keys=True)},
        data={names.SETTINGS_KEY: yaml.safe_dump(document, sort_keys=False)},
    )


def next_generation(effective: Effective, *, live: Manifest | None, known: int) -> int:
    """Return the generation under which these settings are written: the live one while its content is the same.

    `known` is the newest generation in the status: a deleted ConfigMap does not start counting again.
    """
    if live is None:
        return known + 1
    document = _parsed(live)
    generation = generation_of(live)
    document.pop("generation", None)
    return generation if generation > 0 and document == _document(effective.settings) else max(generation, known) + 1


def generation_of(live: Manifest) -> int:
    """Return the generation in a live ConfigMap, 0 when it holds none."""
    generation = _parsed(live).get("generation", 0)
    return generation if isinstance(generation, int) else 0


def tuned_in(live: Manifest | None) -> dict[str, Tuned]:
    """Return the tuned values that a live ConfigMap carries, the truth when the status was lost; none if unreadable."""
    text = ((live or {}).get("metadata", {}).get("annotations") or {}).get(names.ANNOTATION_TUNED, "{}")
    try:
        return {
            name: Tuned(value=int(step["value"]), start=int(step["start"])) for name, step in json.loads(text).items()
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def _document(settings: RuntimeSettings) -> dict[str, Any]:
    """Return the settings as a file says them: what stands at its default is left out, tunable knobs and mode are not.

    A runtime one version behind does not know the newest fields; while they are at their default it need not.
    """
    document: dict[str, Any] = settings.model_dump(mode="json", exclude_defaults=True, exclude={"generation"})
    execution = settings.model_dump(mode="json")["execution"]
    always = {"mode": execution["mode"], **{name: execution[name] for name in tunable_knobs()}}
    return {**document, "execution": {**always, **document.get("execution", {})}}


def _parsed(live: Manifest) -> dict[str, Any]:
    try:
        document = yaml.safe_load((live.get("data") or {}).get(names.SETTINGS_KEY, ""))
    except yaml.YAMLError:
        return {}
    return document if isinstance(document, dict) else {}
