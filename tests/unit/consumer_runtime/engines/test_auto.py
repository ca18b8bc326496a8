"""Mode auto: what is chosen for which figures, and that the change of engines loses nothing."""

import os
import subprocess
import sys
import time
from typing import Any

import pytest

from consumer_runtime.contract.settings import ExecutionSettings, Mode
from consumer_runtime.engines.auto import AutoEngine, Choice, Measured, choose
from consumer_runtime.engines.engine import Engine
from consumer_runtime.engines.process import ProcessEngine
from consumer_runtime.engines.single import SingleEngine
from consumer_runtime.engines.thread import ThreadEngine
from consumer_runtime.handler import Handler

_KINDS: dict[Mode, Any] = {Mode.SINGLE: SingleEngine, Mode.THREAD: ThreadEngine, Mode.PROCESS: ProcessEngine}


def measured(wall_ms: float, cpu_ms: float, at_most_ms: float | None = None) -> Measured:
    """Return figures of 200 calls."""
    return Measured(200, wall_ms / 1000, cpu_ms / 1000, (at_most_ms or wall_ms) / 1000)


@pytest.mark.parametrize(
    ("figures", "can_import", "mode"),
    [
        (measured(0.01, 0.01), True, Mode.SINGLE),
        (measured(0.1, 0.1), True, Mode.SINGLE),
        (measured(0.05, 0.01, at_most_ms=80), True, Mode.THREAD),
        (measured(5, 0.1), True, Mode.THREAD),
        (measured(5, 2.4), True, Mode.THREAD),
        (measured(5, 2.5), True, Mode.PROCESS),
        (measured(0.2, 0.2), True, Mode.PROCESS),
        (measured(5, 5), False, Mode.THREAD),
    ],
)
def test_the_choice_follows_the_runbooks_table(figures: Measured, *, can_import: bool, mode: Mode) -> None:
    """Trivial: single. Mostly waiting: thread. Mostly computing: process, if workers can import the handler."""
    choice = choose(figures, can_import=can_import)
    assert choice.mode is mode
    assert choice.reason.startswith(f"{mode}: 200 calls took")


def trivial(message: Any) -> None:
    """Takes microseconds."""
    message.value.hex()


def waiting(_: Any) -> None:
    """Waits."""
    time.sleep(0.003)


def auto(handler: Handler, execution: ExecutionSettings) -> Engine:
    """Return an engine that may become each of the others."""
    return AutoEngine(handler, execution, make=lambda mode, its_handler: _KINDS[mode](its_handler, execution))


@pytest.mark.parametrize(
    ("handler", "mode"), [(trivial, Mode.SINGLE), (waiting, Mode.THREAD), ("computing", Mode.PROCESS)]
)
def test_it_measures_chooses_and_loses_nothing(drive: Any, handler: Any, mode: Mode) -> None:
    """The first messages are measured, the rest runs in the mode that fits; each is done once, and counted once."""
    driving = drive(auto, handler, worker_pool_size=2)
    engine = driving.engine
    assert engine.mode_reason == "auto: measuring the first messages"
    driving.offer(*[(b"%d" % (n % 40), b"value") for n in range(900)])
    driving.until(lambda: len(driving.done) == 900, 60)
    choice: Choice = engine.choice
    assert choice.mode is mode
    assert engine.mode_reason == choice.reason
    assert isinstance(engine._engine, _KINDS[mode])
    assert len({message.offset for message in driving.done}) == 900
    assert engine.statistics().handler_seconds.count == 900
    assert engine.statistics().handler_seconds.count == 900, "counted once however often it is asked"


def test_slow_handlers_are_decided_by_a_few_calls(drive: Any) -> None:
    """Two seconds of calls are enough; nobody waits for two hundred slow ones."""
    driving = drive(auto, lambda _: time.sleep(0.4), worker_pool_size=8)
    driving.offer(*[(b"%d" % n, b"") for n in range(60)])
    driving.until(lambda: driving.engine.choice is not None)
    assert driving.engine.choice.mode is Mode.THREAD
    assert len(driving.done) < 12
    driving.until_done(60)


def test_a_busy_machine_does_not_make_computing_look_like_waiting(drive: Any) -> None:
    """With other processes on every CPU a computing handler waits for its turn; that is no I/O."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        driving = drive(auto, "computing", worker_pool_size=1)
        driving.offer(*[(b"%d" % n, b"") for n in range(220)])
        driving.until(lambda: driving.engine.choice is not None, 60)
    finally:
        for process in spinning:
            process.kill()
            process.wait()
    assert driving.engine.choice.mode is Mode.PROCESS
    driving.until_done(220, 60)
