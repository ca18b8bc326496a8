"""Coroutines on a loop of their own thread: batches in by one call, completions out once per turn of the loop.

A task runs one message after the other as long as calls never wait, with one more task standing by to go on when one
does: a handler that never waits costs no task, one that waits has its own. A coroutine is never stepped by hand, since
`asyncio.timeout` and others want a real task. The next of a chain takes its place behind what waits when the one before
it has succeeded, with no way back and forth. Not here: order (the control loop releases a shard's next message on
completion, or makes chains), how many run at once (it submits no more than that).
"""

import asyncio
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from typing import Any

import structlog

from consumer_runtime.contract.settings import ExecutionSettings
from consumer_runtime.contract.state import StartReason
from consumer_runtime.engines.engine import Completions, EngineStatistics
from consumer_runtime.engines.failures import failure, raised, timed_out
from consumer_runtime.engines.pace import Pace
from consumer_runtime.engines.stacks import stack_of
from consumer_runtime.errors import StartFailure
from consumer_runtime.handler import Handler, not_open
from consumer_runtime.message import Message

_BEAT_SECONDS = 0.05
_TELL_BLOCKED_AFTER_SECONDS = 1.0
_BLOCKED_AT_MOST_SECONDS = 300.0
_OVERDUE_SECONDS_AT_MOST = 120.0
"""Past the timeout; as long as the alert on the oldest task needs (see `thread.HUNG_SECONDS_AT_MOST`)."""
_OPEN_WITHIN_SECONDS = 60.0
_UNBEGUN_AT_MOST = 500
"""Calls handed over that have not begun. Where calls need the core rather than wait, more would only lie there,
and more still be fetched behind them: no-ops by key at 20,000 in flight took 3.7 us of CPU each, and 3.0 with it."""

_log = structlog.get_logger(__name__)


class _Running:
    """One call under way: a message, or the batch that a handler asked for."""

    __slots__ = ("argument", "is_cancelled", "started_at", "task")

    def __init__(self, argument: Any, started_at: float, task: "asyncio.Task[None] | None") -> None:
        self.argument = argument
        self.started_at = started_at
        self.task = task
        self.is_cancelled = False

    @property
    def messages(self) -> list[Message]:
        return self.argument if isinstance(self.argument, list) else [self.argument]


