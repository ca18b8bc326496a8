"""The control loop: poll -> admit -> dispatch -> complete -> acknowledge.

One thread owns source, ledger and scheduling, so there are no locks in it. Not here: what becomes of a completion
(`settle`), when to pause (`backpressure`), threads of their own (engines, end offsets, HTTP).
"""

import threading
import time
from collections import deque
from collections.abc import Callable

import structlog

from consumer_runtime.aftermath import Aftermath
from consumer_runtime.backpressure import Backpressure
from consumer_runtime.contract.knobs import Knobs
from consumer_runtime.contract.metrics import Stage, Status
from consumer_runtime.contract.settings import ExecutionSettings, RuntimeSettings
from consumer_runtime.contract.state import Phase, StartReason
from consumer_runtime.dead_letter import DeadLetters
from consumer_runtime.engines.engine import Engine, Failure
from consumer_runtime.engines.single import SingleEngine
from consumer_runtime.errors import ConsumerError, StartFailure
from consumer_runtime.gauges import Gauges
from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.ledger.ordering import in_an_engine, shards
from consumer_runtime.ledger.window import Window
from consumer_runtime.retry import Backoff
from consumer_runtime.settle import Settlement
from consumer_runtime.sources.source import Run, Source
from consumer_runtime.statistics import Statistics
from consumer_runtime.throttle import Circuit, Throttle

_COMPLETION_WAIT_SECONDS = 0.001
"""With work in flight: neither a poll nor this wait can be woken by the other's event."""
_QUIET_WAIT_SECONDS = 0.01
"""The same where nothing came for a while, or what came could not run at once: each wake-up costs 50 to 100 us of a
core that workers may need."""
_QUIET_SHARE = 4
"""A wait lasts this part of the time since a poll last brought something."""
_HELD_WAIT_SECONDS = 0.01
"""With no poll to be made: only completions, retries and stops are waited for."""
_LOOK_SECONDS = 0.1
"""The same where nothing else is to be done than to look at the pauses again."""
_IDLE_WAIT_SECONDS = 0.1
_TROUBLE_SECONDS = 0.25
_DRAIN_POLL_SECONDS = 0.1
_STUCK_DRAIN_SECONDS = 10.0

_log = structlog.get_logger(__name__)


class _Change:
    """Settings on their way to the control thread, and its answer."""

    def __init__(self, settings: RuntimeSettings) -> None:
        self.settings = settings
        self.answered = threading.Event()
        self.error: ConsumerError | None = None


