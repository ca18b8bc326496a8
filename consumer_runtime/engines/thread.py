"""Threads: for handlers that block in calls which wait, such as database clients.

All threads take single messages from one queue, so that a slow call holds up nothing but itself. A call past its
timeout cannot be interrupted: it is reported, another thread takes its place, and its message stays unfinished until it
returns, since it may still write. Not here: order (the control loop submits one message of a shard at a time).
"""

import time
from collections import deque
from queue import Empty, SimpleQueue

import structlog

from consumer_runtime.contract.choices import StartReason
from consumer_runtime.contract.settings import ExecutionSettings
from consumer_runtime.engines.engine import Completions, EngineStatistics
from consumer_runtime.engines.failures import failure
from consumer_runtime.engines.stacks import stack_of
from consumer_runtime.engines.thread_slot import Outcome, Slot
from consumer_runtime.errors import StartFailure
from consumer_runtime.handler import Handler, not_open
from consumer_runtime.message import Message

HUNG_SECONDS_AT_MOST = 120.0
"""Past the timeout, then the engine is in trouble. The runbook's alert on `consumer_oldest_task_duration_seconds` needs
a minute, a scrape and an evaluation: a pod that ended sooner would end it unseen."""
_LOOK_SECONDS = 0.05
_OPEN_SECONDS_AT_MOST = 300.0
_FAILED_OPENS_AT_MOST = 5
_REOPEN_SECONDS, _REOPEN_SECONDS_AT_MOST = 0.1, 5.0
_WORTH_WAKING_SECONDS = 0.0001
"""Work that is done sooner is left to threads that are awake: waking one takes about as long."""
_SMOOTHING = 0.3
_MANY = 1_000_000

_log = structlog.get_logger(__name__)


