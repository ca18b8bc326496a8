"""The simulated world: arrivals, partitions, pods, downstream and faults, moved by a heap of events in virtual time.

Seeded: the same workload, seed and knob changes give the same history. It decides nothing about knobs.
"""

import itertools
import math
import random
import sys
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from benchmarks.simulator.draws import KeyDraws, service_seconds
from benchmarks.simulator.pod import POLL_CPU_SECONDS, POLL_SECONDS, TURNAROUND_SECONDS, WAKE_SECONDS, Message, Pod
from benchmarks.simulator.workload import Fault, FaultKind, Knobs, Workload
from consumer_runtime.contract.settings import Mode

IDLE_SECONDS = 0.005
"""Between two polls with nothing to fetch."""
SHORT_POLL_SECONDS = 0.002
"""After one that did not come back full: the runtime waits for a completion, or 1 ms (runtime design)."""
APPLY_SECONDS = 0.5
"""From a knob's change to its effect in the pods (design: p50 0.12 s for the file, and the operator's pass)."""
REBALANCE_SECONDS = 3.0
"""How long nobody fetches while partitions move."""
RESTART_SECONDS = 12.0
"""How long a pod is away."""
MAX_RETRIES = 3
BACKOFF_SECONDS = 1.0
BASE_MEMORY_MB = 120.0
END_OFFSET_SECONDS = 5.0
"""How often the runtime asks for end offsets (design)."""

Event = tuple[float, int, Callable[..., None], tuple[Any, ...]]


class Partition:
    """How much of one partition has come, was taken, and is done with."""

    def __init__(self) -> None:
        self.arrived = 0.0
        self.taken = 0
        self.done = 0
        self.stuck_at: int | None = None
        """The watermark while one message is stuck."""

    @property
    def backlog(self) -> float:
        """End offset minus committed offset."""
        committed = self.done if self.stuck_at is None else self.stuck_at
        return max(0.0, self.arrived - committed)


