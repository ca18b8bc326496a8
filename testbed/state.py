"""What a running part writes down: its processes and its addresses, one JSON file per part.

A file is written after every process that starts, so that a half-failed `up` and a crash leave a true record. Whether a
recorded process still lives is asked in processes.py, never here.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from pydantic import BaseModel, Field

from testbed.layout import Instance, Part


@cache
def boot_id() -> str:
    """Identity of this boot of the machine: pids and start times of an earlier one mean nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class ProcessRecord(BaseModel):
    """One started process. A pid alone is not an identity: the kernel hands it out again."""

    name: str
    pid: int
    started_ticks: int = Field(description="field 22 of /proc/<pid>/stat: clock ticks after boot")
    log: Path


class PartState(BaseModel):
    """What is known of a part that was brought up. Facts are its addresses, ports and files."""

    part: Part
    since: datetime = Field(default_factory=lambda: datetime.now(UTC))
    boot_id: str = Field(default_factory=boot_id)
    complete: bool = Field(default=False, description="true once the part was seen ready")
    facts: dict[str, str] = Field(default_factory=dict)
    processes: dict[str, ProcessRecord] = Field(default_factory=dict)


def folder(instance: Instance, part: Part) -> Path:
    """Where the part keeps its data, logs and generated configuration."""
    return instance.run / part.value


def load(instance: Instance, part: Part) -> PartState | None:
    """The recorded state, or None when the part was never brought up, was taken down, or ran before the last boot."""
    try:
        text = _file(instance, part).read_text()
    except FileNotFoundError:
        return None
    found = PartState.model_validate_json(text)
    return found if found.boot_id == boot_id() else None


def save(instance: Instance, state: PartState) -> None:
    """Write the state so that a reader sees the old or the new, never half."""
    target = _file(instance, state.part)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(".draft")
    draft.write_text(state.model_dump_json(indent=2))
    draft.replace(target)


def forget(instance: Instance, part: Part) -> None:
    """Remove the record; the part counts as down."""
    _file(instance, part).unlink(missing_ok=True)


def _file(instance: Instance, part: Part) -> Path:
    return instance.run / f"{part.value}.json"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an advisory lock on `path` across processes; waits for whoever has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
