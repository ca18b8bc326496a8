import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.compare import process_tree
from benchmarks.compare.measure import end_tree

_PARENT_OF_BUSY_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "x = bytearray(40_000_000)\\nwhile True: pass"])
print(flush=True)
child.wait()
"""


def test_usage_counts_children():
    """A system that computes in worker processes is charged for them."""
    with subprocess.Popen([sys.executable, "-c", _PARENT_OF_BUSY_CHILD], stdout=subprocess.PIPE, text=True,
                          start_new_session=True) as process:  # fmt: skip
        try:
            process.stdout.readline()
            used = process_tree.usage(process.pid)
            while used.cpu_seconds < 0.3 or used.rss_bytes < 50_000_000:
                used = process_tree.usage(process.pid)
            assert used.rss_bytes > 50_000_000
        finally:
            os.killpg(process.pid, 9)


def test_nothing_of_a_failed_system_runs_on():
    """Workers left behind would take cores from the systems that are measured next."""
    with subprocess.Popen([sys.executable, "-c", _PARENT_OF_BUSY_CHILD], stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        (child,) = process_tree.children(process.pid)
        end_tree(process)
        deadline = time.monotonic() + 30
        while _runs(child) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not _runs(child)


def _runs(pid: int) -> bool:
    """Whether it still computes; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_usage_of_a_process_that_is_gone_is_nothing():
    """A system that has ended is no error of the driver."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert process_tree.usage(process.pid).rss_bytes == 0