class World:
    """Everything that happens. `advance` lets it happen up to a moment."""

    def __init__(self, workload: Workload, knobs: Knobs, *, begin: float = 0.0) -> None:
        self.workload = workload
        self.now = begin
        self.knobs = dict(knobs)
        self.pods = [self._new_pod() for _ in range(workload.pods.count)]
        self.partitions = [Partition() for _ in range(workload.partitions)]
        self.seen_backlog = [0.0] * workload.partitions
        """As the pods last heard from the broker."""
        self.applied_at = begin
        self.out_of_memory_at: float | None = None
        self._turned = 0
        # Counts reassignments; partitions move on by one pod with each.
        self._held_until = begin
        self._downstream_active = 0
        self._events: list[Event] = []
        self._order = itertools.count()
        self._keys = KeyDraws(workload.keys, workload.partitions, workload.seed)
        self._waits = service_seconds(workload.service, workload.seed)
        self._chance = random.Random(f"errors-{workload.seed}")
        self._arrived_until = begin
        self._cpu = workload.service.cpu_ms / 1_000
        self._waits_downstream = workload.service.latency_ms_p50 > 0
        turnaround, has_pool = TURNAROUND_SECONDS[workload.mode], workload.mode in {Mode.THREAD, Mode.PROCESS}
        self._loop_turnaround, self._pool_turnaround = (0.0, turnaround) if has_pool else (turnaround, 0.0)
        self._knee = workload.service.knee or sys.maxsize
        self._strained = (1.0, 0.0)
        self._assign()
        self._plan()

    # -- time ----------------------------------------------------------------------------------------------------------

    def advance(self, until: float) -> None:
        """Let everything happen up to a moment."""
        events = self._events
        while events and events[0][0] <= until:
            self.now, _, action, arguments = heappop(events)
            action(*arguments)
        self.now = until
        self._arrive()

    def _at(self, moment: float, action: Callable[..., None], *arguments: Any) -> None:
        heappush(self._events, (moment, next(self._order), action, arguments))

    def _plan(self) -> None:
        for index in range(len(self.pods)):
            self._at(self.now, self._poll, index, self.pods[index])
        self._at(self.now, self._ask_end_offsets)
        for fault in self.workload.faults:
            if fault.kind is FaultKind.DOWNSTREAM:
                for moment in (fault.at, fault.end):
                    self._at(max(moment, self.now), self._weather)
            if fault.at < self.now:
                continue
            if fault.kind is FaultKind.STUCK_PARTITION:
                self._at(fault.at, self._stick, fault)
            elif fault.kind is FaultKind.REBALANCE:
                self._at(fault.at, self._rebalance)
            elif fault.kind is FaultKind.POD_RESTART:
                self._at(fault.at, self._restart, 0)

    # -- knobs ---------------------------------------------------------------------------------------------------------

    def change(self, knobs: Knobs) -> None:
        """Write new knobs; they are in force a moment later."""
        self.knobs = dict(knobs)
        self.applied_at = self.now + APPLY_SECONDS
        self._at(self.applied_at, self._apply, dict(knobs))

    def _apply(self, knobs: Knobs) -> None:
        for pod in self.pods:
            pod.apply(knobs)
            self._start(pod)

    def _new_pod(self) -> Pod:
        return Pod(mode=self.workload.mode, cpu=self.workload.pods.cpu, knobs=self.knobs)

    # -- arrivals and fetching -----------------------------------------------------------------------------------------

    def _arrive(self) -> None:
        elapsed = self.now - self._arrived_until
        if elapsed <= 0:
            return
        count = elapsed * self.workload.rate_at((self._arrived_until + self.now) / 2)
        self._arrived_until = self.now
        for partition, share in zip(self.partitions, self._keys.shares, strict=True):
            partition.arrived += count * share

    def _ask_end_offsets(self) -> None:
        self._arrive()
        self.seen_backlog = [partition.backlog for partition in self.partitions]
        self._at(self.now + END_OFFSET_SECONDS, self._ask_end_offsets)

    def owner(self, partition: int) -> int:
        """Return the pod that has a partition, -1 while none has; pods that are away have none."""
        return next((index for index, mine in enumerate(self._assigned) if partition in mine), -1)

    def assigned(self, index: int) -> list[int]:
        """Return the partitions of a pod."""
        return self._assigned[index]

    def _assign(self) -> None:
        there = [index for index, pod in enumerate(self.pods) if pod.alive_from <= self.now]
        self._assigned: list[list[int]] = [[] for _ in self.pods]
        for number in range(len(self.partitions)):
            if there:
                self._assigned[there[(number + self._turned) % len(there)]].append(number)

    def _poll(self, index: int, pod: Pod) -> None:
        if pod.gone:
            return
        wanted, of = 0, self._assigned[index]
        if self.now >= self._held_until and self.now >= pod.alive_from:
            wanted, of = pod.wanted(self.now, of)
        taken = self._take(of, pod, wanted) if wanted else 0
        if wanted:
            pod.counters.polled += taken
            pod.counters.asked += wanted
            pod.spend(self.now, POLL_CPU_SECONDS)
        pause = self._until_next_poll(taken, wanted)
        self._at(self.now + pause, self._poll, index, pod)
        if taken:
            self._start(pod)

    def _until_next_poll(self, taken: int, wanted: int) -> float:
        if not taken:
            return IDLE_SECONDS
        return (POLL_SECONDS if taken == wanted else SHORT_POLL_SECONDS) + self._broker_seconds()

    def _take(self, mine: list[int], pod: Pod, wanted: int) -> int:
        self._arrive()
        left = wanted
        ahead = [(int(self.partitions[number].arrived) - self.partitions[number].taken, number) for number in mine]
        ahead.sort()
        # Each takes its part of the batch, the fuller ones what others leave.
        for place, (available, number) in enumerate(ahead):
            count = min(available, left // (len(ahead) - place))
            if count > 0:
                self.partitions[number].taken += count
                left -= count
                pod.admit(self._keys.take(number, count), number, self.now)
        return wanted - left

    # -- handling ------------------------------------------------------------------------------------------------------

    def _start(self, pod: Pod) -> None:
        now, cpu, order, events, turnaround = self.now, self._cpu, self._order, self._events, self._loop_turnaround
        for message in pod.startable(now):
            begun, done = pod.compute(now, cpu)
            failed = False
            if self._waits_downstream:
                factor, errors = self._strain()
                self._downstream_active += 1
                done += next(self._waits) * factor + WAKE_SECONDS
                failed = errors > 0 and self._chance.random() * 100 < errors
            # The turnaround is no part of the call, though it ends after it; a pool's worker does not wait for it.
            message.begun_at = begun + turnaround
            heappush(events, (done + turnaround, next(order), self._return, (pod, message, failed)))

    def _strain(self) -> tuple[float, float]:
        """Return the latency factor and the error percentage that a call meets now."""
        strained = self._strained
        if self._downstream_active < self._knee:
            return strained
        beyond = self.workload.service.beyond_knee
        return strained[0] * beyond.latency_factor, max(strained[1], beyond.error_percent)

    def _weather(self) -> None:
        """Note what the downstream suffers from by itself, from now on."""
        active = self._active(FaultKind.DOWNSTREAM)
        factor, errors = 1.0, 0.0
        for fault in active:
            factor, errors = factor * fault.latency_factor, max(errors, fault.error_percent)
        self._strained = (factor, errors)

    def _return(self, pod: Pod, message: Message, failed: bool) -> None:  # noqa: FBT001 - an event's argument
        if self._waits_downstream:
            self._downstream_active -= 1
        if pod.gone:
            return
        pod.returned(message, self.now)
        if self._pool_turnaround:
            self._at(self.now + self._pool_turnaround, self._settle, pod, message, failed)
            self._start(pod)
        else:
            self._settle(pod, message, failed)

    def _settle(self, pod: Pod, message: Message, failed: bool) -> None:  # noqa: FBT001 - an event's argument
        if pod.gone:
            return
        pod.in_flight -= 1
        if failed and message.attempt <= MAX_RETRIES:
            pod.counters.retries += 1
            backoff = BACKOFF_SECONDS * 2.0 ** (message.attempt - 1)
            message.attempt += 1
            self._at(self.now + backoff, self._retry, pod, message)
        else:
            pod.counters.failed += failed
            pod.finished(message, self.now)
            self.partitions[message.partition].done += 1
        self._start(pod)

    def _retry(self, pod: Pod, message: Message) -> None:
        if not pod.gone:
            pod.ready.appendleft(message)
            self._start(pod)

    # -- faults --------------------------------------------------------------------------------------------------------

    def _active(self, kind: FaultKind) -> list[Fault]:
        return [each for each in self.workload.faults if each.kind is kind and each.at <= self.now < each.end]

    def is_active(self, kind: FaultKind) -> bool:
        """Whether a fault of a kind is under way."""
        return bool(self._active(kind))

    def _broker_seconds(self) -> float:
        return sum(fault.ms for fault in self._active(FaultKind.BROKER_SLOW)) / 1_000

    def _stick(self, fault: Fault) -> None:
        partition = self.partitions[fault.partition % len(self.partitions)]
        # The stuck message is a watermark that stands still; that it also holds a worker is left out.
        partition.stuck_at = partition.done
        owner = self.owner(fault.partition % len(self.partitions))
        if owner >= 0:
            self.pods[owner].oldest_stuck = self.now
        self._at(fault.end, self._unstick, partition)

    def _unstick(self, partition: Partition) -> None:
        partition.stuck_at = None
        for pod in self.pods:
            pod.oldest_stuck = None

    def _rebalance(self) -> None:
        self._turned += 1
        self._assign()
        self._held_until = self.now + REBALANCE_SECONDS
        for pod in self.pods:
            pod.counters.rebalances += 1

    def _restart(self, index: int, away: float = RESTART_SECONDS) -> None:
        """What a pod held is fetched again by whoever gets its partitions; what it was calling goes on downstream."""
        old = self.pods[index]
        for message in (*old.ready, *itertools.chain.from_iterable(old.waiting.values())):
            self.partitions[message.partition].taken -= 1
        lost = old.held - len(old.ready) - sum(map(len, old.waiting.values()))
        mine = [self.partitions[number] for number in self._assigned[index]]
        for place in range(lost):
            if mine:
                mine[place % len(mine)].taken -= 1
        fresh = self._new_pod()
        fresh.alive_from = self.now + away
        old.gone = True
        self.pods[index] = fresh
        self._rebalance()
        if away == math.inf:
            return
        self._at(fresh.alive_from, self._rebalance)
        self._at(fresh.alive_from, self._poll, index, fresh)

    # -- replicas ------------------------------------------------------------------------------------------------------

    @property
    def replicas(self) -> int:
        """Pods that there are or will be in a moment."""
        return sum(pod.alive_from < math.inf for pod in self.pods)

    def scale(self, count: int) -> None:
        """Have so many pods; a new one takes as long as a restarted one, what a removed one held is fetched again."""
        wanted = [index for index, pod in enumerate(self.pods) if pod.alive_from < math.inf]
        for index in wanted[count:]:
            self._restart(index, away=math.inf)
        for _ in range(count - len(wanted)):
            self._add()

    def _add(self) -> None:
        """Bring back a place that was given up, or make another."""
        fresh = self._new_pod()
        fresh.alive_from = self.now + RESTART_SECONDS
        free = next((index for index, pod in enumerate(self.pods) if pod.alive_from == math.inf), None)
        if free is None:
            self.pods.append(fresh)
            self._assigned.append([])
        else:
            self.pods[free] = fresh
        self._at(fresh.alive_from, self._rebalance)
        self._at(fresh.alive_from, self._poll, self.pods.index(fresh), fresh)

    def memory_mb(self, pod: Pod) -> float:
        """Return what a pod holds: the interpreter, and what its handlers need for each message in flight."""
        each = sum(fault.mb_per_message for fault in self._active(FaultKind.MEMORY))
        return BASE_MEMORY_MB + each * pod.in_flight

    def check_memory(self) -> None:
        """Kill pods that are over their limit, as the kernel would."""
        for index, pod in enumerate(self.pods):
            if pod.alive_from <= self.now and self.memory_mb(pod) > self.workload.pods.memory_mb:
                self.out_of_memory_at = self.now
                self._restart(index)
