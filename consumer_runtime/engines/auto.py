"""Mode auto: one thread measures the first messages, then the engine that fits takes over.

Only for handlers that say nothing themselves: `async def` and the decorators of `handler` decide without measuring.
Not here: what the engines do, nor which classes they are (`consumer` makes them).
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from consumer_runtime.contract.choices import Mode
from consumer_runtime.contract.settings import ExecutionSettings
from consumer_runtime.engines.engine import Completions, Engine, EngineStatistics
from consumer_runtime.handler import Handler
from consumer_runtime.ledger.shards import Crowds
from consumer_runtime.message import Message

TRIVIAL_SECONDS = 0.0001
"""Up to 0.1 ms a message no control plane pays for itself (the runbook's table of modes)."""
TRIVIAL_SECONDS_AT_MOST = 0.05
"""One call longer than this, and single is out: it would hold up the poll, and cannot time out."""
CPU_SHARE = 0.5
"""From this share of CPU in wall time on a second process brings more than a second thread: the GIL matters."""
CALLS_ENOUGH = 200
_CALLS_AT_LEAST = 5
_CALLS_AHEAD = 10
_SECONDS_ENOUGH = 2.0
_STOP_SECONDS = 5.0

_SCHEDULER_STATISTICS = Path("/proc/thread-self/schedstat")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Measured:
    """What the first calls took, without the very first, which imports and connects."""

    calls: int
    wall_seconds: float
    """On average, without what the thread waited for a CPU: a busy machine makes no handler an I/O-bound one."""
    cpu_seconds: float
    """On average, of the calling thread; children's time counts as waiting."""
    wall_seconds_at_most: float


@dataclass(frozen=True, slots=True)
class Choice:
    """A mode, and why, with the figures."""

    mode: Mode
    reason: str


def choose(measured: Measured, *, can_import: bool) -> Choice:
    """Return the mode for a handler of which nothing but its times is known. Pure.

    `can_import` says whether worker processes could import the handler; without that CPU work stays in threads.
    """
    figures = (
        f"{measured.calls} calls took {_milliseconds(measured.wall_seconds)} on average "
        f"(at most {_milliseconds(measured.wall_seconds_at_most)}), {_milliseconds(measured.cpu_seconds)} of it CPU"
    )
    is_trivial = measured.wall_seconds <= TRIVIAL_SECONDS
    if is_trivial and measured.wall_seconds_at_most <= TRIVIAL_SECONDS_AT_MOST:
        return Choice(Mode.SINGLE, f"single: {figures}; below 0.1 ms nothing pays for handing work over")
    if measured.cpu_seconds < CPU_SHARE * measured.wall_seconds:
        return Choice(Mode.THREAD, f"thread: {figures}; it mostly waits")
    if can_import:
        return Choice(Mode.PROCESS, f"process: {figures}; it mostly computes")
    return Choice(Mode.THREAD, f"thread: {figures}; it mostly computes, but worker processes could not import it")


class AutoEngine:
    """Measures, chooses, and hands everything on. It keeps order once an engine is in place that does."""

    follows = 0
    """It measures single calls, and never chooses async."""

    def __init__(
        self, handler: Handler, execution: ExecutionSettings, *, make: Callable[[Mode, Handler], Engine]
    ) -> None:
        """Take `make`, which returns an engine of a mode, not started."""
        self.choice: Choice | None = None
        self._handler = handler
        self._execution = execution
        self._make = make
        self._calls: deque[tuple[float, float]] = deque(maxlen=CALLS_ENOUGH + 1)
        measuring = execution.model_copy(update={"worker_pool_size": 1})
        self._engine = make(Mode.THREAD, _measuring(handler, self._calls))
        self._engine.apply(measuring)
        self._waiting: deque[Message] = deque()
        self._running = 0
        self._is_settled = False
        self._before: list[EngineStatistics] = []

    @property
    def keeps_order(self) -> bool:
        """Whether the engine in place does; the thread that measures does not."""
        return self._is_settled and self._engine.keeps_order

    @property
    def crowds(self) -> Crowds | None:
        """Return the engine's."""
        return self._engine.crowds if self._is_settled else None

    @property
    def mode_reason(self) -> str:
        """What was measured and chosen, or that it is not known yet."""
        return self.choice.reason if self.choice else "auto: measuring the first messages"

    def start(self) -> None:
        """Start the thread that measures."""
        self._engine.start()

    def submit(self, messages: list[Message]) -> None:
        """Hand on; while a change is under way hold back."""
        if self.choice is not None and not self._is_settled:
            self._waiting.extend(messages)
            return
        self._running += len(messages)
        self._engine.submit(messages)

    def room(self) -> int:
        """Return the engine's room; few while one thread measures, so that the others need not wait for it."""
        if self._is_settled:
            return self._engine.room()
        return max(_CALLS_AHEAD - self._running - len(self._waiting), 0)

    def collect(self) -> Completions | None:
        """Hand on; choose once enough is measured, and change engines once nothing runs."""
        completions = self._engine.collect()
        if completions is not None:
            self._running -= len(completions.done) + len(completions.failures) + len(completions.bounced)
        if not self._is_settled:
            self._settle()
        return completions

    def wait(self, seconds: float) -> None:
        """Wait for the engine."""
        self._engine.wait(seconds)

    def apply(self, execution: ExecutionSettings) -> None:
        """Hand on; measuring stays with one thread."""
        self._execution = execution
        pool_size = execution.worker_pool_size if self._is_settled else 1
        self._engine.apply(execution.model_copy(update={"worker_pool_size": pool_size}))

    def oldest_started_at(self) -> float | None:
        """Return the engine's."""
        return self._engine.oldest_started_at()

    def trouble(self, now: float) -> str | None:
        """Return the engine's."""
        return self._engine.trouble(now)

    def statistics(self) -> EngineStatistics:
        """Return the engine's, with what was counted before the change."""
        statistics = self._engine.statistics()
        for before in self._before:
            _add(statistics, before)
        self._before.clear()
        return statistics

    def stop(self, grace_seconds: float) -> None:
        """Stop the engine."""
        self._engine.stop(grace_seconds)

    def _settle(self) -> None:
        if self.choice is None:
            measured = _measured(list(self._calls))
            if measured is None:
                return
            self.choice = choose(measured, can_import=self._handler.reference is not None)
            _log.info("mode chosen", mode=self.choice.mode.value, reason=self.choice.reason)
        if self._running == 0:
            self._change(self.choice.mode)

    def _change(self, mode: Mode) -> None:
        """Put the chosen engine in place. Its `start` blocks for as long as the handler takes to open."""
        self._before.append(self._engine.statistics())
        self._engine.stop(_STOP_SECONDS)
        self._engine = self._make(mode, self._handler)
        self._engine.apply(self._execution)
        self._engine.start()
        self._is_settled = True
        messages = list(self._waiting)
        self._waiting.clear()
        if messages:
            self.submit(messages)


def _measuring(handler: Handler, calls: deque[tuple[float, float]]) -> Handler:
    call, another = handler.call, handler.another

    def measured(argument: Any) -> Any:
        queued, wall, cpu = _waited_for_cpu_seconds(), time.monotonic(), time.thread_time()
        try:
            return call(argument)
        finally:
            cpu = time.thread_time() - cpu
            wall = time.monotonic() - wall
            wall = max(wall - (_waited_for_cpu_seconds() - queued), cpu)
            size = max(len(argument), 1) if isinstance(argument, list) else 1
            calls.append((wall / size, cpu / size))

    made = None if another is None else lambda: _measuring(another(), calls)
    return replace(handler, call=measured, another=made)


def _waited_for_cpu_seconds() -> float:
    """Return how long this thread was ready and had no CPU (Linux's scheduler statistics); 0 where it is unknown."""
    try:
        return int(_SCHEDULER_STATISTICS.read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _measured(calls: list[tuple[float, float]]) -> Measured | None:
    """Return what the calls tell, or None while they are too few to tell."""
    rest = calls[1:]
    total = sum(wall for wall, _ in rest)
    if len(rest) < CALLS_ENOUGH and not (len(rest) >= _CALLS_AT_LEAST and total >= _SECONDS_ENOUGH):
        return None
    cpu = sum(cpu for _, cpu in rest)
    return Measured(len(rest), total / len(rest), cpu / len(rest), max(wall for wall, _ in rest))


def _add(statistics: EngineStatistics, before: EngineStatistics) -> None:
    histogram, earlier = statistics.handler_seconds, before.handler_seconds
    histogram.counts[:] = [now + then for now, then in zip(histogram.counts, earlier.counts, strict=True)]
    histogram.total_seconds += earlier.total_seconds
    statistics.busy_seconds += before.busy_seconds
    statistics.workers_lost += before.workers_lost


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"
