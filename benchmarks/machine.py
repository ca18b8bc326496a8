"""What figures depend on, beside each of them: the machine and its software. Not here: what else ran on it."""

import contextlib
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("confluent-kafka", "uvloop", "aiokafka")


def machine() -> dict[str, Any]:
    """Return cores, memory in GiB, processor, Python, system, where the broker is, load average, package versions."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(pages * page_bytes / 2**30, 1),
        "processor": _processor(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "broker": "on the same cores",
        "load_1_minute": round(os.getloadavg()[0], 1),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
    }


def told(facts: Mapping[str, Any]) -> str:
    """Return a machine in one line for people; works on what older files hold, too."""
    flat = {**facts, **facts.get("packages", {})}
    return ", ".join(f"{name} {value}" for name, value in flat.items() if name != "packages")


def _processor() -> str:
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return platform.processor()
