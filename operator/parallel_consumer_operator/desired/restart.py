"""What needs a restart of the pods, as hashes in the pod template: one of the whole, one per part to name the cause.

Everything the runtime takes in while it runs is left out; that list is the runtime's (`consumer_runtime.reload`), and a
test holds the two together. What stands at its default is left out too: a field that a newer operator knows restarts
nothing. Pure.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from consumer_runtime.contract.knobs import camel_case, hot_knobs
from consumer_runtime.contract.settings import RuntimeSettings
from parallel_consumer_operator.desired.owner import content_hash
from parallel_consumer_operator.resource import names
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec

_OWN_TEMPLATE = "the operator's template of the pods"


@dataclass(frozen=True, slots=True)
class Build:
    """What the cluster adds to a spec: the runtime's image, and fingerprints of what pods read (None: missing)."""

    runtime_image: str
    secret_versions: Mapping[str, str | None] = field(default_factory=dict)
    config_map_versions: Mapping[str, str | None] = field(default_factory=dict)
    service_accounts: frozenset[str] = frozenset()
    """Those that `spec.podTemplate` may name, as namespace/name."""
    csi_drivers: frozenset[str] = frozenset()
    """Those whose inline volumes `spec.podTemplate` may ask for."""


def restart_annotations(
    settings: RuntimeSettings, spec: ParallelConsumerSpec, build: Build, pod_spec: Mapping[str, Any]
) -> dict[str, str]:
    """Return the pod template's annotations; `pod_spec` is in the hash so that no change of it goes unnoticed."""
    parts = restart_parts(settings, spec, build)
    return {
        names.ANNOTATION_RESTART_HASH: content_hash([parts, pod_spec]),
        names.ANNOTATION_RESTART_PARTS: json.dumps(parts, sort_keys=True),
    }


def restart_parts(settings: RuntimeSettings, spec: ParallelConsumerSpec, build: Build) -> dict[str, str]:
    """Return a hash for each part whose change restarts the pods, by its name in the resource."""
    document = restart_document(settings, exclude_defaults=True)
    parts: dict[str, Any] = {f"source.kafka.{name}": value for name, value in document.pop("source")["kafka"].items()}
    for section, value in document.items():
        parts |= _of_section(section, value)
    kafka = {name for name in type(spec.source.kafka).model_fields if name.endswith("_secret_ref")}
    parts |= _stated("source.kafka", spec.source.kafka, only=kafka)
    parts |= _stated("handler", spec.handler, only=_HANDLER_PARTS)
    parts |= _stated("podTemplate", spec.pod_template, only={"metadata"})
    parts |= _stated("podTemplate.spec", spec.pod_template.spec, only=set(type(spec.pod_template.spec).model_fields))
    parts["handler.image"] = spec.handler.image or build.runtime_image
    parts |= {f"the Secret {name}": version for name, version in build.secret_versions.items()}
    parts |= {f"the ConfigMap {name}": version for name, version in build.config_map_versions.items()}
    return {_spelt(name): content_hash(value)[:8] for name, value in parts.items()}


_HANDLER_PARTS = {"image_pull_policy", "image_pull_secrets", "source_config_map_ref", "env", "env_from"}


def restart_document(settings: RuntimeSettings, *, exclude_defaults: bool = False) -> dict[str, Any]:
    """Return the settings without everything that a running consumer takes in."""
    return settings.model_dump(
        mode="json",
        exclude_defaults=exclude_defaults,
        exclude={
            "profile": True,
            "generation": True,
            "log_level": True,
            "retry": True,
            "execution": {*hot_knobs(), "process"},
            "dead_letter": {"payload_mode"},
        },
    )


def restart_cause(live: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> tuple[str, ...]:
    """Return which parts of the wanted workload's template are not as in the live one; () for a new one."""
    if live is None or _annotation(live, names.ANNOTATION_RESTART_HASH) == _annotation(
        wanted, names.ANNOTATION_RESTART_HASH
    ):
        return ()
    before, after = _parts(live), _parts(wanted)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return tuple(changed) or (_OWN_TEMPLATE,)


def _of_section(section: str, value: Any) -> dict[str, Any]:
    """A section that is switched on with nothing but defaults is a part by itself."""
    if value == {}:
        return {section: value} if RuntimeSettings.model_fields[section].default is None else {}
    if not isinstance(value, dict):
        return {section: value}
    return {f"{section}.{name}": each for name, each in value.items()}


def _stated(prefix: str, model: BaseModel, *, only: set[str]) -> dict[str, Any]:
    found = model.model_dump(mode="json", exclude_defaults=True, include=only)
    return {f"{prefix}.{name}": value for name, value in found.items()}


def _spelt(name: str) -> str:
    return name if " " in name else ".".join(map(camel_case, name.split(".")))


def _parts(manifest: Mapping[str, Any]) -> dict[str, str]:
    try:
        parts = json.loads(_annotation(manifest, names.ANNOTATION_RESTART_PARTS) or "{}")
    except ValueError:
        return {}
    return parts if isinstance(parts, dict) else {}


def _annotation(manifest: Mapping[str, Any], name: str) -> str:
    annotations = manifest["spec"]["template"]["metadata"].get("annotations") or {}
    return str(annotations.get(name, ""))
