"""Each failure of a worker process is caused, and what it costs is asserted: one attempt of one message."""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from consumer_runtime.contract.settings import Ordering
from consumer_runtime.engines.engine import FailureKind
from consumer_runtime.engines.process import ProcessEngine

pytestmark = pytest.mark.usefixtures("nothing_left")


def is_running(pid: int) -> bool:
    """Return whether a process is alive; a zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def worker_pids(engine: ProcessEngine) -> list[int]:
    """Return the workers' process ids."""
    return [lane.worker.pid for lane in engine._lanes if lane.worker is not None]


def living_workers(engine: ProcessEngine) -> list[int]:
    """Return those of them that nobody has killed yet."""
    return [pid for pid in worker_pids(engine) if is_running(pid)]


def test_an_exit_charges_the_running_message_alone(drive: Any, effects: Any) -> None:
    """What ran `os._exit` fails once as WORKER_LOST; those behind it run in order, at their first attempt."""
    driving = drive(ProcessEngine, "by_value", worker_pool_size=1)
    driving.offer(*[(b"a", b"")] * 5, (b"a", b"exit"), *[(b"a", b"")] * 5, *[(b"b", b"")] * 3)
    driving.until_done(14)
    assert [(each.message.offset, each.kind) for each in driving.failures] == [(5, FailureKind.WORKER_LOST)]
    assert driving.failures[0].error_class == "builtins:ChildProcessError"
    assert "exited with status 3" in driving.failures[0].error_text
    assert effects.first_order()[(0, "a")] == list(range(11))
    assert {effect.offset: effect.attempt for effect in effects.read()} == {n: 2 if n == 5 else 1 for n in range(14)}
    assert driving.engine.statistics().workers_lost == 1


def test_what_was_done_before_a_death_is_not_done_again(drive: Any, effects: Any) -> None:
    """Results that the dead worker had not sent yet still count: nothing runs twice."""
    driving = drive(ProcessEngine, "by_value", worker_pool_size=1)
    driving.offer(*[(b"%d" % (n % 7), b"exit" if n % 50 == 49 else b"") for n in range(500)])
    driving.until_done(500)
    assert len(driving.failures) == 10
    assert len(effects.read()) == 500


def test_killing_an_idle_worker_costs_nothing(drive: Any) -> None:
    """A worker that is killed between messages is replaced, and no message is charged."""
    driving = drive(ProcessEngine, "note", worker_pool_size=1)
    driving.offer((b"a", b""))
    driving.until_done(1)
    (before,) = worker_pids(driving.engine)
    os.kill(before, signal.SIGKILL)
    driving.until(lambda: driving.engine.statistics().workers_lost == 1)
    driving.offer((b"a", b""))
    driving.until_done(2)
    assert driving.failures == []
    assert worker_pids(driving.engine) != [before]


def test_killing_a_busy_worker_charges_its_message(drive: Any, effects: Any) -> None:
    """SIGKILL from outside, in the middle of a call: that message is charged, the next of its key waits for it."""
    driving = drive(ProcessEngine, "by_value", worker_pool_size=1)
    driving.offer((b"a", b"sleep 0.5"), (b"a", b""), (b"b", b""))
    driving.until(lambda: driving.engine.oldest_started_at() is not None)
    os.kill(worker_pids(driving.engine)[0], signal.SIGKILL)
    driving.until_done(3)
    assert [each.message.offset for each in driving.failures] == [0]
    assert effects.first_order()[(0, "a")] == [0, 1]


def test_a_hung_call_ends_with_its_worker_and_what_it_started(drive: Any, effects: Any) -> None:
    """Past the timeout the worker and its subprocess are killed; TIMEOUT is charged to the one message that ran."""
    driving = drive(ProcessEngine, "by_value", worker_pool_size=2, task_timeout_ms=400)
    driving.offer((b"a", b"hang"), (b"a", b""), *[(b"%d" % n, b"") for n in range(20)])
    began = time.monotonic()
    driving.until_done(22)
    assert time.monotonic() - began < 5
    assert [(each.message.offset, each.kind) for each in driving.failures] == [(0, FailureKind.TIMEOUT)]
    assert driving.failures[0].error_class == "builtins:TimeoutError"
    child = int(effects.of(0).what.removeprefix("child="))
    driving.until(lambda: not is_running(child), 2.0)
    assert {effect.attempt for effect in effects.read() if effect.offset} == {1}


