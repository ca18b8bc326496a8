"""Worker processes that behave: start, resize, what handlers may do, what a worker costs, how it ends."""

import ast
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from consumer_runtime import StartFailure
from consumer_runtime.contract.settings import ExecutionSettings, Ordering, ProcessKnobs
from consumer_runtime.contract.state import StartReason
from consumer_runtime.engines.process import ProcessEngine
from consumer_runtime.handler import load, wrap

pytestmark = pytest.mark.usefixtures("nothing_left")

_SECONDS_FOR_A_PROGRAM = 60


def worker_pids(engine: ProcessEngine) -> list[int]:
    """Return the workers' process ids."""
    return [lane.worker.pid for lane in engine._lanes if lane.worker is not None]


def test_work_is_spread_and_keys_keep_their_order(drive: Any, effects: Any) -> None:
    """All workers take part, each message runs once, each key in order."""
    driving = drive(ProcessEngine, "note", worker_pool_size=3)
    driving.offer(*[(b"%d" % (n % 50), b"v") for n in range(3_000)])
    driving.until_done(3_000)
    assert len({effect.pid for effect in effects.read()}) == 3
    assert effects.first_order() == {(0, str(key)): list(range(key, 3_000, 50)) for key in range(50)}
    assert driving.engine.statistics().handler_seconds.count == 3_000
    assert driving.engine.statistics().queued == 0


def test_null_keys_are_spread(drive: Any, effects: Any) -> None:
    """Messages without a key belong together no more than others do."""
    driving = drive(ProcessEngine, "by_value", worker_pool_size=3)
    driving.offer(*[(None, b"sleep 0.01")] * 60)
    driving.until_done(60)
    assert min(Counter(effect.pid for effect in effects.read()).values()) >= 10


def test_a_slow_key_does_not_hold_up_the_others(drive: Any, effects: Any) -> None:
    """While one worker is busy for long, what waited before it goes to the other."""
    driving = drive(ProcessEngine, "by_value", worker_pool_size=2)
    driving.offer((b"slow", b"sleep 1.5"), *[(b"%d" % n, b"sleep 0.001") for n in range(200)])
    driving.until(lambda: len(driving.done) >= 195)
    assert not any(effect.key == "slow" for effect in effects.read())
    driving.until_done(201)


def test_a_lone_message_leaves_at_once(drive: Any) -> None:
    """No message waits for a batch to fill."""
    driving = drive(ProcessEngine, "note", worker_pool_size=1)
    took = []
    for n in range(20):
        began = time.monotonic()
        driving.offer((b"a", b""))
        driving.until_done(n + 1)
        took.append(time.monotonic() - began)
    assert sorted(took)[10] < 0.01


def test_the_pool_grows_and_shrinks_under_load(drive: Any, effects: Any) -> None:
    """A new size is reached while work goes on; keys that move keep their order; workers that leave are gone."""
    driving = drive(ProcessEngine, "by_value", worker_pool_size=1)
    driving.offer(*[(b"%d" % (n % 31), b"sleep 0.0005") for n in range(6_000)])
    for size in (4, 2, 3, 1):
        driving.apply(worker_pool_size=size)
        driving.until(lambda size=size: driving.engine.statistics().workers == size and not driving.engine._retiring)
        driving.until_done(len(driving.done) + 200)
    assert driving.in_flight > 0, "the sizes were reached under load"
    driving.until_done(6_000)
    assert effects.first_order() == {(0, str(key)): list(range(key, 6_000, 31)) for key in range(31)}
    assert len(effects.read()) == 6_000
    assert len(worker_pids(driving.engine)) == 1


def test_a_hot_key_moves_when_its_worker_retires(drive: Any, effects: Any) -> None:
    """A key that is never idle follows to another worker in order, instead of keeping the old one alive."""
    driving = drive(ProcessEngine, "by_value", worker_pool_size=2, max_in_flight=64)
    driving.offer(*[(b"hot", b"sleep 0.002")] * 400)
    driving.until_done(20)
    for size in (1, 2, 1, 2, 1):
        driving.apply(worker_pool_size=size)
        driving.until(lambda: not driving.engine._retiring)
    driving.until_done(400)
    assert effects.first_order() == {(0, "hot"): list(range(400))}


def test_knobs_of_batches_and_queues_do_what_they_say(drive: Any) -> None:
    """`queue_size` bounds what waits before a worker, `batch_size` what travels together."""
    driving = drive(ProcessEngine, "by_value", worker_pool_size=1, process=ProcessKnobs(batch_size=4, queue_size=10))
    assert driving.engine.room() == 10
    driving.offer(*[(b"%d" % n, b"sleep 0.05") for n in range(30)])
    driving.turn()
    driving.turn()
    assert driving.engine.room() < 10
    assert len(driving.engine._lanes[0].pipe) <= 4
    driving.apply(process=ProcessKnobs(batch_size=64, queue_size=2_048))
    assert driving.engine.room() > 2_000
    driving.until_done(30)


