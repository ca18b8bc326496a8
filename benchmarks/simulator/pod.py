"""One simulated consumer: intake, key order, the concurrency limit, the executor of its mode, and its counters.

It follows the runtime's design (look-ahead beyond the limit, hysteresis, one interpreter per pod but in mode process).
It knows nothing of partitions' backlog or of time passing: `world.py` calls it.
"""

import heapq
import math
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field

from benchmarks.simulator.workload import Knobs
from consumer_runtime.contract.metrics import LATENCY_BUCKETS
from consumer_runtime.contract.settings import Mode
from consumer_runtime.ledger.window import Window
from parallel_consumer_operator.resource.tuning import Knob

OVERHEAD_SECONDS = {Mode.SINGLE: 2e-6, Mode.ASYNC: 18e-6, Mode.THREAD: 25e-6, Mode.PROCESS: 8e-6}
"""The runtime's own work for a message (runtime figures: 400-710k, 46-72k, 26-40k, 120-324k messages per second)."""
TURNAROUND_SECONDS = {Mode.SINGLE: 0.0, Mode.ASYNC: 0.0005, Mode.THREAD: 0.0005, Mode.PROCESS: 0.0003}
"""From the end of a call until its place in flight is taken by another; fitted to `benchmarks/calibration.json`."""
WAKE_SECONDS = 0.0002
"""How much later than asked for a wait ends; fitted likewise."""
PATIENCE_SECONDS = 0.5
"""How long a full window is left unpolled before partitions are paused (runtime, backpressure)."""
POLL_SECONDS = 0.0005
"""Between polls that come back full."""
POLL_CPU_SECONDS = 0.00005
"""CPU of one turn of the control loop with a poll in it."""
BUCKETS = len(LATENCY_BUCKETS) + 1
ENDLESS_BYTES = 2**62


@dataclass(slots=True)
class Message:
    """One message on its way through a pod."""

    key: int
    partition: int
    admitted_at: float
    attempt: int = 1
    begun_at: float = 0.0


@dataclass(slots=True)
class Counters:
    """What a pod exports; totals since its start."""

    processed: int = 0
    failed: int = 0
    retries: int = 0
    handled: int = 0
    handler_seconds: float = 0.0
    latency: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    service: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    limit_full_seconds: float = 0.0
    busy_seconds: float = 0.0
    cpu_seconds: float = 0.0
    polled: int = 0
    asked: int = 0
    pauses: int = 0
    rebalances: int = 0