def test_a_grandchild_that_holds_the_channel_does_not_hide_a_death(drive: Any) -> None:
    """With a forked child alive the socket shows no end; the death is seen at once all the same."""
    driving = drive(ProcessEngine, "by_value", worker_pool_size=1)
    began = time.monotonic()
    driving.offer((b"a", b"grandchild"), (b"a", b""))
    driving.until_done(2)
    assert time.monotonic() - began < 3
    assert [each.kind for each in driving.failures] == [FailureKind.WORKER_LOST]


def test_large_values_before_a_hung_worker_do_not_block(drive: Any, effects: Any) -> None:
    """64 MB for a worker that reads nothing: no call blocks, the rest of the work goes on, nothing is lost."""
    driving = drive(ProcessEngine, "by_value", worker_pool_size=2, task_timeout_ms=1_500)
    driving.offer((b"a", b"hang"))
    driving.until(lambda: driving.engine.oldest_started_at() is not None)
    driving.offer(*[(b"a", b"x" * 1_000_000)] * 64, *[(b"%d" % n, b"") for n in range(50)])
    slowest = 0.0
    while len(driving.done) < 115:
        began = time.monotonic()
        driving.turn()
        slowest = max(slowest, time.monotonic() - began)
        assert began - driving.failures[0].finished_at < 15 if driving.failures else True
    assert slowest < 1.0
    assert effects.first_order()[(0, "a")] == list(range(65))


def test_a_worker_that_loses_its_channel_is_replaced(drive: Any) -> None:
    """A handler that closes descriptors it does not own costs its worker, and at most the message that runs then."""
    driving = drive(ProcessEngine, "by_value", worker_pool_size=1)
    driving.offer((b"a", b"close-everything"), (b"b", b""))
    driving.until_done(2)
    assert {message.offset for message in driving.done} == {0, 1}
    assert len(driving.failures) <= 1
    driving.until(lambda: driving.engine.statistics().workers_lost >= 1)


def test_errors_arrive_as_what_they_are(drive: Any) -> None:
    """Class, parents, text and RetryAfter's wait come through; `sys.exit` fails the message, not the worker."""
    driving = drive(ProcessEngine, "by_value", max_retries=0)
    driving.offer(
        *[(b"%d" % n, value) for n, value in enumerate((b"error", b"system-exit", b"retry-after", b"reject"))]
    )
    driving.until(lambda: len(driving.failures) == 4)
    error, system_exit, retry_after, reject = sorted(driving.failures, key=lambda each: each.message.offset)
    assert (error.kind, error.error_class, error.error_text) == (
        FailureKind.ERROR, "builtins:KeyError", "'no such order'"
    )  # fmt: skip
    assert "builtins:LookupError" in error.error_classes
    assert system_exit.error_class == "builtins:SystemExit"
    assert (retry_after.kind, retry_after.retry_after_seconds) == (FailureKind.RETRY_AFTER, 2.5)
    assert (reject.kind, reject.error_text) == (FailureKind.REJECT, "never")
    assert driving.engine.statistics().workers_lost == 0


def test_a_failed_batch_charges_one_message_of_each_key(drive: Any, effects: Any) -> None:
    """Of a batch that failed, the first message of each key is charged; later ones of the key go back unattempted."""
    driving = drive(ProcessEngine, "batches", worker_pool_size=1)
    driving.offer((b"a", b"error"), (b"a", b""), (b"b", b""), (b"a", b""), (b"b", b""))
    driving.until_done(5)
    charged = {each.message.offset for each in driving.failures}
    assert 0 in charged
    assert charged <= {0, 2}
    assert effects.first_order() == {(0, "a"): [0, 1, 3], (0, "b"): [2, 4]}
    assert {effect.offset for effect in effects.read() if effect.attempt > 1} == charged


def test_a_batch_that_kills_its_worker(drive: Any, effects: Any) -> None:
    """All keys of the running batch are charged once, in order, and nothing is lost."""
    driving = drive(ProcessEngine, "batches", worker_pool_size=1)
    driving.offer(*[(b"%d" % (n % 3), b"exit" if n == 4 else b"") for n in range(30)])
    driving.until_done(30)
    assert {each.kind for each in driving.failures} == {FailureKind.WORKER_LOST}
    assert effects.first_order() == {(0, str(key)): list(range(key, 30, 3)) for key in range(3)}


