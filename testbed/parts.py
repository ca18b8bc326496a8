"""Up, down and status over the parts: what needs what, one command at a time, and nothing left behind."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from testbed import leftovers, network, processes, state
from testbed.cluster import Kubernetes
from testbed.errors import TestbedError
from testbed.kafka import Kafka
from testbed.layout import Instance, Part
from testbed.monitoring import Prometheus
from testbed.progress import Progress
from testbed.state import ProcessRecord

# In the order of starting; each part needs those it names.
NEEDS: Mapping[Part, tuple[Part, ...]] = {
    Part.KAFKA: (),
    Part.KUBERNETES: (),
    Part.PROMETHEUS: (Part.KUBERNETES,),
}


class Condition(StrEnum):
    """What `status` says of a part."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True)
class ProcessStatus:
    """One process of a part; pid None when it has ended."""

    name: str
    pid: int | None
    resident_bytes: int


@dataclass(frozen=True)
class PartStatus:
    """One part as it is now. Degraded: brought up, or begun to, and a process of it is missing or was never ready."""

    part: Part
    condition: Condition
    since: datetime | None
    processes: tuple[ProcessStatus, ...]
    addresses: Mapping[str, str]


class Startable(Protocol):
    """What every part's object offers."""

    def build(self, progress: Progress | None = None) -> None:
        """Build what is missing of it."""

    def start(self, progress: Progress | None = None) -> None:
        """Start it; returns when it is ready."""

    def is_up(self) -> bool:
        """Whether it runs and was seen ready."""

    def ready(self) -> bool:
        """Whether it answers now."""

    def remove(self) -> None:
        """Stop it and delete its data."""


@dataclass(frozen=True)
class Options:
    """What can be chosen when a part is started."""

    control_plane_only: bool = False
    scrape_interval: str | None = None


def of(part: Part, instance: Instance, options: Options | None = None) -> Startable:
    """The object of a part."""
    chosen = options or Options()
    makers: Mapping[Part, Callable[[], Startable]] = {
        Part.KAFKA: lambda: Kafka(instance),
        Part.KUBERNETES: lambda: Kubernetes(instance, control_plane_only=chosen.control_plane_only),
        Part.PROMETHEUS: lambda: Prometheus(instance, scrape_interval=chosen.scrape_interval),
    }
    return makers[part]()


def up(
    *parts: Part, instance: Instance | None = None, options: Options | None = None, progress: Progress | None = None
) -> None:
    """Bring parts up, and those they need; none named means all. What is up already stays as it is.

    Raises:
        TestbedError: a part could not be built or did not become ready; what was started stays for a look at its logs.
    """
    where = instance or Instance()
    with exclusive(where):
        for part in with_needs(parts):
            of(part, where, options).start(progress)
            lend_mark(where, part).unlink(missing_ok=True)  # asked for by name: no longer the tests' to take down


def down(*parts: Part, instance: Instance | None = None, progress: Progress | None = None) -> None:
    """Take parts down, and those that need them; none named means all. Leaves nothing of them on the machine.

    Raises:
        TestbedError: something could not be removed; the message names it.
    """
    where = instance or Instance()
    with exclusive(where):
        remove(parts, where, progress or Progress())


def build(*parts: Part, instance: Instance | None = None, progress: Progress | None = None) -> None:
    """Build everything that the parts need and start nothing; none named means all.

    Raises:
        CommandError: a build failed.
    """
    where = instance or Instance()
    for part in with_needs(parts):
        of(part, where).build(progress)


def remove(parts: Iterable[Part], instance: Instance, progress: Progress) -> None:
    """`down` for a caller that holds the lock."""
    named = set(parts) or set(Part)
    doomed = [part for part in reversed(list(NEEDS)) if named & {part, *NEEDS[part]}]
    for part in doomed:
        if state.load(instance, part) is not None or state.folder(instance, part).exists():
            with progress.step(f"Stop {part}"):
                of(part, instance).remove()
    if all(state.load(instance, part) is None for part in Part):
        _remove_rest(instance)


def status(instance: Instance | None = None) -> list[PartStatus]:
    """All parts as they are now, by their processes; nothing is asked over the network."""
    where = instance or Instance()
    return [_status(where, part) for part in Part]


def with_needs(parts: Iterable[Part]) -> list[Part]:
    """The parts and what they need, in the order of starting; none means all."""
    named = set(parts) or set(Part)
    wanted = named | {need for part in named for need in NEEDS[part]}
    return [part for part in NEEDS if part in wanted]


def lend_mark(instance: Instance, part: Part) -> Path:
    """The file that says: started by tests for themselves, to be taken down by the last of them."""
    return instance.run / "leases" / f"{part}.lent"


@contextmanager
def exclusive(instance: Instance) -> Iterator[None]:
    """One command at a time on an instance; waits for the other."""
    with state.locked(instance.cache / "locks" / f"instance-{instance.number}.lock"):
        yield


def _remove_rest(instance: Instance) -> None:
    for part in Part:  # what a crash left without a record
        leftovers.sweep(instance, part)
    network.remove(instance)
    shutil.rmtree(instance.run, ignore_errors=True)
    if found := leftovers.find(instance):
        raise TestbedError(f"testbed instance {instance.number} could not be taken down whole; left are {found}")


def _status(instance: Instance, part: Part) -> PartStatus:
    found = state.load(instance, part)
    if found is None:
        return PartStatus(part, Condition.DOWN, None, (), {})
    shown = tuple(_process_status(record) for record in found.processes.values())
    whole = found.complete and all(process.pid is not None for process in shown)
    return PartStatus(part, Condition.UP if whole else Condition.DEGRADED, found.since, shown, found.facts)


def _process_status(record: ProcessRecord) -> ProcessStatus:
    living = processes.alive(record)
    return ProcessStatus(record.name, record.pid if living else None, processes.resident_bytes(record) if living else 0)