class AsyncEngine:
    """Runs each message as a task. `_on_loop` methods run on the loop's thread, all others on the control thread."""

    keeps_order = False
    crowds = None

    def __init__(self, handler: Handler, execution: ExecutionSettings) -> None:
        """Take a coroutine function's handler; raises StartFailure for any other."""
        if not handler.is_async:
            remedy = f"{handler.name} is no `async def`: mode async would block its loop; use mode thread, or auto"
            raise _unsuitable(handler, remedy)
        self._handler = handler
        self._call = _of_copies(handler.call) if handler.wants_batch else handler.call
        self._is_batched = handler.wants_batch
        self._timeout = execution.task_timeout_ms / 1000
        self._loop = _new_loop()
        self._thread = threading.Thread(target=self._run_loop, name="handlers", daemon=True)
        self._waiting: deque[Any] = deque()
        """What calls are to be made with, before the loop turns."""
        self._submitted = self._received = 0
        """Messages handed over by the control thread, and those that reached `_waiting`."""
        self._pace = Pace()
        self._standby: asyncio.Task[None] | None = None
        self._clean = copy_context()
        """What a call should find: taken once per handover, not per call."""
        self._handovers = 0
        """Changes whenever something else ran on the loop that takes from, or adds to, what waits."""
        self._running: dict[_Running, None] = {}
        self._overdue: set[_Running] = set()
        self._finished = Completions()
        self._is_flushing = False
        self._completed: deque[Completions] = deque()
        self._wake = threading.Lock()
        self._wake.acquire()
        self._statistics = EngineStatistics(workers=1)
        self._beat_at = 0.0
        self._told_blocked_at = 0.0
        self._oldest: float | None = None

    @property
    def follows(self) -> int:
        """Return how many calls, as they went of late, are short enough together."""
        return self._pace.follows

    def start(self) -> None:
        """Start the loop and open the handler in it."""
        self._beat_at = time.monotonic()
        self._thread.start()
        if self._handler.open is not None:
            opening = asyncio.run_coroutine_threadsafe(_called(self._handler.open), self._loop)
            try:
                opening.result(_OPEN_WITHIN_SECONDS)
            except Exception as error:  # the user's code may raise anything
                raise not_open(self._handler.name, error) from error

    def submit(self, messages: list[Message]) -> None:
        """Hand over a batch with one call."""
        self._submitted += len(messages)
        self._loop.call_soon_threadsafe(self._begin_on_loop, messages)

    def room(self) -> int:
        """Return how many more may wait for their call to begin; how many run at once is the control loop's limit."""
        calls = _UNBEGUN_AT_MOST - len(self._waiting)
        return max(calls * (self._handler.batch_size or 1) - (self._submitted - self._received), 0)

    def collect(self) -> Completions | None:
        """Return what finished; one flush of the loop at a time is the rule, more are joined."""
        try:
            first = self._completed.popleft()
        except IndexError:
            return None
        while self._completed:
            more = self._completed.popleft()
            first.done += more.done
            first.failures += more.failures
            first.bounced += more.bounced
            first.followers += more.followers
        return first

    def wait(self, seconds: float) -> None:
        """Wait for the next flush."""
        if not self._completed:
            self._wake.acquire(timeout=seconds)

    def apply(self, execution: ExecutionSettings) -> None:
        """Take another timeout; it holds for calls under way too."""
        self._timeout = execution.task_timeout_ms / 1000

    def oldest_started_at(self) -> float | None:
        """Return the oldest start as of the last beat."""
        return self._oldest

    def trouble(self, now: float) -> str | None:
        """Tell of a handler that blocks the loop, with its stack, and of calls that ignore their cancellation."""
        blocked = now - self._beat_at
        if self._beat_at and blocked > _TELL_BLOCKED_AFTER_SECONDS:
            self._tell_blocked(now, blocked)
            limit = max(self._timeout, _TELL_BLOCKED_AFTER_SECONDS) if self._timeout else _BLOCKED_AT_MOST_SECONDS
            if blocked > limit:
                return f"the handler has blocked the event loop for {blocked:.1f} s; await, or use mode thread"
        oldest = min((each.started_at for each in tuple(self._overdue)), default=now)
        if self._overdue and now - oldest > self._timeout + max(self._timeout, _OVERDUE_SECONDS_AT_MOST):
            return f"a handler call ignores its cancellation for {now - oldest:.1f} s"
        return None

    def statistics(self) -> EngineStatistics:
        """Return the engine's counters."""
        return self._statistics

    def stop(self, grace_seconds: float) -> None:
        """Cancel what runs, close the handler, end the loop."""
        if not self._thread.is_alive():
            return
        ending = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        try:
            ending.result(grace_seconds)
        except TimeoutError:
            _log.warning("handler calls abandoned", running=len(self._running))
        except Exception:  # noqa: BLE001 - the user's close() may raise anything, and the process ends all the same
            _log.exception("the handler's close failed", handler=self._handler.name)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(1.0)
        self._pace.end()

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(self._beat_on_loop)
        try:
            self._loop.run_forever()
        finally:
            if not self._running:
                self._loop.close()

    def _begin_on_loop(self, messages: list[Message]) -> None:
        self._handovers += 1
        self._clean = copy_context()
        size = self._handler.batch_size
        if size:
            self._waiting.extend(messages[start : start + size] for start in range(0, len(messages), size))
        else:
            self._waiting.extend(messages)
        self._received += len(messages)
        self._stand_by()

    def _stand_by(self) -> None:
        if self._standby is None:
            self._standby = self._loop.create_task(self._run_waiting())

    async def _run_waiting(self) -> None:
        """Make calls until one waits, fails, or leaves the context changed: each of those was the last of its task."""
        task, self._standby = self._standby, None
        self._handovers += 1
        clean, waiting, call = self._clean, self._waiting, self._call
        while waiting:
            argument = waiting.popleft()
            if self._is_batched:
                argument = [message for message in argument if not self._is_given_up(message)]
                if not argument:
                    continue
            elif (at := argument.assignment) and (at.is_leaving or not at.is_open) and self._is_given_up(argument):
                continue
            running = _Running(argument, time.monotonic(), task)
            if waiting and self._standby is None:
                self._standby = self._loop.create_task(self._run_waiting())
            self._running[running] = None
            handovers = self._handovers
            try:
                await call(argument)
            except (Exception, SystemExit, asyncio.CancelledError) as error:  # noqa: BLE001 - the user's code may raise anything
                self._fail(running, timed_out(self._timeout) if _is_ours(error, running) else raised(error))
                self._end_attempt(running)
                return
            if self._is_batched:
                self._succeed(argument)
            else:
                self._finished.done.append(argument)
                if argument.follower is not None:
                    self._go_on(argument)
            self._end_attempt(running)
            if running.is_cancelled or handovers != self._handovers or not _is_unchanged(clean):
                return

    def _succeed(self, messages: list[Message]) -> None:
        self._finished.done += messages
        for message in messages:
            self._go_on(message)

    def _fail(self, running: _Running, cause: Any) -> None:
        now = time.monotonic()
        for message in running.messages:
            self._finished.failures.append(failure(message, cause, started_at=running.started_at, finished_at=now))
            self._end_chain(message)

    def _is_given_up(self, message: Message) -> bool:
        """Return whether a message's partition is left or gone; then it is handed back, and its chain with it."""
        assignment = message.assignment
        if assignment is None or (assignment.is_open and not assignment.is_leaving):
            return False
        self._finished.bounced.append(message)
        self._end_chain(message)
        self._flush_soon()
        return True

    def _go_on(self, message: Message) -> None:
        """Let the next of a chain wait for its call."""
        follower, waiting = message.follower, self._waiting
        if follower is None:
            return
        self._finished.followers += 1
        if not self._is_batched:
            waiting.append(follower)
        elif waiting and len(waiting[-1]) < self._handler.batch_size:
            waiting[-1].append(follower)
        else:
            waiting.append([follower])
        self._stand_by()

    def _end_chain(self, message: Message) -> None:
        """Hand back those after a message: none of them has begun."""
        while (follower := message.follower) is not None:
            message.follower = None
            self._finished.bounced.append(follower)
            self._finished.followers += 1
            message = follower

    def _end_attempt(self, running: _Running) -> None:
        elapsed = time.monotonic() - running.started_at
        statistics, calls = self._statistics, self._statistics.handler_seconds
        statistics.busy_seconds += elapsed
        if self._is_batched:
            calls.observe(elapsed, len(running.argument))
        else:
            calls.counts[bisect_left(calls.bounds, elapsed)] += 1
            calls.total_seconds += elapsed
        del self._running[running]
        if running.is_cancelled:
            self._overdue.discard(running)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._is_flushing:
            self._is_flushing = True
            self._loop.call_soon(self._flush_on_loop)

    def _flush_on_loop(self) -> None:
        self._is_flushing = False
        finished, self._finished = self._finished, Completions()
        if calls := len(finished.done) + len(finished.failures):
            self._pace.took(calls, self._statistics.handler_seconds.total_seconds)
        self._completed.append(finished)
        if self._wake.locked():
            self._wake.release()

    def _beat_on_loop(self) -> None:
        """Show that the loop turns, and give up calls past their timeout: starts are in order, so the oldest first."""
        now = self._beat_at = time.monotonic()
        self._pace.take_turns()
        self._oldest = next((each.started_at for each in self._running), None)
        if self._timeout:
            self._cancel_started_before(now - self._timeout)
        self._loop.call_later(_BEAT_SECONDS, self._beat_on_loop)

    def _cancel_started_before(self, limit: float) -> None:
        late: list[_Running] = []
        for running in self._running:
            if running.started_at > limit:
                break
            if not running.is_cancelled:
                late.append(running)
        for running in late:
            running.is_cancelled = True
            self._overdue.add(running)
            if running.task is not None:
                running.task.cancel()

    def _tell_blocked(self, now: float, blocked: float) -> None:
        if now - self._told_blocked_at < max(blocked, 10 * _TELL_BLOCKED_AFTER_SECONDS):
            return
        self._told_blocked_at = now
        _log.error("the handler blocks the event loop", seconds=round(blocked, 1), stack=stack_of(self._thread))

    async def _end(self) -> None:
        self._waiting.clear()
        for message in [message for running in self._running for message in running.messages]:
            message.follower = None
        tasks = [each.task for each in self._running if each.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._handler.close is not None:
            await _called(self._handler.close)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def _is_ours(error: BaseException, running: _Running) -> bool:
    """Whether a call ended since we cancelled it for its timeout."""
    return running.is_cancelled and isinstance(error, asyncio.CancelledError)


def _is_unchanged(clean: Context) -> bool:
    """Whether the next call would see nothing of what the last one set; the same map is known as such in one step."""
    try:
        return copy_context() == clean
    except Exception:  # noqa: BLE001 - values are the user's, and may not be comparable
        return False


def _of_copies(call: Callable[[list[Message]], Awaitable[Any]]) -> Callable[[list[Message]], Awaitable[Any]]:
    """Return a call that may do with its list what it likes."""
    return lambda messages: call(list(messages))


async def _called(hook: Callable[[], object]) -> None:
    result = hook()
    if isinstance(result, Awaitable):
        await result


def _unsuitable(handler: Handler, remedy: str) -> StartFailure:
    return StartFailure.because(
        StartReason.HANDLER_UNSUITABLE, field="spec.handler.entrypoint", value=handler.name, remedy=remedy
    )
