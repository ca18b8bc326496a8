"""The files that are made: the definition, the reference pages and the runbook's page; and what releases bind it to.

`make check` compares the files, and asks whether the definition still takes what the last release took.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from parallel_consumer_operator import reference
from parallel_consumer_operator.resource.compatibility import breaks
from parallel_consumer_operator.resource.definition import definition
from parallel_consumer_operator.runbook import rendering

_HEADER = "# Made from operator/parallel_consumer_operator/resource by `make generate`; do not edit.\n"


def files(crds: Path) -> dict[Path, str]:
    """Return the text of each generated file by its path."""
    docs = crds.parent / "docs"
    return {
        crds / "parallelconsumers.yaml": _HEADER + _yaml(definition()),
        docs / rendering.PAGE: rendering.markdown(),
        **{docs / "reference" / name: text for name, text in reference.pages(definition()).items()},
    }


def broken_promises(crds: Path) -> list[str]:
    """Return how today's definition takes less than the last release's, `released/<version>.yaml`; [] if it does not.

    A release puts its definition there: `cp crds/parallelconsumers.yaml crds/released/<version>.yaml`.
    """
    released = sorted((crds / "released").glob("*.yaml"), key=_version)
    return breaks(yaml.safe_load(released[-1].read_text()), definition()) if released else []


def _version(file: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in file.stem.split("."))


def _yaml(manifest: dict[str, Any]) -> str:
    """Return YAML without anchors: JSON knows none, so that a way through it separates what Python shares."""
    return yaml.safe_dump(json.loads(json.dumps(manifest)), sort_keys=False, width=120)
