"""The program of one worker process: takes frames of messages, runs the handler, answers with what became of them.

Started by `process_spawn`; imports neither pydantic nor a Kafka client, and nothing of the user's was pickled to get
here. Messages count from 0 in the order of the channel. A failure is told before the next message begins, so that a
parent which finds the worker dead knows: what lies before the running message is done, or was told. Not here: timeouts
(the parent's), retries (the control loop's).
"""

import contextlib
import ctypes
import os
import signal
import socket
import sys
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from consumer_runtime import handler as user
from consumer_runtime import user_metrics
from consumer_runtime.contract.choices import ValueFormat
from consumer_runtime.contract.metrics import LATENCY_BUCKETS
from consumer_runtime.engines import process_logs
from consumer_runtime.engines.awaiting import waited_for
from consumer_runtime.engines.failures import raised
from consumer_runtime.engines.process_cell import Cell
from consumer_runtime.engines.process_channel import Frames, frame
from consumer_runtime.engines.process_entry import restore, spelled_for_parent
from consumer_runtime.errors import StartFailure
from consumer_runtime.garbage import collected_in_larger_steps
from consumer_runtime.message import Message

if TYPE_CHECKING:
    import asyncio

_ANSWER_AFTER_SECONDS = 0.02
"""Results wait no longer than this, or the end of their frame, so that short calls share an answer."""
_READ_BYTES = 262_144
_SET_PARENT_DEATH_SIGNAL = 1
_MMAP_THRESHOLD = -3
_LARGE_BYTES = 262_144
"""Of a block of memory that is the kernel's again once it is freed."""

Raw = tuple[Any, ...]
"""The leading arguments of `Message`."""
Shard = bytes | tuple[str, int] | None
Plain = tuple[Any, ...]
"""The fields of `failures.Raised`, as marshal takes them."""


class Order(NamedTuple):
    """What a new worker is told first."""

    entrypoint: str
    value_format: str
    log_context: bool
    topics: tuple[tuple[str, str], ...]
    options: str
    program: str
    """See `process_entry.Entry`."""
    log_level: int
    """0 leaves logging alone."""
    by_key: bool
    by_partition: bool


class Started(NamedTuple):
    """The first answer: empty texts when the handler is open, else what a StartFailure says."""

    reason: str = ""
    value: str = ""
    remedy: str = ""
    detail: str = ""


class Work(NamedTuple):
    """One frame to a worker."""

    opened: list[Shard]
    """Shards that were passed over since they failed, and no longer are: what is left of them came back."""
    messages: list[Raw]
    log_level: int
    """0: as before."""


class Failed(NamedTuple):
    """One call that failed; `width` messages from `index` on were in it."""

    position: int
    width: int
    cause: Any
    """`failures.Raised`, or its fields on the way."""
    started_at: float
    finished_at: float


class Answer(NamedTuple):
    """What happened since the last answer. Everything before `index` is behind: done, passed over, or failed here."""

    position: int
    busy_seconds: float
    buckets: list[tuple[int, int]]
    """Calls by latency bucket, as (bucket, messages)."""
    failed: Failed | None
    user: Any
    """What the handler counted of its own (`user_metrics`), None for nothing."""


