"""One thread that runs handler calls, with a handler of its own.

It takes single messages from a queue that all threads share, goes on while there are any, and sleeps until it is woken.
Not here: how many threads there are, and what a call that does not return means (`thread`).
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from typing import NamedTuple

import structlog

from consumer_runtime.engines.awaiting import waited_for
from consumer_runtime.engines.failures import Raised, raised
from consumer_runtime.handler import Handler
from consumer_runtime.message import Message

_log = structlog.get_logger(__name__)


class Call(NamedTuple):
    """A call that runs: a message, or the batch that the handler asked for."""

    messages: list[Message]
    started_at: float


class Outcome(NamedTuple):
    """A call that returned; or messages that were not called, since their assignment was closed."""

    messages: list[Message]
    started_at: float
    finished_at: float
    error: Raised | None = None
    is_bounced: bool = False


class Slot:
    """A thread. The control thread reads `call` and `is_asleep`, and decides `is_leaving`."""

    def __init__(
        self, number: int, handler: Handler, queue: deque[Message], report: Callable[[Outcome | None], None]
    ) -> None:
        """Take the shared queue, and what is told each outcome, and None once after opening."""
        self.call: Call | None = None
        self.is_asleep = False
        self.is_leaving = False
        self.is_open = False
        self.is_reported = False
        """Its call was told to be overdue."""
        self.open_error: BaseException | None = None
        self.thread = threading.Thread(target=self._live, name=f"handler-{number}", daemon=True)
        self._handler = handler
        self._invoke = handler.call
        self._queue = queue
        self._report = report
        self._alarm: SimpleQueue[None] = SimpleQueue()
        self._runner: asyncio.Runner | None = None

    def start(self) -> None:
        """Start the thread, which opens the handler first."""
        self.thread.start()

    def wake(self) -> None:
        """Let the thread look at the queue."""
        self.is_asleep = False
        self._alarm.put(None)

    def leave(self) -> None:
        """Let the thread end after the call that it runs, if any."""
        self.is_leaving = True
        self._alarm.put(None)

    def _live(self) -> None:
        try:
            self._open()
        except BaseException as error:  # noqa: BLE001 - the user's code may raise anything; the control thread raises it
            self.open_error = error
            self._report(None)
            return
        self.is_open = True
        self._report(None)
        self._serve()
        self._close()

    def _serve(self) -> None:
        while not self.is_leaving:
            self.is_asleep = True
            if not self._queue:  # looked at after saying so: whoever adds later sees a sleeper
                self._alarm.get()
            self.is_asleep = False
            if self._handler.wants_batch:
                self._run_batches()
            else:
                self._run_each()

    def _run_each(self) -> None:
        take, invoke, report, clock = self._queue.popleft, self._invoke, self._report, time.monotonic
        while not self.is_leaving:
            try:
                message = take()
            except IndexError:
                return
            messages = [message]
            if message.assignment is not None and not message.assignment.is_open:
                report(Outcome(messages, 0.0, 0.0, is_bounced=True))
                continue
            started_at = clock()
            self.call = Call(messages, started_at)
            error: Raised | None = None
            try:
                invoke(message)
            except BaseException as raised_error:  # noqa: BLE001 - the user's code may raise anything, SystemExit too
                error = raised(raised_error)
            self.call = None
            report(Outcome(messages, started_at, clock(), error))

    def _run_batches(self) -> None:
        while not self.is_leaving and (messages := self._take_batch()):
            started_at = time.monotonic()
            self.call = Call(messages, started_at)
            error: Raised | None = None
            try:
                self._invoke(list(messages))
            except BaseException as raised_error:  # noqa: BLE001 - the user's code may raise anything, SystemExit too
                error = raised(raised_error)
            self.call = None
            self._report(Outcome(messages, started_at, time.monotonic(), error))

    def _take_batch(self) -> list[Message]:
        batch: list[Message] = []
        while len(batch) < self._handler.batch_size:
            try:
                message = self._queue.popleft()
            except IndexError:
                break
            if message.assignment is None or message.assignment.is_open:
                batch.append(message)
            else:
                self._report(Outcome([message], 0.0, 0.0, is_bounced=True))
        return batch

    def _open(self) -> None:
        if self._handler.is_async:
            self._runner = asyncio.Runner()
            self._invoke = waited_for(self._handler.call, self._runner.run)
        if self._handler.open is not None:
            self._hook(self._handler.open)

    def _close(self) -> None:
        try:
            if self._handler.close is not None:
                self._hook(self._handler.close)
        except BaseException as error:  # noqa: BLE001 - the user's code may raise anything, and the thread ends anyway
            _log.exception("the handler's close failed", handler=self._handler.name, error=repr(error))
        if self._runner is not None:
            self._runner.close()

    def _hook(self, hook: Callable[[], object]) -> None:
        result = hook()
        if isinstance(result, Awaitable):
            self._await(result)

    def _await(self, result: Awaitable[object]) -> None:
        async def awaited() -> None:
            await result

        if self._runner is None:
            asyncio.run(awaited())
        else:
            self._runner.run(awaited())
