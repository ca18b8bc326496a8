import os
import subprocess
import sys

from benchmarks.compare import process_tree

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


def test_usage_of_a_process_that_is_gone_is_nothing():
    """A system that has ended is no error of the driver."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert process_tree.usage(process.pid).rss_bytes == 0
