"""What a case is and what happens in it when: values and pure functions of the seed. Nothing here runs anything."""

import random
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations, product
from typing import TypeVar

from benchmarks.chaos.errors import ChaosError
from consumer_runtime.contract.settings import Mode, Ordering
from consumer_runtime.contract.state import StartReason

MODES = (Mode.SINGLE, Mode.ASYNC, Mode.THREAD, Mode.PROCESS)
"""Mode auto is one of these after its choice."""
DEFAULT_SEED = 20_261
DEFAULT_MESSAGES = 200_000
MEMBERS = 3
DEAD_LETTER_AWAY_SECONDS = 20.0
BROKER_PAUSE_SECONDS = 10.0
SETTINGS_EVERY_SECONDS = 1.0
LARGE_VALUES = 16
LARGE_EVERY_OF_SOAKS = 2_000
_Kind = TypeVar("_Kind", bound=StrEnum)


class Protocol(StrEnum):
    """How the group shares its partitions."""

    EAGER = "eager"
    COOPERATIVE = "cooperative"
    CONSUMER = "consumer"
    """KIP-848, `group.protocol=consumer`."""


class Family(StrEnum):
    """Faults that belong together. Payloads, exceptions and poison of `draws` and `produce` are in every case."""

    CRASH = "crash"
    BROKER = "broker"
    MEMBERSHIP = "membership"
    HANDLER = "handler"
    CALM = "calm"
    """No scheduled fault: what soaks run, and what shows that the harness itself loses nothing."""


_FAULTY = tuple(family for family in Family if family is not Family.CALM)


class Fault(StrEnum):
    """One thing done to the running group."""

    KILL = "kill"
    TERMINATE = "terminate"
    RESTART_BROKER = "restart-broker"
    PAUSE_BROKER = "pause-broker"
    RESUME_BROKER = "resume-broker"
    JOIN = "join"
    LEAVE = "leave"
    ADD_PARTITIONS = "add-partitions"
    CHANGE_SETTINGS = "change-settings"
    REMOVE_DEAD_LETTER_TOPIC = "remove-dead-letter-topic"
    RESTORE_DEAD_LETTER_TOPIC = "restore-dead-letter-topic"


LASTING: Mapping[Fault, tuple[float, Fault]] = {
    Fault.PAUSE_BROKER: (BROKER_PAUSE_SECONDS, Fault.RESUME_BROKER),
    Fault.REMOVE_DEAD_LETTER_TOPIC: (DEAD_LETTER_AWAY_SECONDS, Fault.RESTORE_DEAD_LETTER_TOPIC),
}
"""For how many seconds a fault lasts, and what ends it."""


