import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import processes, readiness, state
from testbed.errors import NotReadyError
from testbed.layout import Instance, Part
from testbed.state import PartState, ProcessRecord

SLEEP = ["sleep", "60"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)",
]


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    """An instance of which no process outlives its test."""
    where = Instance(0, cache=tmp_path)
    yield where
    processes.end_pids(processes.marked(where, Part.KAFKA), grace_seconds=0)


@pytest.fixture
def part(instance: Instance) -> PartState:
    """The state of a part that was just begun."""
    return PartState(part=Part.KAFKA)


def running(record: ProcessRecord) -> str:
    """The kernel's letter for the process: S sleeps, T is stopped."""
    return Path(f"/proc/{record.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_started_process_is_on_record_before_anything_else_happens(instance: Instance, part: PartState):
    """A crash right after the start leaves a record that another command can read."""
    record = processes.spawn(instance, part, "sleeper", SLEEP)
    read = state.load(instance, Part.KAFKA)
    assert read is not None
    assert read.processes == {"sleeper": record}
    assert processes.alive(record)


def test_stop_ends_a_process_and_leaves_no_zombie(instance: Instance, part: PartState):
    """After stop the pid is gone altogether."""
    record = processes.spawn(instance, part, "sleeper", SLEEP)
    processes.stop([record])
    assert not Path(f"/proc/{record.pid}").exists()


def test_stop_kills_what_does_not_obey(instance: Instance, part: PartState):
    """SIGKILL follows when the grace is over."""
    record = processes.spawn(instance, part, "stubborn", STUBBORN)
    readiness.wait("stubborn", lambda: record.log.read_text() == "1\n", seconds=10)
    processes.stop([record], grace_seconds=0.2)
    assert not processes.alive(record)


def test_stop_ends_a_paused_process_by_its_own_handler(instance: Instance, part: PartState):
    """A frozen process would never see SIGTERM: it is resumed, and well within the grace it has ended."""
    record = processes.spawn(instance, part, "sleeper", SLEEP)
    processes.send(record, signal.SIGSTOP)
    begun = time.monotonic()
    processes.stop([record], grace_seconds=30)
    assert not processes.alive(record)
    assert time.monotonic() - begun < 10


def test_pause_and_resume_are_seen_by_the_kernel(instance: Instance, part: PartState):
    """SIGSTOP freezes, SIGCONT lets go."""
    record = processes.spawn(instance, part, "sleeper", SLEEP)
    processes.send(record, signal.SIGSTOP)
    readiness.wait("pause", lambda: running(record) == "T", seconds=5)
    processes.send(record, signal.SIGCONT)
    readiness.wait("resume", lambda: running(record) == "S", seconds=5)


def test_a_reused_pid_is_not_ours():
    """A record whose start time differs is another process: it is neither alive to us nor ended by us."""
    stranger = subprocess.Popen(SLEEP)
    try:
        record = ProcessRecord(name="x", pid=stranger.pid, started_ticks=1, log=Path(os.devnull))
        assert not processes.alive(record)
        processes.stop([record], grace_seconds=0)
        processes.send(record, signal.SIGKILL)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_grandchild_without_a_record_is_found(instance: Instance, part: PartState):
    """What a recorded process left behind carries the mark, so that `down` after a crash finds it."""
    script = "sleep 60 & echo $!; kill -9 $$"
    record = processes.spawn(instance, part, "parent", ["sh", "-c", script])
    readiness.wait("the parent's end", lambda: not processes.alive(record), seconds=10)
    orphan = int(record.log.read_text().split()[0])
    assert orphan in set(processes.marked(instance, Part.KAFKA))
    assert orphan not in set(processes.marked(instance, Part.KUBERNETES))
    processes.end_pids(processes.marked(instance, Part.KAFKA), grace_seconds=5)
    assert not set(processes.marked(instance, Part.KAFKA))


def test_waiting_ends_at_once_when_the_process_does(instance: Instance, part: PartState):
    """A process that dies is not waited for until the deadline, and the error shows the end of its log."""
    record = processes.spawn(instance, part, "broken", ["sh", "-c", "echo no such disk; exit 3"])
    begun = time.monotonic()
    with pytest.raises(NotReadyError, match=r"process broken ended.(?s:.*)no such disk"):
        readiness.wait("Broken", lambda: False, seconds=60, process=record)
    assert time.monotonic() - begun < 10


def test_waiting_has_a_deadline(instance: Instance, part: PartState):
    """A process that lives but never answers: the error names the deadline and shows the log."""
    record = processes.spawn(instance, part, "mute", ["sh", "-c", "echo thinking; sleep 60"])
    with pytest.raises(NotReadyError, match=r"Mute: not ready after 1 s.(?s:.*)thinking"):
        readiness.wait("Mute", lambda: False, seconds=1, process=record)


def test_no_proxy_reaches_a_started_process(instance: Instance, part: PartState, monkeypatch: pytest.MonkeyPatch):
    """The testbed's addresses are local: a proxy of the user's would only be in the way."""
    monkeypatch.setenv("https_proxy", "http://proxy.invalid:3128")
    record = processes.spawn(instance, part, "env", ["env"])
    readiness.wait("env", lambda: not processes.alive(record), seconds=10)
    assert "proxy.invalid" not in record.log.read_text()
