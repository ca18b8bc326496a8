import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from consumer_runtime.container import Container


def _lay_out(root: Path, files: dict[str, str]) -> Container:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return Container(cgroups=root / "cgroup", process=root / "proc" / "self")


V2 = {
    "cgroup/memory.current": "700\n",
    "cgroup/memory.stat": "anon 5\ninactive_file 200\n",
    "cgroup/memory.max": "1000\n",
    "cgroup/cpu.max": "50000 100000\n",
    "proc/self/cgroup": "0::/\n",
}
V1 = {
    "cgroup/memory/memory.usage_in_bytes": "700\n",
    "cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 200\n",
    "cgroup/memory/memory.limit_in_bytes": "1000\n",
    "cgroup/cpu/cpu.cfs_quota_us": "50000\n",
    "cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "proc/self/cgroup": "4:memory:/kubepods/x\n1:cpu:/kubepods/x\n",
}


@pytest.mark.parametrize("files", [V2, V1], ids=["v2", "v1"])
def test_both_versions_of_cgroups_say_the_same(tmp_path, files):
    """Working set (usage without inactive files), limit and quota."""
    container = _lay_out(tmp_path, files)
    assert (container.memory_bytes(), container.memory_limit_bytes(), container.cpu_limit_cores()) == (500, 1000, 0.5)


def test_a_folder_below_the_mount_is_the_processs_own(tmp_path):
    """On a machine without cgroup namespaces the mount shows everybody; the process's own folder counts."""
    own = {
        "cgroup/memory/mine/memory.usage_in_bytes": "50\n",
        "cgroup/memory/mine/memory.limit_in_bytes": "60\n",
        "proc/self/cgroup": "4:cpu,memory:/mine\n",
    }
    container = _lay_out(tmp_path, V1 | own)
    assert (container.memory_bytes(), container.memory_limit_bytes()) == (50, 60)


@pytest.mark.parametrize(
    "files",
    [
        V2 | {"cgroup/memory.max": "max\n", "cgroup/cpu.max": "max 100000\n"},
        V1 | {"cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n", "cgroup/cpu/cpu.cfs_quota_us": "-1\n"},
        {},
    ],
    ids=["v2", "v1", "none"],
)
def test_no_limit_is_0_bytes_and_every_core(tmp_path, files):
    """The catalogue's words for "none"."""
    container = _lay_out(tmp_path, files)
    assert (container.memory_limit_bytes(), container.cpu_limit_cores()) == (0, len(os.sched_getaffinity(0)))


def test_this_very_process_has_figures():
    """Whatever this machine has, the real files give plausible numbers."""
    container = Container()
    assert container.memory_bytes() > 1_000_000
    assert container.cpu_usage_seconds() > 0


def test_cpu_of_living_and_ended_children_counts():
    """Worker processes do the work in mode process; what they used stays counted after their end."""
    burn = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"
    before = Container().cpu_usage_seconds()
    with subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        alive = Container().cpu_usage_seconds()
        child.communicate(b"\n")
    ended = Container().cpu_usage_seconds()
    assert alive - before > 0.4
    assert ended >= alive - 0.05
    assert time.process_time() > 0
