"""The files that are made: the CustomResourceDefinition and the runbook's page. `make check` compares them."""

import json
from pathlib import Path
from typing import Any

import yaml

from parallel_consumer_operator.resource.definition import definition
from parallel_consumer_operator.runbook import rendering

_HEADER = "# Made from operator/parallel_consumer_operator/resource by `make generate`; do not edit.\n"


def files(crds: Path) -> dict[Path, str]:
    """Return the text of each generated file by its path."""
    return {
        crds / "parallelconsumers.yaml": _HEADER + _yaml(definition()),
        crds.parent / "docs" / rendering.PAGE: rendering.markdown(),
    }


def _yaml(manifest: dict[str, Any]) -> str:
    """Return YAML without anchors: JSON knows none, so that a way through it separates what Python shares."""
    return yaml.safe_dump(json.loads(json.dumps(manifest)), sort_keys=False, width=120)
