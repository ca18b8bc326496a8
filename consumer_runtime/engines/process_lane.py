"""One seat for a worker process: what waits before it, what is in its pipe, and what its answers or its death mean.

The pipe is first in, first out, and a worker tells of a failure before it begins the next message; so whatever lies
before the message that a dead worker was running is done or was told, that one is charged an attempt, and the rest was
never begun. Not here: which shard goes to which lane (`process_routing`), when a worker is started or killed
(`process`).
"""

import signal
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from itertools import accumulate, islice

from consumer_runtime import user_metrics
from consumer_runtime.engines.engine import Completions, EngineStatistics, FailureKind, error_names
from consumer_runtime.engines.failures import Raised, failure
from consumer_runtime.engines.process_cell import Progress
from consumer_runtime.engines.process_channel import BrokenFrameError
from consumer_runtime.engines.process_spawn import WorkerProcess
from consumer_runtime.engines.process_worker import Failed, Order, Raw, Shard, Started
from consumer_runtime.message import Message

_BATCHES_IN_PIPE = 4
_PIPE_SECONDS = 0.01
"""Work in a pipe at most: what is there cannot go to another worker."""
_BACKLOG_PIPE_SECONDS = 0.04
"""The same where as much again waits before the lane: the tail is far, and each refill is a wake-up of the parent,
which costs 50 to 100 us where the workers keep all cores busy."""
_SLOW_SECONDS = 0.05
"""A call of this length gets a pipe without anything behind it: 1 ms between two calls is then 2 % at most."""
_SMOOTHING = 0.3
_FRAME_BYTES = 524_288
"""A frame is closed at this size: a worker's socket takes no more than about that before somebody has to wait."""