def test_handlers_may_fork_thread_and_start_subprocesses(drive: Any, effects: Any) -> None:
    """No deadlock, no zombie, no descriptor more than before."""
    driving = drive(ProcessEngine, "forks", worker_pool_size=2)
    driving.offer(*[(b"%d" % n, b"") for n in range(10)])
    driving.until_done(10, 60)
    pids = worker_pids(driving.engine)
    before = {pid: len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids}
    driving.offer(*[(b"%d" % n, b"") for n in range(30)])
    driving.until_done(40, 60)
    assert {pid: len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids} == before
    assert [Path(f"/proc/{pid}/task/{pid}/children").read_text().split() for pid in pids] == [[], []]


@pytest.mark.parametrize("value", [b"", b"raise"])
def test_a_forked_child_that_comes_back_is_no_second_worker(drive: Any, effects: Any, value: bytes) -> None:
    """It ends where it left the handler; the worker's answers stay its own."""
    driving = drive(ProcessEngine, "comes_back_twice", worker_pool_size=1)
    driving.offer(*[(b"%d" % n, value) for n in range(20)])
    driving.until_done(20)
    assert len(effects.read()) == 20
    assert driving.engine.statistics().workers_lost == 0


def test_an_async_handler_runs_in_the_workers_own_loop(drive: Any, effects: Any) -> None:
    """One loop for all calls of a worker."""
    driving = drive(ProcessEngine, "asynchronous", worker_pool_size=2)
    driving.offer(*[(b"%d" % (n % 9), b"") for n in range(100)])
    driving.until_done(100)
    loops = {(effect.pid, effect.what) for effect in effects.read()}
    assert len(loops) == 2


def test_batches_reach_a_handler_that_asks_for_them(drive: Any, effects: Any) -> None:
    """Up to eight at once when there are as many, and never more."""
    driving = drive(ProcessEngine, "batches", worker_pool_size=1)
    driving.offer(*[(b"%d" % (n % 9), b"") for n in range(200)])
    driving.until_done(200)
    sizes = Counter(int(effect.what.removeprefix("of=")) for effect in effects.read())
    assert max(sizes) == 8
    assert effects.first_order() == {(0, str(key)): list(range(key, 200, 9)) for key in range(9)}


def test_each_worker_opens_and_closes_clients_of_its_own(drive: Any, effects: Any) -> None:
    """A class that holds a lock and a socket works, since nothing of it travels; `close` runs at the end."""
    driving = drive(ProcessEngine, "WithClient", worker_pool_size=2)
    driving.offer(*[(b"%d" % n, b"") for n in range(40)])
    driving.until_done(40)
    assert {effect.what for effect in effects.read()} == {"client=True"}
    pids = worker_pids(driving.engine)
    driving.engine.stop(5.0)
    assert {int(path.name.removeprefix("closed-")) for path in effects.path.parent.glob("closed-*")} == set(pids)


def test_messages_of_a_closed_assignment_are_handed_back(drive: Any, effects: Any) -> None:
    """After a revoke nothing of the partition is begun any more."""
    driving = drive(ProcessEngine, "by_value", worker_pool_size=1)
    driving.offer((b"a", b"sleep 0.2"), *[(b"b", b"")] * 300)
    driving.until(lambda: driving.engine.oldest_started_at() is not None)
    driving.assignments[0].is_open = False
    driving.shards.ready.clear()
    driving.until(lambda: driving.in_flight == 0)
    assert driving.bounced >= 250
    assert len(effects.read()) <= 2


def _on_the_fly() -> list[Any]:
    def nested(message: Any) -> None: ...

    return [nested, lambda message: message.value, Counter().update]


@pytest.mark.parametrize("target", _on_the_fly(), ids=["nested function", "lambda", "bound method"])
def test_what_cannot_be_imported_is_refused_with_the_reason(target: Any) -> None:
    """A handler that workers would not find is refused when the engine is made, not when messages come."""
    with pytest.raises(StartFailure) as raised:
        ProcessEngine(wrap(target), ExecutionSettings(worker_pool_size=1))
    assert raised.value.error.reason is StartReason.HANDLER_UNSUITABLE
    assert "top level of a module" in raised.value.error.remedy


