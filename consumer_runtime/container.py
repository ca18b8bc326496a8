"""What the container may use and does use: memory and CPU, by cgroup v1 or v2, and by /proc where there is neither.

Reads files at each call, some tens of microseconds; meant for a scrape, not for a loop.
"""

import os
from dataclasses import dataclass
from pathlib import Path

_UNLIMITED_BYTES = 1 << 60
"""cgroup v1 says "no limit" with the largest multiple of the page size below 2 ** 63."""


@dataclass(frozen=True, slots=True)
class Container:
    """Where the figures are read; the roots differ in tests only."""

    cgroups: Path = Path("/sys/fs/cgroup")
    process: Path = Path("/proc/self")

    def memory_bytes(self) -> int:
        """Return the working set: usage without the page cache that the kernel would drop first (kubelet's figure).

        Without a readable cgroup: the resident set of this process.
        """
        v2, v1 = self._folder(""), self._folder("memory")
        usage = _number(v2 / "memory.current") or _number(v1 / "memory.usage_in_bytes")
        if usage is None:
            return self._resident_bytes()
        inactive = _stat(v2 / "memory.stat", "inactive_file") or _stat(v1 / "memory.stat", "total_inactive_file")
        return max(usage - inactive, 0)

    def memory_limit_bytes(self) -> int:
        """Return the limit, 0 when there is none."""
        limit = _number(self._folder("") / "memory.max")
        if limit is None:
            limit = _number(self._folder("memory") / "memory.limit_in_bytes")
        return limit if limit is not None and limit < _UNLIMITED_BYTES else 0

    def cpu_limit_cores(self) -> float:
        """Return the CPU quota in cores; the cores that this process may run on when there is none."""
        quota, period = self._cpu_quota()
        available = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
        return min(quota / period, available) if quota > 0 and period > 0 else available

    def cpu_usage_seconds(self) -> float:
        """Return CPU seconds of this process and of its descendants, ended ones included once they were reaped."""
        own = os.times()
        total = own.user + own.system + own.children_user + own.children_system
        ticks = os.sysconf("SC_CLK_TCK")
        waiting = _children(self.process)
        seen: set[int] = set()
        while waiting:
            pid = waiting.pop()
            if pid not in seen:
                seen.add(pid)
                folder = self.process.parent / str(pid)
                total += _cpu_ticks(folder) / ticks
                waiting += _children(folder)
        return total

    def _folder(self, controller: str) -> Path:
        """Return the cgroup folder of this process: below the mount, or the mount itself inside a container."""
        mount = self.cgroups / controller if controller else self.cgroups
        for line in _lines(self.process / "cgroup"):
            _, controllers, path = line.split(":", 2)
            below = mount / path.lstrip("/")
            if controller in controllers.split(",") and below.is_dir():
                return below
        return mount

    def _cpu_quota(self) -> tuple[int, int]:
        v2 = _lines(self._folder("") / "cpu.max")
        if v2:
            quota, _, period = v2[0].partition(" ")
            return (int(quota), int(period)) if quota.isdigit() else (0, 0)
        v1 = self._folder("cpu")
        return _number(v1 / "cpu.cfs_quota_us") or 0, _number(v1 / "cpu.cfs_period_us") or 0

    def _resident_bytes(self) -> int:
        fields = _lines(self.process / "statm")
        return int(fields[0].split()[1]) * os.sysconf("SC_PAGE_SIZE") if fields else 0


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _number(path: Path) -> int | None:
    lines = _lines(path)
    try:
        return int(lines[0])
    except (IndexError, ValueError):  # absent, or the word "max"
        return None


def _stat(path: Path, name: str) -> int:
    return next((int(line.split()[1]) for line in _lines(path) if line.startswith(name + " ")), 0)


def _children(process: Path) -> list[int]:
    return [int(pid) for tasks in process.glob("task/*/children") for line in _lines(tasks) for pid in line.split()]


def _cpu_ticks(process: Path) -> int:
    """Fields 14 to 17 of /proc/pid/stat (proc(5)): own and reaped children's; the name before may hold blanks."""
    lines = _lines(process / "stat")
    return sum(map(int, lines[0].rpartition(")")[2].split()[11:15])) if lines else 0
