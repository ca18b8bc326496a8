"""The files that are made from the models: the CustomResourceDefinition. `make check` compares them."""

from pathlib import Path

import yaml

from parallel_consumer_operator.resource.definition import definition

_HEADER = "# Made from operator/parallel_consumer_operator/resource by `make generate`; do not edit.\n"


def files(crds: Path) -> dict[Path, str]:
    """Return the text of each generated file by its path."""
    return {crds / "parallelconsumers.yaml": _HEADER + yaml.safe_dump(definition(), sort_keys=False, width=120)}