@pytest.mark.parametrize("ordering", list(Ordering))
@pytest.mark.parametrize("seed", [1, 2])
def test_order_holds_under_load_with_faults(
    drive: Any, effects: Any, monkeypatch: pytest.MonkeyPatch, ordering: Ordering, seed: int
) -> None:
    """Exceptions, deaths, hangs and a pool that changes its size: everything is done, each shard in order."""
    monkeypatch.setenv("SEED", str(seed))
    driving = drive(ProcessEngine, "faulty", worker_pool_size=3, task_timeout_ms=300, ordering=ordering)
    for partition in range(4):
        keys = [b"%d" % (n * n % 23 if n % 3 else n % 5) for n in range(400)]
        driving.offer(*[(None if n % 40 == 0 else key, b"v") for n, key in enumerate(keys)], partition=partition)
    for size in (1, 4, 2, 3):
        driving.apply(worker_pool_size=size)
        driving.until_done(len(driving.done) + 250, 60)
    driving.until_done(1_600, 90)
    assert {each.kind for each in driving.failures} == {
        FailureKind.ERROR, FailureKind.WORKER_LOST, FailureKind.TIMEOUT
    }  # fmt: skip
    assert len({(effect.partition, effect.offset) for effect in effects.read()}) == 1_600
    assert len(effects.read()) == 1_600, "what is done is done once"
    if ordering is Ordering.UNORDERED:
        return
    order = effects.first_order(by_partition=ordering is Ordering.PARTITION)
    if ordering is Ordering.KEY:
        order = {shard: offsets for shard, offsets in order.items() if shard[1] != "-"}
    assert {shard: offsets for shard, offsets in order.items() if offsets != sorted(offsets)} == {}


def test_random_kills_cost_no_more_than_what_they_hit(drive: Any, effects: Any) -> None:
    """Workers killed from outside at any moment, with resizes: all done in order; only charged messages ran twice."""
    draw = random.Random(7)
    driving = drive(ProcessEngine, "note", worker_pool_size=3, max_in_flight=2_000)
    total = 12_000
    for partition in range(3):
        driving.offer(*[(b"%d" % draw.randrange(200), b"v") for _ in range(total // 3)], partition=partition)
    for number in range(12):
        driving.until_done(min(len(driving.done) + draw.randrange(1, 900), total), 90)
        # on a busy machine all may be dead, and none of them back yet
        driving.until(lambda: living_workers(driving.engine), 90)
        os.kill(draw.choice(living_workers(driving.engine)), signal.SIGKILL)
        if number % 4 == 3:
            driving.apply(worker_pool_size=draw.randint(1, 4))
    driving.until_done(total, 90)
    assert driving.engine.statistics().workers_lost >= 8
    assert len(driving.done) == total
    assert len({(message.partition, message.offset) for message in driving.done}) == total
    assert len(driving.failures) <= 12
    ran = Counter((effect.partition, effect.offset) for effect in effects.read())
    assert len(ran) == total
    charged = {(each.message.partition, each.message.offset) for each in driving.failures}
    assert {where for where, times in ran.items() if times > 1} <= charged
    order = effects.first_order()
    assert {shard: offsets for shard, offsets in order.items() if offsets != sorted(offsets)} == {}


def test_a_call_that_goes_on_hides_nothing_of_what_was_finished_before_it(drive: Any, effects: Any) -> None:
    """What a worker finished just before a long call counts while that call runs, and nothing runs twice."""
    driving = drive(ProcessEngine, "by_value", worker_pool_size=1, task_timeout_ms=0)
    driving.offer(*[(b"%d" % n, b"sleep 0.0001") for n in range(20)], (b"long", b"sleep 3"), (b"after", b"v"))
    driving.until(lambda: len(driving.done) >= 20)
    assert len(effects.read()) == 20, "the long call still ran"
    assert driving.in_flight == 2
    driving.until_done(22)
    assert len(effects.read()) == 22


def test_a_failure_before_a_call_that_goes_on_is_no_success(drive: Any, effects: Any) -> None:
    """Only what was not told to have failed counts as finished before a long call."""
    driving = drive(ProcessEngine, "by_value", worker_pool_size=1, task_timeout_ms=0)
    values = [b"error" if n % 3 == 0 else b"v" for n in range(30)]
    driving.offer(*[(b"%d" % n, value) for n, value in enumerate(values)], (b"long", b"sleep 2"))
    driving.until(lambda: len(driving.done) + len(driving.failures) >= 30)
    assert {message.offset for message in driving.done} == {n for n in range(30) if n % 3}
    driving.until_done(21)