class Lane:
    """A seat. The worker in it may be starting, at work, or gone."""

    def __init__(self, shard_of: Callable[[Message], Shard], statistics: EngineStatistics) -> None:
        self.pending: deque[Message] = deque()
        """Waits for room in the pipe."""
        self.pipe: deque[Message | None] = deque()
        """Sent and not answered; None for what the worker passes over, which was handed back."""
        self.worker: WorkerProcess | None = None
        self.is_ready = False
        """The worker has opened its handler."""
        self.is_retiring = False
        self.is_ending = False
        """Told to come to its end; nothing is sent any more."""
        self.failed_starts = 0
        """Workers in a row that died before they were ready."""
        self.start_failure: Started | None = None
        """Why the last of them did not become ready, if it could say so."""
        self.start_at = 0.0
        """When the next worker may be started; `time.monotonic()`."""
        self.futile_until = 0.0
        """Nothing can be taken over from here before."""
        self._shard_of = shard_of
        self._statistics = statistics
        self._base = 0
        self._holes = 0
        self._opened: list[Shard] = []
        self._log_level = 0
        self._service_seconds = _BACKLOG_PIPE_SECONDS
        self._overdue_position: int | None = None

    def seat(self, worker: WorkerProcess, order: Order) -> None:
        """Take a new worker and tell it what to do."""
        self.worker = worker
        self.is_ready = False
        self._overdue_position = None
        self._base = 0
        worker.channel.send(tuple(order))

    def feed(self, batch_size: int, out: Completions) -> None:
        """Fill the pipe: at once when it runs low, else by whole batches, so that batches grow under backlog."""
        worker = self.worker
        if worker is None or not self.is_ready or self.is_ending:
            return
        while self.pending and not worker.channel.has_unsent and not worker.channel.is_broken:
            depth = self._depth(batch_size)
            room = depth - len(self.pipe)
            is_low = len(self.pipe) * 2 <= depth
            if room <= 0 or not (is_low or min(room, len(self.pending)) >= batch_size):
                return
            messages = self._take(min(room, batch_size), out)
            if messages:
                worker.channel.send((self._opened, messages, self._log_level))
                self._opened = []
                self._log_level = 0

    def tell_log_level(self, level: int) -> None:
        """Send a new level along with the next frame."""
        self._log_level = level

    def receive(self, out: Completions) -> None:
        """Take what the worker said. Raises BrokenFrameError."""
        if self.worker is None:
            return
        for value in self.worker.channel.receive():
            if self.is_ready:
                self._take_answer(value, out)
            else:
                self._take_started(Started(*value))

    def progress(self) -> Progress | None:
        """Return the call that runs now, if any."""
        progress = self.worker.cell.read() if self.worker is not None else None
        return progress if progress is not None and progress.running else None

    def behind(self, since: float) -> Progress | None:
        """Return a call that runs since then or longer, with messages before it that were not answered."""
        if not (self.pipe and self.is_ready):
            return None
        progress = self.progress()
        is_behind = progress is not None and progress.position > self._base and progress.started_at <= since
        return progress if is_behind else None

    def catch_up(self, running: Progress, out: Completions) -> None:
        """Take what lies before a running call for done. What the worker said until then must have been received."""
        if self.worker is not None and not self.worker.channel.is_broken:
            self._advance(min(running.position, self._base + len(self.pipe)), out)

    def give_up(self, overdue: Progress) -> None:
        """Kill the worker for the call that takes too long."""
        if self.worker is not None and self._overdue_position is None:
            self._overdue_position = overdue.position
            self.worker.kill()

    def end(self) -> None:
        """Let the worker close the handler and exit, once it has run what is in the pipe."""
        if self.worker is not None and not self.is_ending:
            self.is_ending = True
            self.worker.channel.end()

    def bury(self, timed_out: Raised, now: float, out: Completions) -> str:
        """Take stock after the worker's death: hand everything back, charge what was running. Return how it died."""
        worker = self.worker
        if worker is None:
            return ""
        status = worker.end()
        self._receive_last(out)
        how = _how(status)
        progress = worker.cell.read()
        end = min(progress.position, self._base + len(self.pipe))
        is_current = end >= self._base
        if is_current:
            self._advance(end, out)
        if is_current and progress.running and self._overdue_position in (None, end):
            cause = _lost(how) if self._overdue_position is None else timed_out
            self._charge(Failed(end, progress.running, cause, progress.started_at, now), out)
        out.bounced += [message for message in self.pipe if message is not None]
        out.bounced += self.pending
        self._leave(worker)
        return how

    def _leave(self, worker: WorkerProcess) -> None:
        self.failed_starts = 0 if self.is_ready else self.failed_starts + 1
        self.pipe.clear()
        self.pending.clear()
        self._opened.clear()
        self._holes = 0
        self.is_ready = False
        self.worker = None
        worker.close()

    def _receive_last(self, out: Completions) -> None:
        try:
            self.receive(out)
        except BrokenFrameError:  # what came before it counts; the process is dead, whatever it was
            return

    def _depth(self, batch_size: int) -> int:
        if self._service_seconds > _SLOW_SECONDS:
            return 1
        service = max(self._service_seconds, 1e-7)
        seconds = _BACKLOG_PIPE_SECONDS if len(self.pending) * service >= _BACKLOG_PIPE_SECONDS else _PIPE_SECONDS
        return max(2, min(int(seconds / service), _BATCHES_IN_PIPE * batch_size))

    def _take(self, count: int, out: Completions) -> list[Raw]:
        """Move up to `count` messages to the pipe; those whose assignment was closed meanwhile are handed back."""
        pending = self.pending
        sizes = [len(each.value) if each.value else 0 for each in islice(pending, count)]
        if sum(sizes) > _FRAME_BYTES:
            del sizes[bisect_left(list(accumulate(sizes)), _FRAME_BYTES) + 1 :]
        taken = [pending.popleft() for _ in sizes]
        if any(each is not None and not each.is_open for each in {message.assignment for message in taken}):
            out.bounced += [each for each in taken if each.assignment is not None and not each.assignment.is_open]
            taken = [each for each in taken if each.assignment is None or each.assignment.is_open]
        self.pipe.extend(taken)
        return [
            (each.topic, each.partition, each.offset, each.key, each.value, each.headers, each.timestamp)
            if each.attempt == 1
            else _raw_again(each)
            for each in taken
        ]

    def _take_started(self, started: Started) -> None:
        if started.reason:
            self.start_failure = started
        else:
            self.is_ready = True
            self.failed_starts = 0
            self.start_failure = None

    def _take_answer(self, value: Raw, out: Completions) -> None:
        """Take the fields of an `Answer`."""
        position, busy_seconds, buckets, failed, user = value
        if user is not None:
            user_metrics.OWN.add(user)
        calls = self._statistics.handler_seconds
        measured = 0
        for bucket, count in buckets:
            calls.counts[bucket] += count
            measured += count
        calls.total_seconds += busy_seconds
        self._statistics.busy_seconds += busy_seconds
        if measured:
            self._service_seconds += _SMOOTHING * (busy_seconds / measured - self._service_seconds)
        if failed is not None:
            first, width, cause, started_at, finished_at = failed
            self._advance(first, out)
            kind, *rest = cause
            self._charge(Failed(first, width, Raised(FailureKind(kind), *rest), started_at, finished_at), out)
        self._advance(position, out)

    def _advance(self, position: int, out: Completions) -> None:
        """Everything in the pipe before `position` is done, but for what was handed back."""
        pipe = self.pipe
        passed = [pipe.popleft() for _ in range(position - self._base)]
        self._base += len(passed)
        if self._holes:
            done = [message for message in passed if message is not None]
            self._holes -= len(passed) - len(done)
            out.done += done
        else:
            out.done += passed  # type: ignore[arg-type]  # no holes, no None

    def _charge(self, failed: Failed, out: Completions) -> None:
        """Take out a failed call: the first message of each shard failed, what follows in that shard was not run.

        In a batch a shard may stand several times. Only one of them can be retried at a time, so the others go back.
        """
        pipe = self.pipe
        called = [pipe.popleft() for _ in range(min(failed.width, len(pipe)))]
        self._base += len(called)
        self._holes -= called.count(None)
        shards: set[Shard] = set()
        for message in called:
            if message is None:
                continue
            shard = self._shard_of(message)
            if shard in shards:
                out.bounced.append(message)
                continue
            times = {"started_at": failed.started_at, "finished_at": failed.finished_at}
            out.failures.append(failure(message, failed.cause, **times))
            if shard is not None:
                shards.add(shard)
        if shards:
            self._hand_back(shards, out)

    def _hand_back(self, shards: set[Shard], out: Completions) -> None:
        """Hand back all that follows in shards of which a message failed; the worker passes over what it has."""
        shard_of = self._shard_of
        for index, message in enumerate(self.pipe):
            if message is not None and shard_of(message) in shards:
                out.bounced.append(message)
                self.pipe[index] = None
                self._holes += 1
        waiting = [message for message in self.pending if shard_of(message) in shards]
        if waiting:
            out.bounced += waiting
            self.pending = deque(message for message in self.pending if shard_of(message) not in shards)
        self._opened += shards


def _raw_again(message: Message) -> Raw:
    return (
        message.topic, message.partition, message.offset, message.key, message.value, message.headers,
        message.timestamp, None, message.fetched_at, message.attempt,
    )  # fmt: skip


def _lost(how: str) -> Raised:
    return Raised(FailureKind.WORKER_LOST, _LOST_CLASSES, f"its worker process {how} while running it")


def _how(status: int) -> str:
    if status >= 0:
        return f"exited with status {status}"
    names = {each.value: each.name for each in signal.Signals}
    return f"was ended by {names.get(-status, f'signal {-status}')}"


_LOST_CLASSES = error_names(ChildProcessError())
