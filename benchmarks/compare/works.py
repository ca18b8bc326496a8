"""What is compared: works, systems, and the ratios with their targets. Values only; nothing here runs anything."""

from dataclasses import dataclass
from enum import StrEnum

from benchmarks.compare.job import Kind, Mode, Ordering


class Keys(StrEnum):
    """How keys are drawn from 1,000 of them."""

    UNIFORM = "uniform"
    ZIPF = "zipf"
    """With exponent 1.1: the most frequent key has about 18 % of all messages."""


class Size(StrEnum):
    """Which topic a work reads."""

    LONG = "long"
    SHORT = "short"
    """2,000 messages, for work that ends with its last message."""


class System(StrEnum):
    """Who is compared."""

    OURS = "ours"
    RAW = "raw"
    """A tuned consume loop that calls the handler with the message object that ours builds."""
    SERIAL = "serial"
    """The raw loop, as what CPU work costs without any parallelism."""
    BARE = "bare"
    """What Python can do with no bookkeeping at all: asyncio tasks, or pipes to worker processes."""
    JAVA = "java"
    """parallel-consumer-core."""
    PYRALLEL = "pyrallel"
    """pyrallel-consumer."""
    AIOKAFKA = "aiokafka"
    """getmany, and the handler awaited for each message."""
    JAVA_DEFAULT = "java-default"
    """The same with the settings it has by itself: 16 threads, 500 records a poll."""
    JAVA_FORK = "java-fork"
    """The fork in which parallel-consumer-core is developed on."""
    KPIPE = "kpipe"
    """Java, a virtual thread for each record; needs a JDK 25."""
    PYRALLEL_DEFAULT = "pyrallel-default"
    """The same with the settings it has by itself."""
    FASTSTREAM = "faststream"
    """faststream over confluent-kafka, with as many workers as in flight; it acknowledges before the handler."""
    ARROYO = "arroyo"
    """sentry-arroyo: RunTask, or RunTaskWithMultiprocessing."""
    QUIXSTREAMS = "quixstreams"
    """One stream, the handler called with each row."""
    IDEAL = "ideal"
    """Arithmetic: ceil(messages / workers) times the work."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is done with each message, and how much at once."""

    name: str
    mode: Mode
    kind: Kind
    ordering: Ordering = Ordering.UNORDERED
    keys: Keys = Keys.UNIFORM
    size: Size = Size.LONG
    seconds: float = 0.0
    max_in_flight: int = 1_000
    batch_size: int = 1_000
    workers: int = 2
    process_batch_size: int = 256
    process_queue_size: int = 4_096
    java_concurrency: int = 100
    """Threads of the Java peer at its best: as many as in flight for I/O, few for no-ops."""
    rivals: tuple[System, ...] = ()

    @property
    def title(self) -> str:
        """`work/mode` as in the keys of the ratios."""
        return f"{self.name}/{self.mode.value}{self.workers if self.mode is Mode.THREAD else ''}"

    @property
    def systems(self) -> tuple[System, ...]:
        """Who runs it; what is computed does not."""
        return (System.OURS, *(each for each in self.rivals if each is not System.IDEAL))

    def has_target(self, system: System) -> bool:
        """Return whether a ratio with a target needs this system."""
        return system is System.OURS or f"{self.title}/{system.value}" in TARGETS


_BARE, _JAVA, _PYRALLEL = System.BARE, System.JAVA, System.PYRALLEL

WORKS: tuple[Work, ...] = (
    Work(name="noop", mode=Mode.SINGLE, kind=Kind.NOOP, rivals=(System.RAW, System.ARROYO, System.QUIXSTREAMS)),
    Work(
        name="noop",
        mode=Mode.ASYNC,
        kind=Kind.NOOP,
        max_in_flight=2_000,
        java_concurrency=16,
        rivals=(
            _JAVA, _BARE, _PYRALLEL, System.AIOKAFKA, System.FASTSTREAM, System.KPIPE, System.JAVA_FORK,
            System.JAVA_DEFAULT, System.PYRALLEL_DEFAULT,
        ),
    ),
    Work(name="io0.5", mode=Mode.ASYNC, kind=Kind.IO, seconds=0.0005, rivals=(
        _PYRALLEL, _JAVA, _BARE, System.FASTSTREAM, System.KPIPE, System.JAVA_DEFAULT, System.PYRALLEL_DEFAULT,
    )),
    Work(
        name="io0.5-key",
        mode=Mode.ASYNC,
        kind=Kind.IO,
        ordering=Ordering.KEY,
        keys=Keys.ZIPF,
        seconds=0.0005,
        rivals=(_JAVA, _PYRALLEL),
    ),
    Work(
        name="io5-key",
        mode=Mode.ASYNC,
        kind=Kind.IO,
        ordering=Ordering.KEY,
        seconds=0.005,
        java_concurrency=1_000,
        rivals=(_JAVA, System.KPIPE),
    ),
    Work(
        name="noop-key",
        mode=Mode.PROCESS,
        kind=Kind.NOOP,
        ordering=Ordering.KEY,
        max_in_flight=8_000,
        rivals=(_PYRALLEL, _BARE, System.PYRALLEL_DEFAULT),
    ),
    Work(
        name="cpu0.1",
        mode=Mode.PROCESS,
        kind=Kind.CPU,
        seconds=0.0001,
        max_in_flight=2_000,
        rivals=(System.SERIAL, System.ARROYO),
    ),
    Work(
        name="cpu1", mode=Mode.PROCESS, kind=Kind.CPU, seconds=0.001, max_in_flight=500,
        rivals=(System.SERIAL, System.ARROYO),
    ),
    Work(
        name="block100",
        mode=Mode.THREAD,
        kind=Kind.IO,
        size=Size.SHORT,
        seconds=0.1,
        workers=32,
        rivals=(System.IDEAL,),
    ),
)  # fmt: skip

TARGETS: dict[str, float] = {
    "noop/single/raw": 0.9,
    "noop/async/java": 1.2,
    "noop/async/bare": 0.7,
    "io0.5/async/pyrallel": 6.0,
    "io0.5/async/java": 1.0,
    "io0.5-key/async/java": 1.2,
    "io0.5-key/async/pyrallel": 12.0,
    "io5-key/async/java": 1.5,
    "noop-key/process/pyrallel": 50.0,
    "noop-key/process/bare": 0.6,
    "cpu0.1/process/serial": 1.75,
    "cpu1/process/serial": 1.85,
    "block100/thread32/ideal": 0.95,
}
"""Keys of the ratios that are always in the JSON, with the least that ours must reach."""

FLOORS: dict[str, float] = {"noop/async": 0.15, "noop-key/process": 0.2}
"""A bare loop below this share of the raw loop voids the run: somebody else used the machine."""


def selected(only: list[str]) -> list[Work]:
    """Return the works whose title (`noop/async`) or name is among `only`; all when it is empty."""
    return [each for each in WORKS if not only or any(one in (each.title, each.name) for one in only)]
