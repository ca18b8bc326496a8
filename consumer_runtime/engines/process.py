"""Worker processes: for handlers that compute, and for those that crash, hang or leave processes behind.

The control thread owns everything here and never blocks: workers are watched through one epoll, which `wait` waits on.
A shard's messages are pipelined to one worker without a round trip between them. A worker that dies, or is killed for
a call past its timeout, is replaced at once. Not here: retries and dead letters (`settle`).
"""

import logging
import select
import time

import structlog

from consumer_runtime.contract.choices import StartReason
from consumer_runtime.contract.settings import ExecutionSettings, Ordering
from consumer_runtime.engines.engine import Completions, EngineStatistics
from consumer_runtime.engines.failures import timed_out
from consumer_runtime.engines.process_channel import BrokenFrameError
from consumer_runtime.engines.process_entry import entry, refuse_in_worker
from consumer_runtime.engines.process_lane import Lane
from consumer_runtime.engines.process_routing import Routing, shard_of
from consumer_runtime.engines.process_spawn import WorkerProcess
from consumer_runtime.engines.process_worker import Order, Started
from consumer_runtime.errors import StartFailure
from consumer_runtime.handler import Handler
from consumer_runtime.ledger.shards import Crowds
from consumer_runtime.message import Message

_START_SECONDS_AT_MOST = 300.0
"""For all workers to import and open the handler: it may load a model."""
_FAILED_STARTS_AT_MOST = 5
_START_BACKOFF_SECONDS = 0.1
_START_BACKOFF_SECONDS_AT_MOST = 5.0
_LOOK_SHARE = 20
_LOOK_SECONDS = (0.005, 0.25)
"""Overdue calls are looked for this often, or 20 times within a timeout."""
_FUTILE_SECONDS = 0.005
_CATCH_UP_SECONDS = 0.005
"""A call that runs for longer keeps back the answer about those before it."""

_log = structlog.get_logger(__name__)