class ControlLoop:
    """Runs until `stop`. Everything but `stop` and `apply` belongs to the thread that calls `run`."""

    def __init__(
        self,
        settings: RuntimeSettings,
        *,
        source: Source,
        engine: Engine,
        dead_letters: DeadLetters,
        statistics: Statistics,
        before_start: Callable[[], None] = lambda: None,
        aftermath: Aftermath | None = None,
    ) -> None:
        """Take `before_start` for checks that wait for brokers, such as that of the dead letter topic."""
        self.phase = Phase.STARTING
        self.settings = settings
        self.is_stopping = False
        self._source = source
        self._engine = engine
        self._dead_letters = dead_letters
        self._statistics = statistics
        self._before_start = before_start
        self._aftermath = aftermath or Aftermath()
        self._in_flight = 0
        self._marked = time.monotonic()
        self._polled_something_at = 0.0
        self._trouble_at = 0.0
        self._drained_by = float("inf")
        self._changes: deque[_Change] = deque()
        self._throttle = Throttle(
            per_second=settings.execution.rate_limit_per_second, breaker=settings.circuit_breaker, now=self._marked
        )
        self._backpressure = Backpressure(source, statistics, _window(settings.execution))
        self._keeps_order = engine.keeps_order
        self._shards = shards(settings.execution.ordering, engine_keeps_order=engine.keeps_order, crowds=engine.crowds)
        self._settlement = Settlement(
            source=source,
            shards=self._shards,
            backoff=Backoff(settings.retry),
            dead_letters=dead_letters,
            statistics=statistics,
        )
        self._gauges = Gauges(
            statistics, source=source, engine=engine, shards=self._shards, holdings=self._settlement.holdings
        )
        self._inline = engine if isinstance(engine, SingleEngine) and not engine.wants_batch else None
        self._show_knobs()

    def run(self) -> None:
        """Consume until stopped; drain, commit, leave. Raises StartFailure."""
        try:
            self._aftermath.begin(self.settings.execution.max_in_flight)
            self._engine.start()
            self._before_start()
            self._source.start(self)
            self.phase = Phase.RUNNING
            self._marked = time.monotonic()
            while not self.is_stopping:
                self._turn()
            self._drain(self.settings.execution.shutdown_grace_seconds)
        finally:
            self._close()

    def stop(self) -> None:
        """Ask the loop to end; safe from any thread and from signal handlers."""
        self.is_stopping = True

    def apply(self, settings: RuntimeSettings, *, within_seconds: float = 5.0) -> None:
        """Bring hot settings into force, and return when they are; safe from any thread.

        Raises StartFailure for what only shows now (a retry policy's class that cannot be imported), TimeoutError when
        the control thread does not take them in time.
        """
        change = _Change(settings)
        self._changes.append(change)
        if not change.answered.wait(within_seconds):
            raise TimeoutError(f"the control thread did not take the new settings within {within_seconds:g} s")
        if change.error is not None:
            raise change.error

    def assigned(self, assignments: list[PartitionOffsets]) -> None:
        """Take notice of new partitions."""
        self._backpressure.assigned(assignments)

    def revoking(self, assignments: list[PartitionOffsets], is_over: Callable[[], bool]) -> None:
        """Let what runs of these partitions finish, up to the grace; other partitions' work goes on meanwhile."""
        for each in assignments:
            self._settlement.leave(each)
        grace_ends = time.monotonic() + self.settings.execution.revoke_grace_ms / 1000
        deadline = min(grace_ends, self._drained_by)
        while any(each.held for each in assignments) and not is_over():
            now = self._statistics.heartbeat_at = time.monotonic()
            if now >= deadline:
                left = sum(each.held for each in assignments)
                _log.warning("revoke grace is over: unfinished messages run again elsewhere", messages=left)
                return
            if not self._advance(now):
                self._engine.wait(_HELD_WAIT_SECONDS)

    def dropped(self, assignments: list[PartitionOffsets]) -> None:
        """Forget partitions that are gone."""
        for each in assignments:
            self._settlement.forget(each)
        self._backpressure.dropped(assignments)

    def _turn(self) -> None:
        now = time.monotonic()
        moved = self._advance(now)
        polled = self._fetch(now)
        moved += polled or 0
        self._housekeep(now)
        if not moved:
            self._engine.wait(self._held_seconds(now) if polled is None else self._quiet_seconds(now))
            self._mark(Stage.WAIT)

    def _advance(self, now: float) -> int:
        """Do everything that needs no poll; return how much moved."""
        moved = self._collect(now) + self._settlement.tick(now)
        if self._engine.keeps_order is not self._keeps_order:
            self._leave_order_to_engine()
        self._mark(Stage.COMPLETE)
        moved += self._dispatch(now)
        self._mark(Stage.DISPATCH)
        return moved

    def _collect(self, now: float) -> int:
        completions = self._engine.collect()
        if completions is None:
            return 0
        settlement = self._settlement
        count = len(completions.done) + len(completions.failures) + len(completions.bounced)
        self._in_flight -= count - completions.followers
        self._shards.followed(completions.followers)
        self._aftermath.finished(count, self.settings.execution.max_in_flight)
        self._observe(now, len(completions.done), completions.failures)
        if completions.done:
            settlement.succeeded(completions.done, now)
        if completions.bounced:  # first: a failure for good lets the next of its shard run
            settlement.bounced(completions.bounced)
        if completions.failures:
            settlement.failed(completions.failures, now)
        return count

    def _leave_order_to_engine(self) -> None:
        """Mode auto has put an engine in place that pipelines shards: no round trip between two messages of one."""
        self._keeps_order = True
        assignments = list(self._source.assignments.values())
        retried = self._settlement.retried()
        self._shards = in_an_engine(self._shards, assignments, retried, crowds=self._engine.crowds)
        self._settlement.shards = self._gauges.shards = self._shards

    def _observe(self, now: float, succeeded: int, failures: list[Failure]) -> None:
        if self._throttle.is_idle:
            return
        self._throttle.observe(succeeded=succeeded, failures=failures, now=now)
        is_open = self._throttle.circuit is not Circuit.CLOSED
        if is_open != self._statistics.circuit_open:
            self._statistics.circuit_open = is_open
            _log.warning("circuit breaker", circuit=self._throttle.circuit.value)

    def _dispatch(self, now: float) -> int:
        most = self._aftermath.limit(self.settings.execution.max_in_flight)
        room = min(most - self._in_flight, self._engine.room(), self._throttle.room(now))
        if room <= 0 or self._shards.is_empty or not self._source.may_begin:
            return 0
        messages = self._shards.take(room)
        if messages:
            self._in_flight += len(messages)
            self._aftermath.runs(messages, self.settings.execution.max_in_flight)
            if self._throttle.is_idle and not self._aftermath.left:
                self._shards.follow(messages, room=self._engine.room(), each=self._engine.follows)
            self._engine.submit(messages)
            self._throttle.taken(len(messages))
        return len(messages)

    def _fetch(self, now: float) -> int | None:
        """Poll if there is room; return how many messages came, None when there was no poll."""
        saturated = self._is_saturated(now)
        asked = self._backpressure.ask_for(
            now, self._settlement.load, in_flight=self._in_flight, is_saturated=saturated
        )
        if not asked:
            return None
        if self._inline is not None:
            asked = min(asked, self._inline.room())
        wait = 0.0 if self._in_flight or not self._shards.is_empty else self._idle_seconds(now)
        fetched = self._source.poll(asked, wait)
        self._mark(Stage.WAIT if wait and not fetched.count else Stage.POLL)
        self._statistics.observe_poll(returned=min(fetched.count, asked), asked=asked)
        if fetched.count:
            self._polled_something_at = now
        for run in fetched.runs:
            self._take(run)
        return fetched.count or (1 if wait else 0)

    def _is_saturated(self, now: float) -> bool:
        most = self._aftermath.limit(self.settings.execution.max_in_flight)
        full = self._in_flight >= most or self._engine.room() <= 0
        return full or self._throttle.room(now) <= 0

    def _held_seconds(self, now: float) -> float:
        """Return how long to wait for completions when there is no room for a poll."""
        if len(self._dead_letters) or not self._throttle.is_idle:
            return _HELD_WAIT_SECONDS
        due = self._settlement.retries.next_due
        return _LOOK_SECONDS if due is None else min(max(due - now, _COMPLETION_WAIT_SECONDS), _LOOK_SECONDS)

    def _quiet_seconds(self, now: float) -> float:
        """Return how long to wait for completions before the next poll."""
        if self._in_flight >= self.settings.execution.max_in_flight:
            return _QUIET_WAIT_SECONDS
        quiet = (now - self._polled_something_at) / _QUIET_SHARE
        return min(max(quiet, _COMPLETION_WAIT_SECONDS), _QUIET_WAIT_SECONDS)

    def _idle_seconds(self, now: float) -> float:
        """Return how long a poll may wait with nothing in flight."""
        if len(self._dead_letters):
            return _HELD_WAIT_SECONDS
        due = self._settlement.retries.next_due
        return _IDLE_WAIT_SECONDS if due is None else min(max(due - now, 0.0), _IDLE_WAIT_SECONDS)

    def _take(self, run: Run) -> None:
        is_plain = self._throttle.is_idle and not self._aftermath.left and self._source.may_begin
        if self._inline is not None and not self._settlement.holdings.messages and is_plain:
            self._run_inline(self._inline, run)
            self._mark(Stage.DISPATCH)
            return
        self._settlement.holdings.take(run)
        self._shards.arrive(run.assignment, run.messages)

    def _run_inline(self, engine: SingleEngine, run: Run) -> None:
        """Run a whole run when nothing waits: no shard, no queue. From a failure on, the usual way."""
        assignment, messages = run
        done = engine.run(messages)
        finished = run if done == len(messages) else Run(assignment, messages[:done])
        if done:
            self._source.acknowledge_run(finished)
            self._statistics.processing_latency.observe(time.monotonic() - messages[0].fetched_at, done)
            self._statistics.count_processed(
                topic=assignment.topic, partition=assignment.partition, status=Status.SUCCESS, messages=done
            )
        if done == len(messages):
            return
        rest = messages[done:]
        self._settlement.holdings.take(Run(assignment, rest))
        self._shards.arrive(assignment, rest[:1])
        self._in_flight += len(self._shards.take(1))
        self._shards.arrive(assignment, rest[1:])

    def _housekeep(self, now: float) -> None:
        statistics = self._statistics
        if not self._shards.is_empty and self._in_flight >= self.settings.execution.max_in_flight:
            statistics.limit_full_seconds += now - statistics.heartbeat_at
        self._source.tick(now)
        self._gauges.tick(now, self.settings, self._backpressure, self._in_flight)
        self._mark(Stage.COMMIT)
        while self._changes:
            self._change(self._changes.popleft())
        if now - self._trouble_at >= _TROUBLE_SECONDS:
            self._trouble_at = now
            self._end_if_troubled(now)

    def _change(self, change: _Change) -> None:
        settings = change.settings
        try:
            self._settlement.backoff = Backoff(settings.retry)
        except StartFailure as error:
            change.error = error
        else:
            self.settings = settings
            self._backpressure.window = _window(settings.execution)
            self._engine.apply(settings.execution)
            self._dead_letters.apply(settings.dead_letter)
            self._throttle.limit(settings.execution.rate_limit_per_second, time.monotonic())
            self._show_knobs()
            _log.info("settings in force", generation=settings.generation)
        change.answered.set()

    def _show_knobs(self) -> None:
        execution = self.settings.execution
        self._statistics.knobs = {name: getattr(execution, name) for name in Knobs.model_fields}
        self._statistics.config_generation = self.settings.generation

    def _end_if_troubled(self, now: float) -> None:
        trouble = self._engine.trouble(now)
        if trouble is None:
            return
        _log.critical("the engine cannot go on", reason=trouble)
        self._drain(min(_STUCK_DRAIN_SECONDS, self.settings.execution.shutdown_grace_seconds))
        raise StartFailure.because(
            StartReason.HANDLER_STUCK, field="spec.handler.entrypoint", value=trouble, remedy=_STUCK_REMEDY
        )

    def _drain(self, grace_seconds: float) -> None:
        """Let what runs finish; what waits is left to whoever consumes next."""
        self.phase = Phase.DRAINING
        deadline = self._drained_by = time.monotonic() + grace_seconds
        for each in list(self._source.assignments.values()):
            self._settlement.leave(each)
        self._backpressure.pause_all()
        polled_at = 0.0
        while self._in_flight or len(self._dead_letters):
            now = self._statistics.heartbeat_at = time.monotonic()
            if now >= deadline:
                _log.warning("shutdown grace is over", running=self._in_flight, dead_letters=len(self._dead_letters))
                return
            if now - polled_at >= _DRAIN_POLL_SECONDS:
                polled_at = now
                self._source.poll(1, 0)
            if not self._advance(now):
                self._engine.wait(_HELD_WAIT_SECONDS)

    def _close(self) -> None:
        """Commit and leave first: the group waits for that, and nothing that still runs can be committed any more."""
        self.phase = Phase.DRAINING
        self._source.close(time.monotonic())
        self._engine.stop(1.0)
        self._dead_letters.close(1.0)
        self._aftermath.end()
        self.phase = Phase.STOPPED

    def _mark(self, stage: Stage) -> None:
        now = time.monotonic()
        self._statistics.loop_seconds[stage] += now - self._marked
        self._marked = now


_STUCK_REMEDY = "find what hangs (see the log's stack); bound it with timeouts of its own, or use mode process"


def _window(execution: ExecutionSettings) -> Window:
    return Window(
        max_in_flight=execution.max_in_flight,
        max_bytes=execution.max_in_flight_bytes,
        poll_batch_size=execution.poll_batch_size,
    )
