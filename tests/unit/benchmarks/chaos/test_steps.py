"""Whether a fault can be caused just now, and was: from real processes."""

import signal
import subprocess
import time
from pathlib import Path

from benchmarks.chaos import steps
from benchmarks.chaos.group import Group


def test_a_frozen_process_is_seen_as_such() -> None:
    """A pause of the broker counts by the kernel's word, not by the signal having been sent."""
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            assert not steps.is_frozen(process.pid)
            process.send_signal(signal.SIGSTOP)
            deadline = time.monotonic() + 20
            while not steps.is_frozen(process.pid):
                assert time.monotonic() < deadline
            process.send_signal(signal.SIGCONT)
            while steps.is_frozen(process.pid):
                assert time.monotonic() < deadline
        finally:
            process.kill()


def test_a_member_that_does_not_run_is_not_at_work(tmp_path: Path) -> None:
    """Killing it would prove nothing, whatever an earlier life of it has logged."""
    group = Group(tmp_path, tmp_path / "settings.yaml")
    group.event_log(1, 1).write_text('{"event": "assigned"}\n')
    assert not group.is_at_work(1)