class ThreadEngine:
    """Runs each message on the next free thread."""

    keeps_order = False
    crowds = None
    follows = 0

    def __init__(self, handler: Handler, execution: ExecutionSettings) -> None:
        self._handler = handler
        self._execution = execution
        self._queue: deque[Message] = deque()
        self._outcomes: deque[Outcome] = deque()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._is_waiting = False
        self._slots: list[Slot] = []
        self._leaving: list[Slot] = []
        """Slots that take nothing more: too many since a smaller pool, or hung."""
        self._started = 0
        self._failed_opens = 0
        self._reopen_at = 0.0
        self._statistics = EngineStatistics()
        self._service_seconds = 1.0
        self._look_at = 0.0

    def start(self) -> None:
        """Start the threads and wait until each has opened its handler; raises StartFailure when one cannot."""
        self._resize()
        deadline = time.monotonic() + _OPEN_SECONDS_AT_MOST
        while not all(slot.is_open for slot in self._slots):
            self._wait_for_bell(0.1)
            broken = next((slot for slot in self._slots if slot.open_error is not None), None)
            if broken is not None or time.monotonic() > deadline:
                self.stop(0.0)
                raise self._not_open(broken.open_error if broken else None)

    def submit(self, messages: list[Message]) -> None:
        """Queue messages and wake as many threads as there is work for."""
        self._queue.extend(messages)
        self._wake()

    def room(self) -> int:
        """Return many: the control loop has the limit."""
        return _MANY

    def collect(self) -> Completions | None:
        """Return what returned; look for overdue calls now and then."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            self._look(now)
        if self._queue:
            self._wake()
        outcomes = self._outcomes
        if not outcomes:
            return None
        completions = Completions()
        for _ in range(len(outcomes)):
            self._settle(outcomes.popleft(), completions)
        return completions

    def wait(self, seconds: float) -> None:
        """Wait for the next outcome."""
        self._is_waiting = True
        if not self._outcomes:  # looked at after saying so: whoever adds later rings
            self._wait_for_bell(seconds)
        self._is_waiting = False

    def apply(self, execution: ExecutionSettings) -> None:
        """Take new knobs; threads that are too many end after the call that they run."""
        self._execution = execution
        if self._slots:
            self._resize()

    def oldest_started_at(self) -> float | None:
        """Return the start of the longest running call, hung ones included."""
        calls = (slot.call for slot in (*self._slots, *self._leaving))
        return min((call.started_at for call in calls if call is not None), default=None)

    def trouble(self, now: float) -> str | None:
        """Tell of more hung threads than the pool has, of one that hangs for long, and of handlers that do not open."""
        hung = [slot.call for slot in self._leaving if slot.is_reported and slot.call is not None]
        if len(hung) > self._execution.worker_pool_size:
            return f"{len(hung)} handler calls hang, more than worker_pool_size={self._execution.worker_pool_size}"
        longest = now - min((call.started_at for call in hung), default=now)
        if longest > self._execution.task_timeout_ms / 1000 + HUNG_SECONDS_AT_MOST:
            return f"a handler call has not returned for {longest:.0f} s"
        if self._failed_opens >= _FAILED_OPENS_AT_MOST and not any(slot.is_open for slot in self._slots):
            return "the handler does not open any more; see the log"
        return None

    def statistics(self) -> EngineStatistics:
        """Return the engine's counters."""
        self._statistics.queued = len(self._queue)
        self._statistics.workers = sum(slot.is_open for slot in self._slots)
        return self._statistics

    def stop(self, grace_seconds: float) -> None:
        """Let each thread close its handler after the call that it runs; those that do not return are abandoned."""
        deadline = time.monotonic() + grace_seconds
        slots = [*self._slots, *self._leaving]
        self._slots, self._leaving = [], []
        self._queue.clear()
        for slot in slots:
            slot.leave()
        for slot in slots:
            slot.thread.join(max(deadline - time.monotonic(), 0.0))
        abandoned = sum(slot.thread.is_alive() for slot in slots)
        if abandoned:
            _log.warning("handler calls abandoned", running=abandoned)

    def _report(self, outcome: Outcome | None) -> None:
        """Called by threads: one append, and a ring only when somebody listens."""
        if outcome is not None:
            self._outcomes.append(outcome)
        if self._is_waiting or outcome is None:
            self._is_waiting = False
            self._bell.put(None)

    def _wait_for_bell(self, seconds: float) -> None:
        try:
            self._bell.get(timeout=seconds)
            while True:  # rings that nobody heard
                self._bell.get_nowait()
        except Empty:
            return

    def _wake(self) -> None:
        """Wake sleepers for what waits. Work that one thread finishes at once wakes one, and the next look another."""
        waiting = len(self._queue)
        batches = -(-waiting // max(self._handler.batch_size, 1))
        useful = max(1, min(batches, int(waiting * self._service_seconds / _WORTH_WAKING_SECONDS)))
        for slot in self._slots:
            if useful == 0:
                return
            if slot.is_asleep:
                slot.wake()
                useful -= 1

    def _settle(self, outcome: Outcome, completions: Completions) -> None:
        messages, started_at, finished_at, error, is_bounced = outcome
        if is_bounced:
            completions.bounced += messages
            return
        seconds = finished_at - started_at
        self._statistics.busy_seconds += seconds
        self._statistics.handler_seconds.observe(seconds, len(messages))
        self._service_seconds += _SMOOTHING * (seconds / len(messages) - self._service_seconds)
        if error is None:
            completions.done += messages
            return
        completions.failures += [
            failure(message, error, started_at=started_at, finished_at=finished_at) for message in messages
        ]

    def _resize(self) -> None:
        size = self._execution.worker_pool_size
        while len(self._slots) < size:
            self._slots.append(self._new_slot())
        if len(self._slots) > size:
            self._slots.sort(key=lambda slot: slot.is_asleep)
            self._dismiss(self._slots[size:])

    def _new_slot(self) -> Slot:
        self._started += 1
        slot = Slot(self._started, self._handler.for_worker(), self._queue, self._report)
        slot.start()
        return slot

    def _dismiss(self, slots: list[Slot]) -> None:
        for slot in slots:
            slot.leave()
        self._leaving += slots
        self._slots = [slot for slot in self._slots if slot not in slots]

    def _look(self, now: float) -> None:
        """Replace threads whose call is overdue, or whose handler did not open; forget those that ended."""
        timeout = self._execution.task_timeout_ms / 1000
        overdue = [slot for slot in (*self._slots, *self._leaving) if timeout and _is_overdue(slot, now - timeout)]
        for slot in overdue:
            self._tell(slot, now)
        self._dismiss([slot for slot in overdue if not slot.is_leaving])
        self._leaving = [slot for slot in self._leaving if slot.thread.is_alive()]
        self._replace_broken(now)
        if len(self._slots) < self._execution.worker_pool_size and now >= self._reopen_at:
            self._resize()

    def _replace_broken(self, now: float) -> None:
        broken = [slot for slot in self._slots if slot.open_error is not None]
        for slot in broken:
            _log.error("the handler does not open", handler=self._handler.name, error=repr(slot.open_error))
            self._reopen_at = now + min(_REOPEN_SECONDS * 2**self._failed_opens, _REOPEN_SECONDS_AT_MOST)
            self._failed_opens += 1
        self._dismiss(broken)
        if not broken and all(slot.is_open for slot in self._slots):
            self._failed_opens = 0

    def _tell(self, slot: Slot, now: float) -> None:
        slot.is_reported = True
        call = slot.call
        if call is None:
            return
        message = call.messages[0]
        _log.error(
            "a handler call is overdue; its thread is replaced, its key waits",
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            seconds=round(now - call.started_at, 1),
            stack=stack_of(slot.thread),
        )

    def _not_open(self, error: BaseException | None) -> StartFailure:
        if error is not None:
            return not_open(self._handler.name, error)
        return StartFailure.because(
            StartReason.HANDLER_UNSUITABLE,
            field="spec.handler.entrypoint",
            value=self._handler.name,
            remedy=f"the handler's open() took over {_OPEN_SECONDS_AT_MOST:g} s",
        )


def _is_overdue(slot: Slot, limit: float) -> bool:
    call = slot.call
    return call is not None and call.started_at < limit and not slot.is_reported
