"""One worker process as the parent sees it: started, watched by a pidfd, ended with everything it started.

A pidfd fires at the death of the worker even while a grandchild keeps its pipe open. The worker leads a session of its
own, so that one signal ends it with its descendants and an interrupt of the terminal does not reach it. Linux 5.3 or
later. Not here: what a worker is told (`process_worker`), what its death means (`process_lane`).
"""

import contextlib
import os
import signal
import subprocess
import sys

from consumer_runtime.contract.choices import StartReason
from consumer_runtime.engines.process_cell import Cell
from consumer_runtime.engines.process_channel import Channel, pair
from consumer_runtime.errors import StartFailure

_PROGRAM = (
    "import sys; sys.path[:] = {path!r}; from consumer_runtime.engines.process_worker import main; "
    "main({channel}, {cell}, {parent})"
)


class WorkerProcess:
    """A worker process and what it is reached by: channel, cell and pidfd."""

    def __init__(self) -> None:
        """Start the process. Raises OSError when the machine has no more room, StartFailure when it has no pidfd."""
        ours, theirs = pair()
        cell = Cell.create()
        try:
            self._process = _spawn(theirs.fileno(), cell)
            self.pidfd = _pidfd(self._process)
            self.cell = Cell(cell)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(cell)
        self.channel = Channel(ours)

    @property
    def pid(self) -> int:
        """Return the process id, which is also the id of its session and group."""
        return self._process.pid

    def kill(self) -> None:
        """Kill the worker and its descendants; those that made a session of their own are theirs to end."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def end(self) -> int:
        """Wait for a worker that is dead or dying; return its status as Popen does.

        The group is signalled while the dead leader still holds its number, so that it cannot be somebody else's.
        """
        self.kill()
        return self._process.wait()

    def close(self) -> None:
        """Give back the descriptors, after the last look at channel and cell."""
        os.close(self.pidfd)
        self.channel.close()
        self.cell.close()


def _spawn(channel: int, cell: int) -> subprocess.Popen[bytes]:
    program = _PROGRAM.format(path=sys.path, channel=channel, cell=cell, parent=os.getpid())
    return subprocess.Popen(
        [sys.executable, "-c", program], pass_fds=(channel, cell), stdin=subprocess.DEVNULL, start_new_session=True
    )


def _pidfd(process: subprocess.Popen[bytes]) -> int:
    try:
        return os.pidfd_open(process.pid)
    except OSError as error:
        process.kill()
        process.wait()
        raise StartFailure.because(
            StartReason.HANDLER_UNSUITABLE,
            field="spec.execution.mode",
            value="process",
            remedy=f"worker processes need pidfd_open, Linux 5.3 or later ({error}); use mode thread",
        ) from error