@pytest.mark.parametrize(
    ("name", "told"), [("DoesNotOpen", "ConnectionError: no database here"), ("DiesInOpen", "see the log")]
)
def test_a_handler_that_does_not_open_fails_the_start(effects: Any, name: str, told: str) -> None:
    """The reason is in the failure, with the user's traceback where there is one; no worker is left."""
    engine = ProcessEngine(load(f"process_handlers:{name}"), ExecutionSettings(worker_pool_size=2))
    with pytest.raises(StartFailure) as raised:
        engine.start()
    assert raised.value.error.reason is StartReason.HANDLER_UNSUITABLE
    assert told in raised.value.error.remedy
    assert (name == "DiesInOpen") or "process_handlers.py" in raised.value.detail


def test_a_worker_is_light(drive: Any) -> None:
    """Under 30 MB of resident memory: no pydantic, no Kafka client, no structlog in it."""
    driving = drive(ProcessEngine, "note", worker_pool_size=1)
    driving.offer(*[(b"a", b"x" * 100)] * 1_000)
    driving.until_done(1_000)
    (pid,) = worker_pids(driving.engine)
    resident = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line)
    assert int(resident.split()[1]) < 30_000
    program = (
        "import sys, consumer_runtime.engines.process_worker as w;"
        "print([m for m in ('pydantic', 'confluent_kafka', 'structlog', 'asyncio') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ast.literal_eval(told.stdout) == []


def test_workers_ignore_the_terminals_interrupt(drive: Any) -> None:
    """Ctrl-C is the parent's to handle."""
    driving = drive(ProcessEngine, "note", worker_pool_size=1)
    (pid,) = worker_pids(driving.engine)
    assert os.getsid(pid) == pid
    os.kill(pid, signal.SIGINT)
    driving.offer((b"a", b""))
    driving.until_done(1)
    assert worker_pids(driving.engine) == [pid]


_PROGRAM = """
import os, sys, time
from consumer_runtime.contract.settings import ExecutionSettings
from consumer_runtime.engines.process import ProcessEngine
from consumer_runtime.errors import StartFailure
from consumer_runtime.handler import wrap
from consumer_runtime.message import Message

def handle(message):
    if message.value == b"hang":
        time.sleep(600)
    raise MemoryError("of mine")

def main():
    engine = ProcessEngine(wrap(handle), ExecutionSettings(worker_pool_size=1, task_timeout_ms=0))
    try:
        engine.start()
    except StartFailure as failure:
        print("refused:", failure.error.remedy, failure.detail, flush=True)
        sys.exit(1)
    engine.submit([Message("t", 0, 0, b"k", sys.argv[1].encode())])
    if sys.argv[1] == "hang":
        print(engine._lanes[0].worker.pid, flush=True)
        time.sleep(600)
    while (completions := engine.collect()) is None:
        engine.wait(1)
    print(completions.failures[0].error_class, completions.failures[0].error_text, flush=True)
    engine.stop(1)

GUARD
"""


def program(folder: Path, guard: str) -> Path:
    """Write a program that defines its own handler."""
    path = folder / "my_program.py"
    path.write_text(_PROGRAM.replace("GUARD", guard))
    return path


def test_a_handler_in_the_program_itself_is_found(tmp_path: Path) -> None:
    """The quickest way to start: function and consumer in one script, under the usual guard."""
    script = program(tmp_path, 'if __name__ == "__main__":\n    main()')
    told = subprocess.run(
        [sys.executable, script, "x"], capture_output=True, text=True, timeout=_SECONDS_FOR_A_PROGRAM, check=False
    )
    assert told.stdout.strip() == "builtins:MemoryError of mine", told.stderr


def test_a_program_without_the_guard_is_told_so(tmp_path: Path) -> None:
    """Workers that import the script do not start workers of their own."""
    script = program(tmp_path, "main()")
    told = subprocess.run(
        [sys.executable, script, "x"], capture_output=True, text=True, timeout=_SECONDS_FOR_A_PROGRAM, check=False
    )
    assert told.returncode == 1
    assert '__name__ == "__main__"' in told.stdout


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """`kill -9` of the parent leaves no hung worker behind."""
    script = program(tmp_path, 'if __name__ == "__main__":\n    main()')
    with subprocess.Popen([sys.executable, script, "hang"], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        time.sleep(0.3)
        parent.kill()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{worker}").exists():
        stat = Path(f"/proc/{worker}/stat")
        if stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            break
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_partition_order_is_kept_per_partition(drive: Any, effects: Any) -> None:
    """Ordering by partition runs each partition in order, and several at once."""
    driving = drive(ProcessEngine, "note", worker_pool_size=2, ordering=Ordering.PARTITION)
    for partition in range(4):
        driving.offer(*[(b"%d" % n, b"") for n in range(200)], partition=partition)
    driving.until_done(800)
    assert effects.first_order(by_partition=True) == {partition: list(range(200)) for partition in range(4)}
    assert len({effect.pid for effect in effects.read()}) == 2
