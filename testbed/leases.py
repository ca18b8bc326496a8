"""Borrowing a part for a test session: started when it is down, shared by all sessions, and left as it was found.

The last borrower takes down what borrowers started; what a person brought up stays. A borrower that was killed does not
count.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from testbed import parts, processes
from testbed.layout import Instance, Part
from testbed.parts import Options
from testbed.progress import Progress


@contextmanager
def borrowed(part: Part, *, instance: Instance, options: Options | None = None) -> Iterator[None]:
    """Hold a part up. What it needs must be borrowed before.

    Raises:
        TestbedError: it could not be built or did not become ready.
    """
    lease = _folder(instance, part) / f"{os.getpid()}-{uuid4().hex[:8]}"
    mark = parts.lend_mark(instance, part)
    with parts.exclusive(instance):
        wanted = parts.of(part, instance, options)
        lent = not _recorded_up(instance, part)
        wanted.start()
        lease.parent.mkdir(parents=True, exist_ok=True)
        lease.write_text(str(processes.started_ticks(os.getpid())))
        if lent:
            mark.touch()
    try:
        yield
    finally:
        with parts.exclusive(instance):
            lease.unlink(missing_ok=True)
            if mark.exists() and not _living(_folder(instance, part)):
                parts.remove([part], instance, Progress())
                mark.unlink(missing_ok=True)


def _recorded_up(instance: Instance, part: Part) -> bool:
    """Whether any form of the part is up: a control plane that a person started is theirs, also when we add a node."""
    return next(found for found in parts.status(instance) if found.part is part).condition is not parts.Condition.DOWN


def _folder(instance: Instance, part: Part) -> Path:
    return instance.run / "leases" / part.value


def _living(folder: Path) -> list[Path]:
    """Leases whose holder still runs; those of others are removed."""
    living = []
    for lease in folder.glob("*"):
        pid = int(lease.name.partition("-")[0])
        if str(processes.started_ticks(pid)) == lease.read_text():
            living.append(lease)
        else:
            lease.unlink(missing_ok=True)
    return living
