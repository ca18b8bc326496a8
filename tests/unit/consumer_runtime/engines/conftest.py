"""What drives an engine as the control loop does: real shards, retries at once, effects read from a file."""

import contextlib
import gc
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from consumer_runtime.contract.settings import ExecutionSettings, Ordering
from consumer_runtime.engines.async_ import AsyncEngine
from consumer_runtime.engines.engine import Engine, Failure
from consumer_runtime.handler import Handler, load, wrap
from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.ledger.ordering import shards
from consumer_runtime.message import Message

WORKER_CODE = Path(__file__).parent / "worker_code"


class Effect(NamedTuple):
    """One line that a handler wrote."""

    key: str
    partition: int
    offset: int
    attempt: int
    pid: int
    what: str


class Effects:
    """The file that handlers write to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Effect]:
        """Return the lines so far, in the order in which they were written."""
        if not self.path.exists():
            return []
        fields = [line.split() for line in self.path.read_text().splitlines()]
        return [Effect(key, *map(int, numbers), what) for key, *numbers, what in fields]

    def of(self, offset: int) -> Effect:
        """Return the first line of an offset."""
        return next(effect for effect in self.read() if effect.offset == offset)

    def first_order(self, *, by_partition: bool = False) -> dict[Any, list[int]]:
        """Return the offsets of each key (or partition) in the order of their first success."""
        seen: set[tuple[int, int]] = set()
        order: dict[Any, list[int]] = defaultdict(list)
        for effect in self.read():
            if (effect.partition, effect.offset) not in seen:
                seen.add((effect.partition, effect.offset))
                order[effect.partition if by_partition else (effect.partition, effect.key)].append(effect.offset)
        return order


class Drive:
    """Submits, collects, retries at once up to `max_retries`; every wait has an end."""

    def __init__(self, engine: Engine, execution: ExecutionSettings, *, max_retries: int = 5) -> None:
        self.engine = engine
        self.execution = execution
        self.assignments: dict[int, PartitionOffsets] = {}
        self.shards = shards(execution.ordering, engine_keeps_order=engine.keeps_order, crowds=engine.crowds)
        self.done: list[Message] = []
        self.failures: list[Failure] = []
        self.bounced = 0
        self.followers = 0
        self.in_flight = 0
        self._max_retries = max_retries

    def offer(self, *messages: tuple[bytes | None, bytes | None], partition: int = 0) -> list[Message]:
        """Let (key, value) messages of one partition arrive."""
        assignment = self.assignments.setdefault(partition, PartitionOffsets("orders", partition, start=0))
        made = []
        for key, value in messages:
            made.append(Message("orders", partition, assignment.position, key, value, assignment=assignment))
            assignment.position += 1
        self.shards.arrive(assignment, made)
        return made

    def turn(self) -> None:
        """One turn of the control loop."""
        completions = self.engine.collect()
        if completions is not None:
            finished = len(completions.done) + len(completions.failures) + len(completions.bounced)
            self.in_flight -= finished - completions.followers
            self.followers += completions.followers
            self.shards.followed(completions.followers)
            self.done += completions.done
            for message in completions.done:
                self._release(message)
            self._take_back(completions.bounced)
            for failure in completions.failures:
                self._fail(failure)
        room = min(self.execution.max_in_flight - self.in_flight, self.engine.room())
        if room > 0 and (messages := self.shards.take(room)):
            self.in_flight += len(messages)
            self.shards.follow(messages, room=self.engine.room(), each=self.engine.follows)
            self.engine.submit(messages)
        elif completions is None:
            self.engine.wait(0.001)

    def until(self, condition: Callable[[], object], seconds: float = 20.0) -> None:
        """Turn until the condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (
                f"not within {seconds} s: {len(self.done)} done, {len(self.failures)} failures, "
                f"{self.in_flight} in flight, {self.engine.statistics()}, {self.engine.trouble(time.monotonic())}"
            )
            self.turn()

    def until_done(self, count: int, seconds: float = 20.0) -> None:
        """Turn until so many messages succeeded."""
        self.until(lambda: len(self.done) >= count, seconds)

    def for_seconds(self, seconds: float) -> None:
        """Turn for a while."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.turn()

    def apply(self, **knobs: Any) -> None:
        """Change knobs."""
        self.execution = self.execution.model_copy(update=knobs)
        self.engine.apply(self.execution)

    def _take_back(self, bounced: list[Message]) -> None:
        self.bounced += len(bounced)
        ours = [message for message in bounced if message.assignment and message.assignment.is_open]
        self.shards.due.extend(message for message in ours if message.attempt > 1)
        self.shards.put_back(message for message in ours if message.attempt == 1)

    def _fail(self, failure: Failure) -> None:
        self.failures.append(failure)
        message = failure.message
        if message.attempt > self._max_retries:
            self._release(message)
            return
        message.attempt += 1
        self.shards.park(message)
        self.shards.due.append(message)

    def _release(self, message: Message) -> None:
        if message.assignment is not None:
            self.shards.release(message.assignment, [message])


@pytest.fixture
def effects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Effects:
    """A file for handlers to write to, and their module importable here and in workers."""
    monkeypatch.syspath_prepend(str(WORKER_CODE))
    monkeypatch.setenv("EFFECTS", str(tmp_path / "effects"))
    return Effects(tmp_path / "effects")


@pytest.fixture
def drive(effects: Effects) -> Iterator[Callable[..., Drive]]:
    """Start an engine over a handler (a callable, or a name in `process_handlers`) and drive it; stopped at the end."""
    started: list[Engine] = []

    def start(kind: Callable[..., Engine], handler: Any, *, max_retries: int = 5, **knobs: Any) -> Drive:
        values = {"ordering": Ordering.KEY, "worker_pool_size": 2, "task_timeout_ms": 0, **knobs}
        execution = ExecutionSettings(**values)
        made: Handler = load(f"process_handlers:{handler}") if isinstance(handler, str) else wrap(handler)
        engine = kind(made, execution)
        engine.start()
        started.append(engine)
        return Drive(engine, execution, max_retries=max_retries)

    yield start
    for engine in started:
        engine.stop(2.0)


def opened() -> Counter[str]:
    """Return what is open, and how often; sockets and pipes by their inodes.

    Sockets to elsewhere are left out: clients of earlier tests may still knock at brokers that are gone.
    """
    channels = {f"socket:[{line.split()[6]}]" for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    links = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            links.append(str(path.readlink()))
    return Counter(link for link in links if link in channels or not link.startswith("socket:"))


def children(pid: int | None = None) -> list[int]:
    """Return the processes whose parent this one is, zombies included."""
    listed = Path(f"/proc/{pid or os.getpid()}/task").glob("*/children")
    return [int(child) for path in listed for child in path.read_text().split()]


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Ask for it first: no descriptor and no child process may be left behind."""
    gc.collect()  # what earlier tests left in cycles is not this one's
    before = (opened(), set(children()))
    yield
    gc.collect()
    # earlier tests' clients may still be closing theirs
    assert (opened() - before[0], set(children()) - before[1]) == (Counter(), set())


@pytest.fixture
def make_async():
    """Start engines of mode async; they are stopped afterwards."""
    made: list[AsyncEngine] = []

    def start(handler, **execution: int) -> AsyncEngine:
        engine = AsyncEngine(wrap(handler), ExecutionSettings.model_validate({"mode": "async"} | execution))
        engine.start()
        made.append(engine)
        return engine

    yield start
    for engine in made:
        engine.stop(1.0)
