"""Modes thread, process and auto against the real Kafka: nothing lost, order as asked for, offsets exact."""

import random
import threading
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from consumer_runtime import StartFailure
from consumer_runtime.contract.metrics import RetryReason
from consumer_runtime.contract.settings import Mode
from consumer_runtime.contract.state import StartReason
from consumer_runtime.handler import load

pytestmark = pytest.mark.kafka

FAST_RETRY = {"max_retries": 8, "backoff_ms": 20, "max_backoff_ms": 100}


class Line(NamedTuple):
    """One success."""

    partition: int
    offset: int
    key: str
    attempt: int


@pytest.fixture
def effects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where handlers write, and their module importable here and in workers."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "worker_code"))
    monkeypatch.setenv("EFFECTS", str(tmp_path / "effects"))
    return tmp_path / "effects"


def lines(effects: Path) -> list[Line]:
    """Return the successes in the order in which they were written."""
    fields = [line.split() for line in effects.read_text().splitlines()]
    return [Line(int(partition), int(offset), key, int(attempt)) for partition, offset, key, attempt in fields]


def out_of_order(found: list[Line], ordering: str) -> list[Line]:
    """Return successes that came after a later one of their shard; null keys belong to none."""
    latest: dict[Any, int] = {}
    wrong = []
    for line in found:
        if ordering == "unordered" or (ordering == "key" and line.key == "-"):
            continue
        shard = line.partition if ordering == "partition" else (line.partition, line.key)
        if line.offset < latest.get(shard, -1):
            wrong.append(line)
        latest[shard] = max(latest.get(shard, -1), line.offset)
    return wrong


def fill(topic: Any, count: int, *, keys: int = 50) -> None:
    """Produce messages with a skewed choice of keys, some without."""
    draw = random.Random(count)
    names = [b"%d" % min(int(draw.paretovariate(0.8)), keys) for _ in range(count)]
    topic.produce([(None, None if n % 30 == 0 else name, b"%d" % n) for n, name in enumerate(names)])


@pytest.mark.parametrize("ordering", ["key", "partition", "unordered"])
@pytest.mark.parametrize("mode", ["thread", "process"])
def test_every_message_succeeds_once_and_in_order(
    topic: Any, running: Any, effects: Path, monkeypatch: pytest.MonkeyPatch, mode: str, ordering: str
) -> None:
    """One attempt in ten fails, workers exit now and then: nothing lost or done twice, in order, all committed."""
    count = 1_500
    if mode == "process":
        monkeypatch.setenv("EXITS", "1")
    fill(topic, count)
    settings = topic.settings(execution={"mode": mode, "ordering": ordering, "worker_pool_size": 3}, retry=FAST_RETRY)
    with running(settings, load("mode_handlers:faulty")) as member:
        member.wait_for(lambda: member.finished() >= count, seconds=90)
    found = lines(effects)
    assert len(found) == count
    assert len({(line.partition, line.offset) for line in found}) == count
    assert out_of_order(found, ordering) == []
    ends = Counter(line.partition for line in found)
    assert {partition: offset for partition, (offset, _) in topic.committed().items() if offset > 0} == ends
    retries = member.consumer.statistics.snapshot().retries
    assert retries[RetryReason.ERROR] > 80
    assert (retries[RetryReason.WORKER_LOST] > 0) is (mode == "process")


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_a_new_pool_size_is_taken_under_load(topic: Any, running: Any, effects: Path, mode: str) -> None:
    """The pool grows and shrinks while messages run; keys keep their order, nothing is lost."""
    count = 6_000
    fill(topic, count, keys=200)
    settings = topic.settings(execution={"mode": mode, "worker_pool_size": 1, "max_in_flight": 512})
    with running(settings, load("mode_handlers:short")) as member:
        for size in (4, 2, 3, 1):
            before = member.finished()
            execution = settings.execution.model_copy(update={"worker_pool_size": size})
            member.consumer.apply(settings.model_copy(update={"execution": execution}))
            member.wait_for(lambda before=before: member.finished() > before + 300)
        member.wait_for(lambda: member.finished() >= count, seconds=60)
        assert member.consumer.state().knobs["worker_pool_size"] == 1
    found = lines(effects)
    assert len(found) == count
    assert out_of_order(found, "key") == []


