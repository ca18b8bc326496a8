"""Writes the files that are made from the models: the CustomResourceDefinition. `make check` compares them."""

from pathlib import Path

import yaml

from parallel_consumer_operator.resource.definition import definition

_HEADER = "# Made from operator/parallel_consumer_operator/resource by `make generate`; do not edit.\n"


def write_definition(directory: Path) -> Path:
    """Write the CustomResourceDefinition as YAML into the directory; return the file's path."""
    path = directory / "parallelconsumers.yaml"
    path.write_text(_HEADER + yaml.safe_dump(definition(), sort_keys=False, width=120))
    return path
