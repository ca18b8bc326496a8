"""CPU seconds and resident memory of a process and all that it started, from /proc. Linux only, like the testbed."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """Of a whole tree; CPU of children that ended and were waited for is their parent's."""

    cpu_seconds: float
    rss_bytes: int


def usage(pid: int) -> Usage:
    """Return what the tree under `pid` has used so far; zero for a process that is gone."""
    cpu, rss = 0.0, 0
    for each in tree(pid):
        fields = _stat(each)
        if fields:
            cpu += sum(int(field) for field in fields[11:15]) / _TICKS_PER_SECOND
            rss += int(fields[21]) * _PAGE_BYTES
    return Usage(cpu_seconds=cpu, rss_bytes=rss)


def tree(pid: int) -> list[int]:
    """Return a process and all below it that still run, itself first."""
    found = [pid]
    for each in found:
        found.extend(children(each))
    return found


def children(pid: int) -> list[int]:
    """Return the processes that a process started and that still run."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found.extend(int(child) for child in task.read_text().split())
        except OSError:
            continue
    return found


def _stat(pid: int) -> list[str]:
    """Return the fields after the program's name, which may itself hold spaces."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