def test_a_call_that_hangs_in_a_process_goes_to_the_dead_letters(
    topic: Any, make_topic: Any, running: Any, effects: Path
) -> None:
    """Each attempt ends at its timeout with its worker; then the message is dead-lettered, and its key goes on."""
    dead = make_topic(1)
    topic.produce([(0, b"k", b"1"), (0, b"k", b"poison"), (0, b"k", b"2"), *[(0, b"%d" % n, b"") for n in range(50)]])
    settings = topic.settings(
        execution={"mode": "process", "worker_pool_size": 2, "task_timeout_ms": 300},
        retry={"max_retries": 1, "backoff_ms": 20, "max_backoff_ms": 20},
        dead_letter={"enabled": True, "topic": dead.name},
    )
    with running(settings, load("mode_handlers:hangs_on_poison")) as member:
        member.wait_for(lambda: member.finished() >= 53)
    (letter,) = dead.read(1)
    headers = dict(letter.headers())
    assert letter.value() == b"poison"
    assert headers["x-error-class"] == b"builtins:TimeoutError"
    assert sorted(line.offset for line in lines(effects)) == [n for n in range(53) if n != 1]
    assert out_of_order(lines(effects), "key") == []


def test_threads_that_hang_beyond_the_bound_end_the_process(topic: Any, running: Any) -> None:
    """What cannot be interrupted is neither retried nor committed: the consumer ends, and says why."""
    release = threading.Event()
    topic.produce([(0, b"%d" % n, b"") for n in range(3)])
    settings = topic.settings(
        execution={"mode": "thread", "worker_pool_size": 1, "task_timeout_ms": 100, "shutdown_grace_seconds": 1}
    )
    member = running(settings, lambda _: release.wait(60))
    member.__enter__()
    member._thread.join(30)
    release.set()
    assert isinstance(member.error, StartFailure)
    assert member.error.error.reason is StartReason.HANDLER_STUCK
    assert topic.committed()[0][0] <= 0


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_a_hot_slow_key_blocks_only_itself(topic: Any, running: Any, effects: Path, mode: str) -> None:
    """Three hundred slow messages of one key lie before and among the others, in a window of 64: the others go on."""
    hot = [(0, b"hot", b"")] * 300
    others = [(n % 4, b"%d" % (n % 100), b"") for n in range(2_000)]
    topic.produce(hot[:150] + others[:1_000] + hot[150:] + others[1_000:])
    execution = {"mode": mode, "worker_pool_size": 2, "max_in_flight": 64, "shutdown_grace_seconds": 1}
    with running(topic.settings(execution=execution), load("mode_handlers:slow_when_hot")) as member:
        member.wait_for(lambda: member.finished() > 0)
        member.wait_for(lambda: sum(line.key != "hot" for line in lines(effects)) == 2_000, seconds=60)
    found = lines(effects)
    finished_hot = sum(line.key == "hot" for line in found)
    assert 0 < finished_hot < 150, "the others must not wait for the hot key"
    assert out_of_order(found, "key") == []


def test_auto_measures_and_says_what_it_chose(topic: Any, running: Any, effects: Path) -> None:
    """A handler that computes, without any hint: process, with the figures at /state; each message once."""
    count = 1_500
    fill(topic, count)
    settings = topic.settings(execution={"mode": "auto", "worker_pool_size": 2})
    with running(settings, load("mode_handlers:computes")) as member:
        assert member.consumer.state().mode is Mode.AUTO
        member.wait_for(lambda: member.finished() >= count, seconds=60)
        state = member.consumer.state()
    assert state.mode is Mode.PROCESS
    assert member.consumer._loop._engine.keeps_order
    assert "it mostly computes" in state.mode_reason
    found = lines(effects)
    assert len({(line.partition, line.offset) for line in found}) == len(found) == count
    assert out_of_order(found, "key") == []


def test_auto_follows_a_hint(topic: Any, running: Any) -> None:
    """`async def` says enough: no measuring."""
    topic.produce([(0, b"k", b"")])

    async def handle(message: Any) -> None: ...

    with running(topic.settings(execution={"mode": "auto"}), handle) as member:
        member.wait_for(lambda: member.finished() == 1)
        assert member.consumer.state().mode is Mode.ASYNC
        assert "says so" in member.consumer.state().mode_reason


@pytest.mark.parametrize("mode", ["async", "thread", "process"])
def test_calls_longer_than_the_poll_interval_do_not_cost_the_membership(topic, running, effects, mode):
    """The poll goes on however slow the handler is: every message once, and no rebalance but the first."""
    topic.produce([(number % 4, b"%d" % number, b"") for number in range(6)])
    settings = topic.settings(
        properties={"max.poll.interval.ms": 6_000, "session.timeout.ms": 6_000},
        execution={"mode": mode, "worker_pool_size": 3, "max_in_flight": 3},
    )
    name = "awaits" if mode == "async" else "takes"
    with running(settings, load(f"mode_handlers:{name}_nine_seconds")) as member:
        member.wait_for(lambda: member.finished() == 6, 60)
        assert member.consumer.statistics.snapshot().rebalances == 1
    assert len(lines(effects)) == 6