class Pod:
    """One consumer."""

    def __init__(self, *, mode: Mode, cpu: float, knobs: Knobs) -> None:
        self.mode = mode
        self.counters = Counters()
        self.ready: deque[Message] = deque()
        self.waiting: dict[int, deque[Message]] = {}
        """Messages of each key that is being worked on, behind the one that is."""
        self.queue: deque[Message] = deque()
        """In flight, and waiting for a worker; modes with a pool."""
        self.held = 0
        self.held_of: dict[int, int] = {}
        """The same by partition."""
        self.in_flight = 0
        self.busy = 0
        self.paused = False
        self.alive_from = 0.0
        self.gone = False
        """Replaced by another; what it was calling goes on downstream, and counts no more."""
        self.oldest_stuck: float | None = None
        self._overhead = OVERHEAD_SECONDS[mode]
        self._single_core = mode is not Mode.PROCESS
        cores = 1 if self._single_core else max(1, math.ceil(cpu))
        self._speed = min(1.0, cpu) if self._single_core else cpu / cores
        self._cores = [0.0] * cores
        self._limit_since: float | None = None
        self._full_since: float | None = None
        self.apply(knobs)

    def apply(self, knobs: Knobs) -> None:
        """Take new knobs at once, as the runtime does."""
        self.limit = 1 if self.mode is Mode.SINGLE else knobs[Knob.MAX_IN_FLIGHT]
        self.batch = knobs[Knob.POLL_BATCH_SIZE]
        self.workers = knobs[Knob.WORKER_POOL_SIZE] if self.mode in {Mode.THREAD, Mode.PROCESS} else 2**31
        self._window = Window(max_in_flight=self.limit, max_bytes=ENDLESS_BYTES, poll_batch_size=self.batch)

    def wanted(self, now: float, partitions: list[int]) -> tuple[int, list[int]]:
        """Return how many messages a poll asks for now, and of which partitions; 0 while nothing is fetched.

        As the runtime does it: a full window is first left unpolled, then paused; but while the limit is not reached
        only those partitions are paused that hold more than their share, for the sake of idle keys.
        """
        self._note_fullness(now)
        if self._full_since is None:
            self.paused = False
            return self.batch, partitions
        patient = now - self._full_since < PATIENCE_SECONDS
        if self.in_flight >= self.limit:
            self._pause(paused=not patient)
            return 0, []
        if not self.paused and (self.held < self._window.ceiling or patient):
            return (self.batch, partitions) if self.held < self._window.ceiling else (0, [])
        share = self._window.share(len(partitions))
        open_ones = [number for number in partitions if self.held_of.get(number, 0) < share]
        self._pause(paused=len(open_ones) < len(partitions))
        return (self.batch, open_ones) if open_ones else (0, [])

    def _note_fullness(self, now: float) -> None:
        if self._full_since is None:
            if self._window.is_full(self.held, 0):
                self._full_since = now
        elif self._window.has_room_again(self.held, 0):
            self._full_since = None

    def _pause(self, *, paused: bool) -> None:
        self.counters.pauses += paused and not self.paused
        self.paused = paused

    def admit(self, keys: list[int], partition: int, now: float) -> None:
        """Take messages of one partition in."""
        waiting, ready = self.waiting, self.ready
        self.held += len(keys)
        self.held_of[partition] = self.held_of.get(partition, 0) + len(keys)
        for key in keys:
            message = Message(key, partition, now)
            behind = waiting.get(key)
            if behind is None:
                waiting[key] = deque()
                ready.append(message)
            else:
                behind.append(message)

    def startable(self, now: float) -> list[Message]:
        """Return the messages that begin now: within the limit, and with a worker."""
        ready, queue = self.ready, self.queue
        admitted = min(self.limit - self.in_flight, len(ready))
        if admitted > 0:
            self.in_flight += admitted
            for _ in range(admitted):
                queue.append(ready.popleft())
        full = self.in_flight >= self.limit and len(ready) > 0
        if full is not (self._limit_since is not None):
            self._note_limit(now, full=full)
        begun = min(self.workers - self.busy, len(queue))
        if begun <= 0:
            return []
        self.busy += begun
        return [queue.popleft() for _ in range(begun)]

    def _note_limit(self, now: float, *, full: bool) -> None:
        if full and self._limit_since is None:
            self._limit_since = now
        elif not full and self._limit_since is not None:
            self.counters.limit_full_seconds += now - self._limit_since
            self._limit_since = None

    def limit_full_seconds(self, now: float) -> float:
        """Return the total up to now."""
        return self.counters.limit_full_seconds + (0.0 if self._limit_since is None else now - self._limit_since)

    def compute(self, now: float, cpu_seconds: float) -> tuple[float, float]:
        """Use the CPU for a message; return when that begins and ends. Cores are taken in turn."""
        cost = cpu_seconds + self._overhead
        self.counters.cpu_seconds += cost
        cores = self._cores
        free_at = cores[0]
        begun = max(free_at, now)
        done = begun + cost / self._speed
        heapq.heapreplace(cores, done)
        return begun, done

    def spend(self, now: float, seconds: float) -> None:
        """Use the CPU for polling; it holds up handlers where they share the interpreter."""
        self.counters.cpu_seconds += seconds
        if self._single_core:
            self._cores[0] = max(now, self._cores[0]) + seconds / self._speed

    def finished(self, message: Message, now: float) -> None:
        """A message is done with, one way or the other: its key's next one may begin."""
        counters = self.counters
        counters.processed += 1
        counters.latency[bisect_left(LATENCY_BUCKETS, now - message.admitted_at)] += 1
        self.held -= 1
        self.held_of[message.partition] -= 1
        behind = self.waiting[message.key]
        if behind:
            self.ready.append(behind.popleft())
        else:
            del self.waiting[message.key]

    def returned(self, message: Message, now: float) -> None:
        """A handler call returned, with or without success."""
        counters, elapsed = self.counters, now - message.begun_at
        self.busy -= 1
        counters.handled += 1
        counters.handler_seconds += elapsed
        counters.busy_seconds += elapsed
        counters.service[bisect_left(LATENCY_BUCKETS, elapsed)] += 1

    @property
    def queued(self) -> int:
        """Messages held and not inside a handler."""
        return self.held - self.busy