class Worker:
    """Runs messages one call at a time."""

    def __init__(self, channel: socket.socket, cell: Cell) -> None:
        self._channel = channel
        self._cell = cell
        self._frames = Frames()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._by_key = self._by_partition = False
        self._passed_over: set[Shard] = set()
        self._index = 0
        self._answered_at = 0.0
        self._busy = 0.0
        self._buckets = [0] * (len(LATENCY_BUCKETS) + 1)
        self._is_fork = False
        os.register_at_fork(after_in_child=self._become_fork)

    def run(self) -> int:
        """Serve until the parent closes the channel; return the exit status."""
        order = self._receive_order()
        if order is None:
            return 0
        try:
            handler = self._open(order)
        except StartFailure as failure:
            error = failure.error
            self._send(tuple(Started(error.reason.value, error.value, error.remedy, failure.detail)))
            return 1
        self._send(tuple(Started()))
        self._serve(handler)
        self._close(handler)
        return 0

    def _receive_order(self) -> Order | None:
        while chunk := self._channel.recv(_READ_BYTES):
            for value in self._frames.feed(chunk):
                return Order(*value)
        return None

    def _open(self, order: Order) -> user.Handler:
        self._by_key, self._by_partition = order.by_key, order.by_partition
        restore(order.program)
        value_format = ValueFormat(order.value_format)
        reference = user.Reference(
            entrypoint=order.entrypoint,
            value_format=value_format,
            log_context=order.log_context,
            topics=order.topics,
            options=order.options,
        )
        handler = user.refer(reference)
        process_logs.follow(order.log_level)
        if handler.is_async:
            self._loop = _new_loop()
        if handler.open is not None:
            try:
                self._hook(handler.open)
            except BaseException as error:  # the user's code may raise anything, SystemExit too
                raise user.not_open(handler.name, error) from error
        return handler

    def _hook(self, hook: Callable[[], object]) -> None:
        result = hook()
        if isinstance(result, Awaitable):
            loop = self._loop or _new_loop()
            loop.run_until_complete(result)
            if loop is not self._loop:
                loop.close()

    def _serve(self, handler: user.Handler) -> None:
        call = handler.call if self._loop is None else waited_for(handler.call, self._loop.run_until_complete)
        while chunk := self._channel.recv(_READ_BYTES):
            for opened, messages, log_level in self._frames.feed(chunk):
                self._passed_over.difference_update(opened)
                process_logs.follow(log_level)
                if handler.wants_batch:
                    self._run_batches(call, messages, handler.batch_size)
                else:
                    self._run_each(call, messages)

    def _run_each(self, call: Callable[[Message], Any], messages: list[Raw]) -> None:
        """Run one message per call. The hot path: locals, one clock reading a message, no call of ours."""
        clock, begin, buckets, passed_over = time.monotonic, self._cell.begin, self._buckets, self._passed_over
        index, started_at, shortest = self._index, clock(), LATENCY_BUCKETS[0]
        self._answered_at = started_at
        for raw in messages:
            if passed_over and self._shard(raw) in passed_over:
                index += 1
                continue
            begin(index, started_at)
            cause: Plain | None = None
            try:
                call(Message(*raw))
            except BaseException as error:  # noqa: BLE001 - the user's code may raise anything, SystemExit too
                cause = self._cause(error)
            if self._is_fork:
                _leave_fork(None)
            now = clock()
            seconds = now - started_at
            buckets[0 if seconds <= shortest else bisect_left(LATENCY_BUCKETS, seconds)] += 1
            self._busy += seconds
            index += 1
            if cause is not None:
                passed_over.add(self._shard(raw))
                self._answer(index, Failed(index - 1, 1, cause, started_at, now))
                now = clock()
            elif now - self._answered_at > _ANSWER_AFTER_SECONDS:
                self._answer(index)
                now = clock()
            started_at = now
        self._rest(index)

    def _run_batches(self, call: Callable[[list[Message]], Any], messages: list[Raw], size: int) -> None:
        """Run as many messages per call as the handler asks for, and as there are."""
        for start in range(0, len(messages), size):
            self._run_batch(call, messages[start : start + size])

    def _run_batch(self, call: Callable[[list[Message]], Any], part: list[Raw]) -> None:
        first, width, started_at = self._index, len(part), time.monotonic()
        batch = [raw for raw in part if self._shard(raw) not in self._passed_over]
        failed = None
        if batch:
            self._cell.begin(first, started_at, width)
            failed = self._call_batch(call, batch, first, width, started_at)
            self._busy += time.monotonic() - started_at
        self._rest(first + width, failed)

    def _call_batch(
        self, call: Callable[[list[Message]], Any], batch: list[Raw], first: int, width: int, started_at: float
    ) -> Failed | None:
        cause: Plain | None = None
        try:
            call([Message(*raw) for raw in batch])
        except BaseException as error:  # noqa: BLE001 - the user's code may raise anything, SystemExit too
            cause = self._cause(error)
        if self._is_fork:
            _leave_fork(None)
        now = time.monotonic()
        self._buckets[bisect_left(LATENCY_BUCKETS, now - started_at)] += len(batch)
        if cause is None:
            return None
        self._passed_over.update(self._shard(raw) for raw in batch)
        return Failed(first, width, cause, started_at, now)

    def _cause(self, error: BaseException) -> Plain:
        """Return what is kept of an exception.

        No caller binds one beyond its `except`: the traceback has the caller's frame, and the two would keep each
        other, with the message, until the next collection of cycles.
        """
        if self._is_fork:
            _leave_fork(error)
        return _plain(error)

    def _shard(self, raw: Raw) -> Shard:
        """Return what the parent holds for the shard (`process_routing`); None never fails as a shard."""
        if self._by_key:
            return raw[3]  # type: ignore[no-any-return]
        return (raw[0], raw[1]) if self._by_partition else None

    def _rest(self, index: int, failed: Failed | None = None) -> None:
        if failed is None:
            self._cell.rest(index)
        self._answer(index, failed)
        self._cell.rest(index)
        self._index = index

    def _answer(self, index: int, failed: Failed | None = None) -> None:
        self._passed_over.discard(None)
        counts = [(bucket, count) for bucket, count in enumerate(self._buckets) if count]
        self._send((index, self._busy, counts, failed and tuple(failed), user_metrics.OWN.take()))
        for bucket, _ in counts:
            self._buckets[bucket] = 0
        self._busy = 0.0
        self._answered_at = time.monotonic()

    def _send(self, value: Any) -> None:
        self._channel.sendall(b"".join(frame(value)))

    def _close(self, handler: user.Handler) -> None:
        if handler.close is not None:
            self._hook(handler.close)
            self._answer(self._index)
        if self._loop is not None:
            self._loop.close()

    def _become_fork(self) -> None:
        """In a process that a handler forked: the channel is the worker's alone."""
        self._is_fork = True
        self._channel.close()


