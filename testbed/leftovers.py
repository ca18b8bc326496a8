"""What of a part is still on the machine: processes, mounts, links, namespaces, cgroups. Seen, not recorded.

`down` sweeps with it, so that a crash or a half-failed `up` leaves nothing either; tests count with it.
"""

import contextlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from testbed import cgroups, network, processes, state
from testbed.layout import Instance, Part

CNI_RESULTS = Path("/var/lib/cni/results")
CONTAINER_LOGS = Path("/var/log/containers")


@dataclass(frozen=True)
class Leftovers:
    """What was found; falsy when nothing was."""

    processes: frozenset[int]
    mounts: frozenset[Path]
    links: frozenset[str]
    cgroup: bool

    def __bool__(self) -> bool:
        return bool(self.processes or self.mounts or self.links or self.cgroup)


def find(instance: Instance) -> Leftovers:
    """Everything of an instance that is on the machine now, whether it is wanted or not."""
    pids = {pid for part in Part for pid in processes.marked(instance, part)} | cgroups.pids(instance)
    link = {instance.name} if network.exists(instance) or network.namespace(instance).exists() else set()
    return Leftovers(frozenset(pids), frozenset(mounts(instance.run)), frozenset(link), cgroups.exists(instance))


def mounts(folder: Path) -> list[Path]:
    """Mount points below a folder, the last mounted first."""
    points = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = Path(line.split()[4].encode().decode("unicode_escape"))
        if point.is_relative_to(folder):
            points.append(point)
    return points[::-1]


def sweep(instance: Instance, part: Part, *, grace_seconds: float = 2.0) -> None:
    """End every process of the part, unmount what is below its folder, delete folder and record; its order is over."""
    processes.end_pids(processes.marked(instance, part), grace_seconds=grace_seconds)
    if part is Part.KUBERNETES:
        processes.end_pids(cgroups.pids(instance), grace_seconds=0.0)
        cgroups.remove(instance)
        _forget_pods(instance)
    folder = state.folder(instance, part)
    _unmount(folder)
    shutil.rmtree(folder, ignore_errors=True)
    state.forget(instance, part)


def _unmount(folder: Path) -> None:
    for point in mounts(folder):
        if subprocess.run(["umount", str(point)], capture_output=True, check=False).returncode != 0:
            subprocess.run(["umount", "--lazy", str(point)], capture_output=True, check=False)


def _forget_pods(instance: Instance) -> None:
    """Remove what kubelet and the CNI library write to fixed places of the machine."""
    for result in CNI_RESULTS.glob(f"{instance.name}-*"):
        result.unlink(missing_ok=True)
    home = state.folder(instance, Part.KUBERNETES)
    for link in CONTAINER_LOGS.glob("*"):
        with contextlib.suppress(OSError):
            if link.is_symlink() and link.readlink().is_relative_to(home):
                link.unlink()