class Mark(StrEnum):
    """What the handler does once at a few chosen messages."""

    HANG = "hang"
    """Sleeps past the task timeout, in a way that can be cancelled where the mode can cancel."""
    BLOCK = "block"
    """An async handler that blocks its loop past the task timeout."""
    EXIT = "exit"
    """Ends its own process with os._exit: a worker's death."""


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """A fault and when it happens, in seconds since the first message was sent."""

    at_seconds: float
    fault: Fault
    member: int = 0
    """Which consumer, from 1; 0 where none is meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run, reproduced by its name and seed."""

    mode: Mode
    ordering: Ordering
    protocol: Protocol
    families: tuple[Family, ...]
    """Whose faults happen, all in the same run."""
    seed: int = DEFAULT_SEED
    messages: int = DEFAULT_MESSAGES
    seconds: float = 28.0
    """How long messages are sent, at an even rate."""
    partitions: int = 8
    """At the start."""

    @property
    def name(self) -> str:
        """`mode-ordering-protocol-families`, as `--case` takes it; several families are joined by a plus."""
        return f"{self.mode}-{self.ordering}-{self.protocol}-{'+'.join(self.families)}"

    @property
    def marks(self) -> Mapping[Mark, int]:
        """How many messages carry each mark."""
        return _MARKS[self.mode] if Family.HANDLER in self.families else {}

    @property
    def large_every(self) -> int:
        """Every how many messages a value of 1 MB is sent: 16 in a case, and in a soak so often that it is the usual.

        A process grows with the largest value that it has seen; in a soak all must have seen one early.
        """
        return LARGE_EVERY_OF_SOAKS if self.families == (Family.CALM,) else max(1, self.messages // LARGE_VALUES)

    @property
    def may_give_up(self) -> frozenset[StartReason]:
        """For which reasons a consumer may end by itself.

        An attempt that nothing can interrupt, or a start while the dead letter topic is away.
        """
        if Family.HANDLER not in self.families:
            return frozenset()
        away = frozenset({StartReason.DEAD_LETTER_TOPIC_NOT_FOUND})
        return away if self.mode is Mode.PROCESS else away | {StartReason.HANDLER_STUCK}


_MARKS: Mapping[Mode, Mapping[Mark, int]] = {
    Mode.SINGLE: {Mark.HANG: 2},
    Mode.ASYNC: {Mark.HANG: 4, Mark.BLOCK: 1},
    Mode.THREAD: {Mark.HANG: 4},
    Mode.PROCESS: {Mark.HANG: 4, Mark.EXIT: 12},
}


def every_case(*, seed: int = DEFAULT_SEED, messages: int = DEFAULT_MESSAGES) -> list[Case]:
    """Return the whole matrix, modes x orderings x families, each case with a seed drawn from `seed` and its name.

    The protocol goes round: each mode meets each protocol, and so do each ordering, each family, and each two of these.
    """
    protocols = tuple(Protocol)
    cells = product(enumerate(MODES), enumerate(Ordering), enumerate(_FAULTY))
    return [
        _seeded(
            Case(
                mode=mode,
                ordering=ordering,
                protocol=protocols[(m + o + f) % len(protocols)],
                families=(family,),
                messages=messages,
            ),
            seed,
        )
        for (m, mode), (o, ordering), (f, family) in cells
    ]


def mixed_cases(*, seed: int = DEFAULT_SEED, messages: int = DEFAULT_MESSAGES) -> list[Case]:
    """Return every mode, ordering and protocol with every two families: what a small subset is chosen from."""
    cells = product(MODES, Ordering, Protocol, combinations(_FAULTY, 2))
    return [_seeded(Case(mode=m, ordering=o, protocol=p, families=f, messages=messages), seed) for m, o, p, f in cells]


def case_named(name: str, *, seed: int, messages: int = DEFAULT_MESSAGES) -> Case:
    """Return the case that `Case.name` spells; raises ChaosError naming the part that is wrong and what is allowed."""
    parts = name.split("-")
    if len(parts) != len(("mode", "ordering", "protocol", "families")):
        raise ChaosError(f"--case {name!r} must be mode-ordering-protocol-family, such as async-key-cooperative-crash")
    mode = _part(Mode, parts[0], name)
    if mode is Mode.AUTO:
        raise ChaosError(f"--case {name!r}: mode 'auto' becomes one of {', '.join(MODES)}; name that one")
    return Case(
        mode=mode,
        ordering=_part(Ordering, parts[1], name),
        protocol=_part(Protocol, parts[2], name),
        families=tuple(_part(Family, part, name) for part in parts[3].split("+")),
        seed=seed,
        messages=messages,
    )


def schedule(case: Case) -> list[Event]:
    """Return the case's events in order of time. The same case gives the same events."""
    draw = random.Random(case.seed)
    planned = [Event(_jitter(draw, at, case.seconds), fault, member) for at, fault, member in _outline(case, draw)]
    return sorted([*planned, *_paired(planned), *_settings_changes(case)])


def _outline(case: Case, draw: random.Random) -> Iterator[tuple[float, Fault, int]]:
    """Yield (share of the case's seconds, fault, member)."""
    first, second, third = draw.sample(range(1, MEMBERS + 1), MEMBERS)
    outlines: Mapping[Family, list[tuple[float, Fault, int]]] = {
        Family.CRASH: [
            (0.15, Fault.KILL, first),
            (0.40, Fault.TERMINATE, second),
            (0.55, Fault.KILL, third),
            (0.80, Fault.TERMINATE, first),
        ],
        Family.BROKER: [(0.15, Fault.RESTART_BROKER, 0), (0.50, Fault.PAUSE_BROKER, 0)],
        Family.MEMBERSHIP: [
            (0.15, Fault.JOIN, MEMBERS + 1),
            (0.35, Fault.LEAVE, MEMBERS + 1),
            (0.45, Fault.ADD_PARTITIONS, 0),
            (0.55, Fault.JOIN, MEMBERS + 2),
            (0.75, Fault.LEAVE, MEMBERS + 2),
        ],
        Family.HANDLER: [(0.2, Fault.REMOVE_DEAD_LETTER_TOPIC, 0)],
        Family.CALM: [],
    }
    for family in case.families:
        yield from outlines[family]


def _paired(events: list[Event]) -> Iterator[Event]:
    """Yield what ends a fault that lasts."""
    for event in events:
        if event.fault in LASTING:
            lasts, end = LASTING[event.fault]
            yield Event(event.at_seconds + lasts, end)


def _settings_changes(case: Case) -> Iterator[Event]:
    if Family.MEMBERSHIP in case.families:
        for second in range(1, int(case.seconds / SETTINGS_EVERY_SECONDS)):
            yield Event(second * SETTINGS_EVERY_SECONDS, Fault.CHANGE_SETTINGS)


def _jitter(draw: random.Random, at_share: float, seconds: float) -> float:
    return round((at_share + draw.uniform(-0.04, 0.04)) * seconds, 3)


def _seeded(case: Case, seed: int) -> Case:
    return replace(case, seed=zlib.crc32(f"{seed}:{case.name}".encode()))


def _part(kind: type[_Kind], text: str, name: str) -> _Kind:
    try:
        return kind(text)
    except ValueError as error:
        what = kind.__name__.lower()
        raise ChaosError(f"--case {name!r}: {what} {text!r} must be one of {', '.join(kind)}") from error
