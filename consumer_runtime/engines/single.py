"""The handler inline, in the control thread: nothing between the poll and the call.

It guarantees neither a timeout nor that the poll goes on: a call that hangs stops everything, and a watchdog thread
says so and ends the process before the broker does. Not here: when to run what (`consume`).
"""

import asyncio
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from operator import length_hint
from typing import Any

import structlog

from consumer_runtime.contract.settings import ExecutionSettings
from consumer_runtime.engines.awaiting import waited_for
from consumer_runtime.engines.engine import Completions, EngineStatistics
from consumer_runtime.engines.failures import failure, raised
from consumer_runtime.handler import Handler, not_open
from consumer_runtime.message import Message

_TURN_SECONDS = 0.05
"""A turn of the control loop should not take longer, so that commits and retries keep their times."""
_LONGEST_TURN = 10_000
_POLL_INTERVAL_SHARE = 0.8
_WATCH_SECONDS = 0.25

_log = structlog.get_logger(__name__)


class SingleEngine:
    """Runs each submitted batch at once; `run` is the shortcut for a batch that nobody waits behind."""

    keeps_order = False
    crowds = None
    follows = 0

    def __init__(
        self,
        handler: Handler,
        execution: ExecutionSettings,
        *,
        max_poll_interval_seconds: float = 300.0,
        give_up: Callable[[str], None] | None = None,
    ) -> None:
        """Take `give_up` for what the watchdog does at the end; by default it ends the process with status 70."""
        self._handler = handler
        self._call = handler.call
        self._runner: asyncio.Runner | None = None
        self._statistics = EngineStatistics(workers=1)
        self._completions = Completions()
        self._turn = 1
        self._started_at: float | None = None
        self._iterator: Iterator[Any] | None = None
        self._max_poll_interval = max_poll_interval_seconds
        self._give_up = give_up or end_process
        self._limit = _limit(execution, max_poll_interval_seconds)
        self._stopped = threading.Event()
        self._watchdog = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    @property
    def wants_batch(self) -> bool:
        """Whether the handler takes lists."""
        return self._handler.wants_batch

    def start(self) -> None:
        """Open the handler, and watch."""
        if self._handler.is_async:
            self._runner = asyncio.Runner()
            self._call = waited_for(self._handler.call, self._runner.run)
        self._hook(self._handler.open, "open")
        self._watchdog.start()

    def run(self, messages: list[Message]) -> int:
        """Call the handler with each message; return how many succeeded before the first failure, if any.

        The failure is in the next `collect`; messages after it were not attempted.
        """
        if self._handler.wants_batch:
            return self._run_batches(messages)
        call = self._call
        iterator = iter(messages)
        started = time.monotonic()
        self._begin(iterator, started)
        try:
            for message in iterator:
                call(message)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
            done = len(messages) - length_hint(iterator) - 1
            self._failed([message], error, started)
        else:
            done = len(messages)
        self._finish(done, started)
        return done

    def submit(self, messages: list[Message]) -> None:
        """Run messages now. One that fails does not stop the others: they belong to other shards."""
        while messages:
            done = self.run(messages)
            self._completions.done += messages[:done]
            messages = messages[done + self._skipped(messages, done) :]

    def room(self) -> int:
        """Return how many messages fit into about 50 ms, as the last ones went."""
        return self._turn

    def collect(self) -> Completions | None:
        """Return what `run` and `submit` brought."""
        completions = self._completions
        if not (completions.done or completions.failures):
            return None
        self._completions = Completions()
        return completions

    def wait(self, seconds: float) -> None:
        """Sleep: nothing can finish meanwhile."""
        time.sleep(seconds)

    def apply(self, execution: ExecutionSettings) -> None:
        """Take another timeout for the watchdog."""
        self._limit = _limit(execution, self._max_poll_interval)

    def oldest_started_at(self) -> float | None:
        """Return the start of the running batch."""
        return self._started_at

    def trouble(self, now: float) -> str | None:  # noqa: ARG002 - the port's shape
        """Whoever calls this is not stuck in a handler."""
        return None

    def statistics(self) -> EngineStatistics:
        """Return the engine's counters."""
        return self._statistics

    def stop(self, grace_seconds: float) -> None:  # noqa: ARG002 - the port's shape
        """Close the handler and its loop."""
        self._stopped.set()
        self._hook(self._handler.close, "close")
        if self._runner is not None:
            self._runner.close()

    def _run_batches(self, messages: list[Message]) -> int:
        size = self._handler.batch_size
        for start in range(0, len(messages), size):
            batch = messages[start : start + size]
            began = time.monotonic()
            self._begin(iter(()), began)
            try:
                self._call(batch)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
                self._failed(batch, error, began)
                self._finish(0, began)
                return start
            self._finish(len(batch), began)
        return len(messages)

    def _skipped(self, messages: list[Message], done: int) -> int:
        """Return how many messages after the `done` ones are in the failure: one, or a handler's whole batch."""
        if done == len(messages):
            return 0
        return min(max(self._handler.batch_size, 1), len(messages) - done)

    def _begin(self, iterator: Iterator[Any], now: float) -> None:
        self._iterator = iterator
        self._started_at = now

    def _finish(self, done: int, started: float) -> None:
        elapsed = time.monotonic() - started
        self._started_at = None
        self._statistics.busy_seconds += elapsed
        if done:
            self._statistics.handler_seconds.observe(elapsed / done, done)
            fitting = int(done * _TURN_SECONDS / elapsed) if elapsed > 0 else _LONGEST_TURN
            self._turn = max(1, min(fitting, 4 * max(done, self._turn), _LONGEST_TURN))

    def _failed(self, messages: list[Message], error: BaseException, started: float) -> None:
        cause, now = raised(error), time.monotonic()
        self._completions.failures += [failure(each, cause, started_at=started, finished_at=now) for each in messages]

    def _hook(self, hook: Callable[[], object] | None, name: str) -> None:
        if hook is None:
            return
        try:
            result = hook()
            if isinstance(result, Awaitable):
                _await(result, self._runner)
        except Exception as error:
            if name == "close":
                _log.exception("the handler's close failed", handler=self._handler.name)
                return
            raise not_open(self._handler.name, error) from error

    def _watch(self) -> None:
        """Notice a message that does not come to its end: the iterator over the batch stands still."""
        seen: tuple[object, int] = (None, 0)
        since = time.monotonic()
        while not self._stopped.wait(_WATCH_SECONDS):
            at = (self._started_at, _remaining(self._iterator))
            now = time.monotonic()
            if at != seen or self._started_at is None:
                seen, since = at, now
            elif now - since > self._limit:
                self._give_up(f"the handler did not return within {now - since:.1f} s")
                return


def end_process(reason: str) -> None:
    """Say what hangs, with the stacks of all threads, and end the process: nothing else can end the call."""
    _log.critical("handler stuck", reason=reason, remedy="see the stack; set task_timeout_ms, or use thread or process")
    sys.stdout.flush()
    faulthandler.dump_traceback(file=sys.stderr)
    os._exit(70)


def _limit(execution: ExecutionSettings, max_poll_interval_seconds: float) -> float:
    """Return min(task timeout, 0.8 x max.poll.interval): beyond the latter the broker takes the partitions away."""
    broker = _POLL_INTERVAL_SHARE * max_poll_interval_seconds
    timeout = execution.task_timeout_ms / 1000
    return min(timeout, broker) if timeout else broker


def _remaining(iterator: Iterator[Any] | None) -> int:
    return length_hint(iterator) if iterator is not None else 0


def _await(result: Awaitable[object], runner: asyncio.Runner | None) -> None:
    async def awaited() -> object:
        return await result

    if runner is not None:
        runner.run(awaited())
    else:
        asyncio.run(awaited())
