"""Running a command to its end with its output in a log, for builds. Processes that stay are processes.py's."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from testbed import processes
from testbed.errors import CommandError


def run(argv: Sequence[str | Path], *, log: Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run a command; all of its output joins the log, its standard output is returned as well.

    Raises:
        CommandError: it failed; the message has the end of the log.
    """
    with log.open("a") as output:
        output.write(f"$ {' '.join(map(str, argv))}\n")
        output.flush()
        done = subprocess.run(
            list(map(str, argv)),
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            check=False,
        )
        output.write(done.stdout)
    if done.returncode != 0:
        raise CommandError(
            f"{argv[0]} failed with exit code {done.returncode}; the end of {log}:\n{processes.tail(log)}"
        )
    return done.stdout
