"""Starting, recognising and ending the testbed's own processes. What they are is their part's business."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from testbed import state
from testbed.layout import MARKER_VARIABLE, Instance, Part
from testbed.state import PartState, ProcessRecord

POLL_SECONDS = 0.05
PROXY_VARIABLES = frozenset({"http_proxy", "https_proxy", "all_proxy"})


def spawn(
    instance: Instance,
    part: PartState,
    name: str,
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    in_namespace: bool = False,
) -> ProcessRecord:
    """Start a process that outlives us, its output in `<name>.log`, and record it before returning.

    `in_namespace` runs it in the instance's network namespace; mounts stay shared with the machine, because kubelet and
    containerd must see each other's.
    """
    home = state.folder(instance, part.part)
    log = home / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    prefix = ["nsenter", f"--net=/run/netns/{instance.name}"] if in_namespace else []
    with log.open("ab") as output:
        child = subprocess.Popen(
            [*prefix, *map(str, argv)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=home,
            env={**environment(), **(env or {}), MARKER_VARIABLE: str(home)},
            start_new_session=True,
        )
    record = ProcessRecord(name=name, pid=child.pid, started_ticks=started_ticks(child.pid) or 0, log=log)
    child.returncode = 0  # we never wait for it through Popen, whose destructor would warn
    part.processes[name] = record
    state.save(instance, part)
    return record


def environment() -> dict[str, str]:
    """Our own environment without a proxy: the testbed's addresses are all on this machine."""
    return {name: value for name, value in os.environ.items() if name.lower() not in PROXY_VARIABLES}


def alive(record: ProcessRecord) -> bool:
    """Whether this very process still runs; a zombie and a reused pid do not count."""
    _reap(record.pid)
    return started_ticks(record.pid) == record.started_ticks


def gone(record: ProcessRecord) -> bool:
    """Whether the process ended, with every thread: its ports are not free while one of them still ends."""
    if alive(record):
        return False
    try:
        return len(list(Path(f"/proc/{record.pid}/task").iterdir())) <= 1
    except (FileNotFoundError, ProcessLookupError):
        return True


def stop(records: Iterable[ProcessRecord], *, grace_seconds: float = 10.0) -> None:
    """End processes: SIGTERM, then SIGKILL after the grace. A paused process is resumed first, so that it can obey."""
    living = [record for record in records if alive(record)]
    for record in living:
        _signal(record.pid, signal.SIGCONT)
        _signal(record.pid, signal.SIGTERM)
    for record in _survivors(living, grace_seconds):
        _signal(record.pid, signal.SIGKILL)
    _survivors(living, 5.0)


def send(record: ProcessRecord, number: signal.Signals) -> None:
    """Send a signal to a recorded process, if it is still that process."""
    if alive(record):
        _signal(record.pid, number)


def marked(instance: Instance, part: Part) -> Iterator[int]:
    """Pids of every process that was started for the part, whether recorded or not, and of those they started."""
    needle = f"{MARKER_VARIABLE}={state.folder(instance, part)}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and needle in _environment(entry):
            yield int(entry.name)


def end_pids(pids: Iterable[int], *, grace_seconds: float) -> None:
    """End processes of which no record exists: SIGTERM, then SIGKILL after the grace."""
    found = [
        ProcessRecord(name=str(pid), pid=pid, started_ticks=ticks, log=Path(os.devnull))
        for pid in pids
        if (ticks := started_ticks(pid)) is not None
    ]
    stop(found, grace_seconds=grace_seconds)


def resident_bytes(record: ProcessRecord) -> int:
    """Resident memory of the process, 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{record.pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def tail(log: Path, lines: int = 40) -> str:
    """The last lines of a log, for an error message."""
    try:
        with log.open("rb") as handle:
            handle.seek(max(0, log.stat().st_size - 200 * lines))
            text = handle.read().decode(errors="replace")
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:])


def _survivors(records: Sequence[ProcessRecord], seconds: float) -> list[ProcessRecord]:
    deadline = time.monotonic() + seconds
    living = [record for record in records if alive(record)]
    while living and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        living = [record for record in living if alive(record)]
    return living


def started_ticks(pid: int) -> int | None:
    """Start time of a living process, None for none and for a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _environment(entry: Path) -> list[bytes]:
    try:
        return (entry / "environ").read_bytes().split(b"\0")
    except OSError:  # gone meanwhile, or another user's
        return []


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