class ProcessEngine:
    """Keeps a pool of worker processes busy."""

    keeps_order = True
    follows = 0

    def __init__(self, handler: Handler, execution: ExecutionSettings) -> None:
        """Raises StartFailure when workers could not import the handler."""
        refuse_in_worker()
        self._handler = handler
        self._entry = entry(handler)
        self._execution = execution
        self._statistics = EngineStatistics()
        self._routing = Routing(execution.ordering)
        self._lanes: list[Lane] = []
        self._retiring: list[Lane] = []
        self._completions = Completions()
        self._too_many: list[Message] = []
        """Submitted, and handed back since their shard has enough here."""
        self._epoll = select.epoll()
        self._watched: dict[int, Lane] = {}
        """By descriptor of channel and pidfd."""
        self._sending: set[Lane] = set()
        """Lanes of which the kernel did not take everything yet."""
        self._log_level = _program_log_level()
        self._look_at = 0.0

    @property
    def crowds(self) -> Crowds:
        """Shards that have as much here as one may."""
        return self._routing

    def start(self) -> None:
        """Start the workers and wait until each has opened its handler."""
        self._resize()
        deadline = time.monotonic() + _START_SECONDS_AT_MOST
        while not all(lane.is_ready for lane in self._lanes):
            self._attend(0.1)
            failed = next((lane for lane in self._lanes if lane.failed_starts or lane.start_failure), None)
            if failed is not None or time.monotonic() > deadline:
                self.stop(0.0)
                raise self._not_started(failed.start_failure if failed else None)

    def submit(self, messages: list[Message]) -> None:
        """Route messages to workers; those that have room get them at once. `collect` hands back what is too much."""
        self._too_many += self._routing.route(messages)
        self._feed()

    def room(self) -> int:
        """Return the room before the fullest worker: all of the next messages may be its."""
        fullest = max((len(lane.pending) for lane in self._lanes), default=0)
        return max(self._execution.process.queue_size - fullest, 0)

    def collect(self) -> Completions | None:
        """Take answers, replace dead workers, kill overdue ones, and hand out what waits."""
        if not self._is_something_done:
            self._attend(0.0)
        now = time.monotonic()
        self._catch_up(now)
        if now >= self._look_at:
            self._look_for_overdue(now)
            self._tend(now)
        for lane in tuple(self._retiring):
            self._let_go(lane)
        self._balance(now)
        self._feed()
        completions = self._completions
        if self._too_many:  # after what failures hand back: these are later in their shards
            completions.bounced += self._too_many
            self._too_many = []
        if not (completions.done or completions.failures or completions.bounced):
            return None
        self._completions = Completions()
        return completions

    def wait(self, seconds: float) -> None:
        """Wait for an answer or a death, and take it."""
        if not (self._is_something_done or self._too_many):
            self._attend(seconds)

    def apply(self, execution: ExecutionSettings) -> None:
        """Take new knobs. The pool grows at once; it shrinks worker by worker, as what is in their pipes comes back."""
        self._execution = execution
        level = _program_log_level()
        if level != self._log_level:
            self._log_level = level
            for lane in self._lanes:
                lane.tell_log_level(level)
        self._look_at = 0.0
        if self._lanes:
            self._resize()

    def oldest_started_at(self) -> float | None:
        """Return the start of the longest running call."""
        running = (lane.progress() for lane in (*self._lanes, *self._retiring))
        return min((progress.started_at for progress in running if progress is not None), default=None)

    def trouble(self, now: float) -> str | None:  # noqa: ARG002 - the port's shape
        """Tell of workers that cannot be started any more, when none is left."""
        if any(lane.is_ready or lane.failed_starts < _FAILED_STARTS_AT_MOST for lane in self._lanes):
            return None
        told = next((lane.start_failure for lane in self._lanes if lane.start_failure), None)
        return f"worker processes do not start: {told.remedy if told else 'they die before the handler is open'}"

    def statistics(self) -> EngineStatistics:
        """Return the engine's counters."""
        lanes = (*self._lanes, *self._retiring)
        submitted = sum(len(lane.pending) + len(lane.pipe) for lane in lanes)
        running = sum(progress.running for lane in lanes if (progress := lane.progress()) is not None)
        self._statistics.queued = max(submitted - running, 0)
        self._statistics.workers = sum(lane.is_ready for lane in lanes)
        return self._statistics

    def stop(self, grace_seconds: float) -> None:
        """Let workers come to their end, and kill those that do not."""
        deadline = time.monotonic() + grace_seconds
        lanes = [lane for lane in (*self._lanes, *self._retiring) if lane.worker is not None]
        self._lanes, self._retiring = [], []
        for lane in lanes:
            lane.end()
        while any(lane.worker is not None for lane in lanes) and (left := deadline - time.monotonic()) > 0:
            self._attend(left)
        for lane in lanes:
            self._bury(lane)
        self._epoll.close()

    @property
    def _is_something_done(self) -> bool:
        completions = self._completions
        return bool(completions.done or completions.failures or completions.bounced)

    def _attend(self, seconds: float) -> None:
        """Take what workers said, and stock of those that died."""
        for descriptor, _ in self._epoll.poll(seconds):
            lane = self._watched.get(descriptor)
            worker = lane.worker if lane is not None else None
            if lane is None or worker is None:
                continue
            if descriptor == worker.pidfd:
                self._bury(lane)
            else:
                self._converse(lane, worker)

    def _converse(self, lane: Lane, worker: WorkerProcess) -> None:
        before = len(self._completions.done)
        settled = (len(self._completions.failures), len(self._completions.bounced))
        try:
            lane.receive(self._completions)
        except BrokenFrameError as error:
            _log.error("a worker process wrote what is no answer; it is replaced", pid=worker.pid, error=str(error))
            worker.kill()
        self._leave(before, *settled)
        worker.channel.flush()
        self._watch_sending(lane, worker)
        if worker.channel.is_broken:
            self._unwatch(worker.channel.fileno())
            if not lane.is_ending:
                worker.kill()

    def _catch_up(self, now: float) -> None:
        """Count what workers finished before a call that goes on: they answer between calls only.

        Else a call that hangs would hide it, and a revoke meanwhile would have it run again.
        """
        for lane in (*self._lanes, *self._retiring):
            progress = lane.behind(now - _CATCH_UP_SECONDS)
            if progress is None or lane.worker is None:
                continue
            self._converse(lane, lane.worker)  # failures before that call were told before it began
            before = len(self._completions.done)
            lane.catch_up(progress, self._completions)
            self._routing.leave(self._completions.done[before:])

    def _leave(self, done: int, failures: int, bounced: int) -> None:
        """Count out what was added to the completions since they had these lengths."""
        completions, leave = self._completions, self._routing.leave
        leave(completions.done[done:])
        if len(completions.failures) > failures:
            leave([each.message for each in completions.failures[failures:]])
        if len(completions.bounced) > bounced:
            leave(completions.bounced[bounced:])

    def _bury(self, lane: Lane) -> None:
        worker = lane.worker
        if worker is None:
            return
        self._unwatch(worker.pidfd)
        self._unwatch(worker.channel.fileno())
        self._sending.discard(lane)
        before = (len(self._completions.done), len(self._completions.failures), len(self._completions.bounced))
        now = time.monotonic()
        how = lane.bury(timed_out(self._execution.task_timeout_ms / 1000), now, self._completions)
        self._leave(*before)
        if lane not in self._lanes:
            return
        self._statistics.workers_lost += 1
        _log.warning("a worker process is replaced", pid=worker.pid, ended=how)
        wait = _START_BACKOFF_SECONDS * 2**lane.failed_starts if lane.failed_starts else 0.0
        lane.start_at = now + min(wait, _START_BACKOFF_SECONDS_AT_MOST)
        self._tend(now)

    def _unwatch(self, descriptor: int) -> None:
        if self._watched.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def _feed(self) -> None:
        batch_size, completions = self._execution.process.batch_size, self._completions
        bounced = len(completions.bounced)
        for lane in self._lanes:
            if lane.pending:
                lane.feed(batch_size, completions)
                if lane.worker is not None:
                    self._watch_sending(lane, lane.worker)
        if len(completions.bounced) > bounced:
            self._routing.leave(completions.bounced[bounced:])

    def _watch_sending(self, lane: Lane, worker: WorkerProcess) -> None:
        """Ask to be woken when the kernel takes more, while it does not take everything."""
        if worker.channel.has_unsent == (lane in self._sending) or worker.channel.is_broken:
            return
        if worker.channel.has_unsent:
            self._sending.add(lane)
        else:
            self._sending.discard(lane)
        events = select.EPOLLIN | select.EPOLLOUT if lane in self._sending else select.EPOLLIN
        self._epoll.modify(worker.channel.fileno(), events)

    def _balance(self, now: float) -> None:
        """Give an idle worker half of what waits before the busiest one."""
        for idle in self._lanes:
            if idle.pending or idle.pipe or not idle.is_ready:
                continue
            busiest = max(self._lanes, key=lambda lane: len(lane.pending))
            if not busiest.pending or now < busiest.futile_until:
                return
            if not self._routing.relieve(busiest, idle):
                busiest.futile_until = now + _FUTILE_SECONDS

    def _look_for_overdue(self, now: float) -> None:
        timeout = self._execution.task_timeout_ms / 1000
        shortest, longest = _LOOK_SECONDS
        self._look_at = now + (max(shortest, min(timeout / _LOOK_SHARE, longest)) if timeout else longest)
        if not timeout:
            return
        for lane in (*self._lanes, *self._retiring):
            progress = lane.progress()
            if progress is not None and now - progress.started_at > timeout:
                lane.give_up(progress)

    def _tend(self, now: float) -> None:
        """Start workers where one is due."""
        for lane in self._lanes:
            if lane.worker is None and now >= lane.start_at:
                self._seat(lane)

    def _seat(self, lane: Lane) -> None:
        try:
            worker = WorkerProcess()
        except OSError as error:
            _log.exception("a worker process cannot be started")
            lane.failed_starts += 1
            lane.start_failure = Started(StartReason.HANDLER_UNSUITABLE.value, self._handler.name, str(error))
            lane.start_at = time.monotonic() + _START_BACKOFF_SECONDS_AT_MOST
            return
        for descriptor in (worker.pidfd, worker.channel.fileno()):
            self._watched[descriptor] = lane
            self._epoll.register(descriptor, select.EPOLLIN)
        lane.seat(worker, self._order())

    def _order(self) -> Order:
        reference = self._handler.reference
        return Order(
            entrypoint=self._entry.entrypoint,
            value_format=reference.value_format.value if reference is not None else "bytes",
            log_context=reference.log_context if reference is not None else False,
            topics=reference.topics if reference is not None else (),
            options=reference.options if reference is not None else "",
            program=self._entry.program,
            log_level=self._log_level,
            by_key=self._execution.ordering is Ordering.KEY,
            by_partition=self._execution.ordering is Ordering.PARTITION,
        )

    def _resize(self) -> None:
        """Begin a new epoch of routing with as many lanes as asked for; those that retire come back first."""
        size = self._execution.worker_pool_size
        while len(self._lanes) < size:
            self._lanes.append(self._retiring.pop() if self._can_return() else self._new_lane())
        self._retiring += self._lanes[size:]
        del self._lanes[size:]
        for lane in self._lanes:
            lane.is_retiring = False
        for lane in self._retiring:
            lane.is_retiring = True
        self._routing.open(self._lanes)
        self._routing.limit(self._most_of_a_shard())
        self._tend(time.monotonic())

    def _most_of_a_shard(self) -> int:
        """Return what one worker could have of a full window, with one share left over for what is not hot.

        Never a whole queue before a worker: `room` would then be 0 for everybody.
        """
        execution = self._execution
        return min(execution.max_in_flight // (execution.worker_pool_size + 1), execution.process.queue_size // 2)

    def _can_return(self) -> bool:
        return bool(self._retiring) and not self._retiring[-1].is_ending

    def _new_lane(self) -> Lane:
        return Lane(shard_of(self._execution.ordering), self._statistics)

    def _let_go(self, lane: Lane) -> None:
        """Move away what waits, as far as order allows; end the worker once its pipe is empty."""
        self._routing.move_away(lane)
        if lane.worker is None and not lane.pending:
            self._retiring.remove(lane)
        elif not (lane.pending or lane.pipe):
            lane.end()

    def _not_started(self, told: Started | None) -> StartFailure:
        if told is None:
            remedy = f"its worker processes died, or were not ready within {_START_SECONDS_AT_MOST:g} s; see the log"
            told = Started(StartReason.HANDLER_UNSUITABLE.value, self._handler.name, remedy)
        return StartFailure.because(
            StartReason(told.reason),
            field="spec.handler.entrypoint",
            value=told.value,
            remedy=told.remedy,
            detail=told.detail,
        )


def _program_log_level() -> int:
    """Return the level that the program logs from; 0 for a library user's own logging, which is left alone."""
    return logging.root.level if structlog.is_configured() else 0
