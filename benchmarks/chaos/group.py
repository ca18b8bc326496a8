"""The consumers of a case as processes: started, killed, watched, and started again; and how each of them ended."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.errors import ChaosError
from benchmarks.chaos.handler import FOLDER_VARIABLE, MEMBER_VARIABLE
from benchmarks.chaos.history import Death, Ending
from benchmarks.chaos.settings import SHUTDOWN_GRACE_SECONDS
from consumer_runtime.event_log import VARIABLE as EVENT_LOG_VARIABLE

PROJECT = Path(__file__).resolve().parents[2]
STOP_WITHIN_SECONDS = SHUTDOWN_GRACE_SECONDS + 15.0
"""Python's own end, closing the client, and a machine that is busy, on top of the grace."""
EXITS_AT_MOST = 40
"""More unasked exits than this are a crash loop: the case is given up."""
RESTART_AFTER_SECONDS = 1.5
"""How long after an unasked exit a member comes back, as a kubelet would hesitate."""


@dataclass(slots=True)
class _Running:
    process: subprocess.Popen[bytes]
    incarnation: int
    asked_to_stop_at: float | None = None
    comes_back: bool = True


class Group:
    """The members of one case, by number from 1."""

    def __init__(self, folder: Path, settings_file: Path) -> None:
        self.deaths: dict[tuple[int, int], Death] = {}
        self.unasked_exits: list[int] = []
        """The status of each."""
        self.late_exits = 0
        """Asked to stop, and had to be killed."""
        self._folder = folder
        self._settings_file = settings_file
        self._running: dict[int, _Running] = {}
        self._incarnations: dict[int, int] = {}
        self._coming_back: dict[int, float] = {}

    @property
    def pids(self) -> list[int]:
        """Of the consumers that run now."""
        return [each.process.pid for each in self._running.values()]

    def start(self, member: int) -> None:
        """Start a member for the first time, or once more."""
        incarnation = self._incarnations.get(member, 0) + 1
        self._incarnations[member] = incarnation
        environment = {
            **os.environ,
            FOLDER_VARIABLE: str(self._folder),
            MEMBER_VARIABLE: f"{member}.{incarnation}",
            EVENT_LOG_VARIABLE: str(self.event_log(member, incarnation)),
            "PYTHONPATH": str(PROJECT),
        }
        command = [sys.executable, "-m", "consumer_runtime", "run", "--config", str(self._settings_file)]
        with (self._folder / f"consumer-{member}.{incarnation}.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=environment, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._running[member] = _Running(process, incarnation)

    def is_at_work(self, member: int) -> bool:
        """Whether a member runs, was given partitions, and was not asked to stop."""
        running = self._running.get(member)
        if running is None or running.asked_to_stop_at is not None or running.process.poll() is not None:
            return False
        log = self.event_log(member, running.incarnation)
        return log.exists() and log.stat().st_size > 0

    def kill(self, member: int) -> None:
        """End a member that runs as a power cut would; it comes back."""
        running = self._running[member]
        running.process.send_signal(signal.SIGKILL)
        running.process.wait(timeout=10)
        self._bury(member, Ending.KILLED)
        self._coming_back[member] = 0.0

    def terminate(self, member: int, *, comes_back: bool) -> None:
        """Ask a member that runs to stop; `watch` takes note of its end."""
        running = self._running[member]
        running.comes_back = comes_back
        running.asked_to_stop_at = time.monotonic()
        running.process.send_signal(signal.SIGTERM)

    def watch(self) -> None:
        """Bury who ended, and start again who should come back; raises ChaosError in a crash loop."""
        for member in [member for member, at in self._coming_back.items() if time.monotonic() >= at]:
            del self._coming_back[member]
            self.start(member)
        for member, running in list(self._running.items()):
            if running.process.poll() is not None:
                self._ended(member, running)
            elif running.asked_to_stop_at and time.monotonic() - running.asked_to_stop_at > STOP_WITHIN_SECONDS:
                self.late_exits += 1
                running.process.kill()
                running.process.wait(timeout=10)
                self._ended(member, running)

    def stop(self) -> None:
        """Ask all to stop and wait until they have."""
        self._coming_back.clear()
        for member in self._running:
            self.terminate(member, comes_back=False)
        while self._running:
            self.watch()
            time.sleep(0.05)

    def abandon(self) -> None:
        """Kill whatever runs; for a case that cannot go on."""
        for member, running in list(self._running.items()):
            running.process.kill()
            running.process.wait(timeout=10)
            self._bury(member, Ending.KILLED)

    def event_log(self, member: int, incarnation: int) -> Path:
        """Return where this incarnation logs what it did to the group."""
        return self._folder / f"events-{member}.{incarnation}.jsonl"

    def _ended(self, member: int, running: _Running) -> None:
        asked, status = running.asked_to_stop_at is not None, running.process.returncode
        # SIGTERM ends an interpreter that is still importing: nothing was consumed yet
        early = status == -signal.SIGTERM and not self.event_log(member, running.incarnation).exists()
        in_order = asked and (status == 0 or early)
        self._bury(member, Ending.EXITED if in_order else Ending.CRASHED)
        if not in_order:
            self.unasked_exits.append(status)
        if len(self.unasked_exits) > EXITS_AT_MOST:
            raise ChaosError(
                f"consumers end by themselves again and again, last with status {status}; see {self._folder}"
            )
        if running.comes_back:
            self._coming_back[member] = time.monotonic() + (0.0 if asked else RESTART_AFTER_SECONDS)

    def _bury(self, member: int, ending: Ending) -> None:
        running = self._running.pop(member)
        death = Death(at=time.monotonic_ns(), ending=ending, status=running.process.returncode)
        self.deaths[member, running.incarnation] = death


def processes_of(folder: Path) -> Iterator[int]:
    """Yield the pids of all living processes that carry the case in their environment, such as orphaned workers."""
    needle = f"{FOLDER_VARIABLE}={folder}".encode()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and needle in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name)


def end_orphans(folder: Path, *, grace_seconds: float) -> int:
    """Wait for processes of the case to end by themselves, kill those that do not, and return how many those were."""
    deadline = time.monotonic() + grace_seconds
    while (left := list(processes_of(folder))) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(left)
