"""The cgroup under which all pods of an instance run. After a crash it tells which processes were pods."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from testbed.layout import Instance

ROOT = Path("/sys/fs/cgroup")


def create(instance: Instance) -> None:
    """Make the cgroup in every hierarchy; kubelet refuses to start without."""
    for hierarchy in _hierarchies():
        (hierarchy / instance.name).mkdir(exist_ok=True)
    for name in ("cpuset.cpus", "cpuset.mems"):  # version 1 leaves these empty, and nothing can run in such a group
        parent, own = ROOT / "cpuset" / name, ROOT / "cpuset" / instance.name / name
        if own.exists() and not own.read_text().strip():
            own.write_text(parent.read_text())


def pids(instance: Instance) -> set[int]:
    """Every process in a pod of the instance."""
    return {pid for group in _groups(instance) for pid in _members(group)}


def remove(instance: Instance, *, seconds: float = 5.0) -> None:
    """Remove the emptied cgroup; the kernel may need a moment after the last process ended."""
    deadline = time.monotonic() + seconds
    while (left := list(_groups(instance))) and time.monotonic() < deadline:
        for group in left:
            with contextlib.suppress(OSError):
                group.rmdir()
        time.sleep(0.02)


def exists(instance: Instance) -> bool:
    """Whether any hierarchy still has the cgroup."""
    return any(_groups(instance))


def _hierarchies() -> list[Path]:
    """Version 2 alone is one hierarchy; version 1 is one per controller, with version 2 as `unified` beside them."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    return [folder for folder in ROOT.iterdir() if folder.is_dir() and not folder.is_symlink()]


def _groups(instance: Instance) -> Iterator[Path]:
    """The instance's groups, children before parents, so that they can be removed in this order."""
    for hierarchy in _hierarchies():
        top = hierarchy / instance.name
        if top.exists():
            below = [folder for folder in top.rglob("*") if folder.is_dir()]
            yield from sorted(below, key=lambda folder: -len(folder.parts))
            yield top


def _members(group: Path) -> list[int]:
    try:
        return [int(line) for line in (group / "cgroup.procs").read_text().split()]
    except OSError:  # removed meanwhile
        return []
