"""A case as a file, for the processes that take part in it."""

import dataclasses
import json
from enum import StrEnum
from pathlib import Path
from typing import Any

from benchmarks.chaos.plan import Case, Family, Protocol
from consumer_runtime.contract.settings import Mode, Ordering

_NAME = "case.json"
_KINDS: dict[str, type[StrEnum]] = {"mode": Mode, "ordering": Ordering, "protocol": Protocol}


def write_case(case: Case, folder: Path) -> None:
    """Write the case into its folder."""
    (folder / _NAME).write_text(json.dumps(dataclasses.asdict(case), indent=2) + "\n")


def read_case(folder: Path) -> Case:
    """Return the case of a folder; raises FileNotFoundError where none was written."""
    fields: dict[str, Any] = json.loads((folder / _NAME).read_text())
    for name, kind in _KINDS.items():
        fields[name] = kind(fields[name])
    fields["families"] = tuple(map(Family, fields["families"]))
    return Case(**fields)