def _new_loop() -> "asyncio.AbstractEventLoop":
    import asyncio  # 7 MB that workers of other handlers save

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop


def _plain(error: BaseException) -> Plain:
    """Return `failures.Raised` with the kind as a plain string, since marshal takes no enum."""
    kind, classes, text, retry_after_seconds = raised(error)
    return kind.value, tuple(map(spelled_for_parent, classes)), text, retry_after_seconds


def _leave_fork(error: BaseException | None) -> None:
    """End a child of the handler that came back from it: it must not go on as a second worker."""
    if isinstance(error, SystemExit):
        os._exit(error.code if isinstance(error.code, int) else int(error.code is not None))
    if error is not None:
        sys.excepthook(type(error), error, error.__traceback__)
    os._exit(0 if error is None else 1)


def _die_with_parent() -> None:
    """Let the kernel end this process with the parent: a hung handler never sees the channel close."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _give_large_values_back() -> None:
    """Keep glibc from moving its threshold after the first large value.

    It would put the next ones on the heap, where small objects between them hold the space: 24 MB instead of 17 after a
    thousand values of 1 MB.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)


def main(channel_descriptor: int, cell_descriptor: int, parent: int) -> None:
    """Run a worker over two inherited descriptors. SIGINT is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    _give_large_values_back()
    if os.getppid() != parent:
        return
    for descriptor in (channel_descriptor, cell_descriptor):
        os.set_inheritable(descriptor, False)
    cell = Cell(cell_descriptor)
    os.close(cell_descriptor)
    with collected_in_larger_steps(), socket.socket(fileno=channel_descriptor) as channel:
        status = Worker(channel, cell).run()
    sys.exit(status)
