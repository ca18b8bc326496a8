"""What needs a restart of the pods, as hashes in the pod template: one of the whole, one per part to name the cause.

Everything the runtime takes in while it runs is left out; that list is the runtime's (`consumer_runtime.reload`), and a
test holds the two together. Pure.
"""

import json
from collections.abc import Mapping
from typing import Any

from consumer_runtime.contract.knobs import camel_case, hot_knobs
from consumer_runtime.contract.settings import RuntimeSettings
from parallel_consumer_operator.desired.owner import content_hash
from parallel_consumer_operator.resource import names


def restart_parts(settings: RuntimeSettings, secret_versions: Mapping[str, str | None]) -> dict[str, str]:
    """Return a hash for each part whose change restarts the pods, by the part's name in the spec."""
    document = restart_document(settings)
    execution = document.pop("execution")
    parts: dict[str, Any] = {f"execution.{camel_case(name)}": value for name, value in execution.items()}
    parts |= {f"source.kafka.{camel_case(name)}": value for name, value in document.pop("source")["kafka"].items()}
    parts |= {camel_case(name): value for name, value in document.items()}
    parts["secrets"] = dict(sorted(secret_versions.items()))
    return {name: content_hash(value)[:8] for name, value in parts.items()}


def restart_document(settings: RuntimeSettings) -> dict[str, Any]:
    """Return the settings without everything that a running consumer takes in."""
    return settings.model_dump(
        mode="json",
        exclude={
            "generation": True,
            "log_level": True,
            "retry": True,
            "execution": {*hot_knobs(), "process"},
            "dead_letter": {"payload_mode"},
        },
    )


def restart_annotations(settings: RuntimeSettings, secret_versions: Mapping[str, str | None]) -> dict[str, str]:
    """Return the pod template's annotations."""
    parts = restart_parts(settings, secret_versions)
    return {
        names.ANNOTATION_RESTART_HASH: content_hash(parts),
        names.ANNOTATION_RESTART_PARTS: json.dumps(parts, sort_keys=True),
    }


def restart_cause(live: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> tuple[str, ...]:
    """Return which parts of the wanted Deployment's template are not as in the live one; () for a new one."""
    if live is None:
        return ()
    before, after = _parts(live), _parts(wanted)
    changed = sorted(name for name in after if before.get(name) != after[name])
    return tuple(changed)


def _parts(manifest: Mapping[str, Any]) -> dict[str, str]:
    annotations = manifest["spec"]["template"]["metadata"].get("annotations") or {}
    try:
        parts = json.loads(annotations.get(names.ANNOTATION_RESTART_PARTS, "{}"))
    except ValueError:
        return {}
    return parts if isinstance(parts, dict) else {}
