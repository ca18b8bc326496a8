import asyncio
import random
import threading
import time
from collections import Counter, defaultdict

import pytest
from confluent_kafka import Producer

from consumer_runtime import Reject, RetryAfter
from consumer_runtime.contract.metrics import DeadLetterOutcome, RetryReason, Status

pytestmark = pytest.mark.kafka

FAST_RETRY = {"max_retries": 8, "backoff_ms": 20, "max_backoff_ms": 100}


class Recorder:
    """What a handler saw, from whichever thread."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.calls: Counter = Counter()
        self.completed: list = []

    def fails(self, message, share: float) -> bool:
        """Decide by message and attempt, so that a run can be repeated."""
        with self.lock:
            self.calls[message.partition, message.offset] += 1
        return random.Random(f"{message.partition}/{message.offset}/{message.attempt}").random() < share

    def finish(self, message) -> None:
        """Note a call that succeeded."""
        with self.lock:
            self.completed.append((message.partition, message.offset, message.key))


@pytest.mark.parametrize("ordering", ["key", "partition", "unordered"])
@pytest.mark.parametrize("mode", ["single", "async"])
def test_every_message_succeeds_once_and_in_order_over_retries(topic, running, mode: str, ordering: str):
    """With one attempt in ten failing: nothing lost, nothing done twice, order as asked for, all of it committed."""
    count = 2_000
    keys = [b"%d" % number for number in range(50)] + [None]
    topic.produce([(None, random.Random(number).choice(keys), b"%d" % number) for number in range(count)])
    seen = Recorder()

    def work(message) -> None:
        if seen.fails(message, 0.1):
            raise ValueError(f"attempt {message.attempt}")
        seen.finish(message)

    async def work_async(message) -> None:
        await asyncio.sleep(0)
        work(message)

    settings = topic.settings(execution={"mode": mode, "ordering": ordering}, retry=FAST_RETRY)
    with running(settings, work_async if mode == "async" else work) as member:
        member.wait_for(lambda: member.finished() >= count, seconds=60)
    assert Counter((partition, offset) for partition, offset, _ in seen.completed) == Counter(
        {(partition, offset): 1 for partition, end in ends(topic).items() for offset in range(end)}
    )
    assert_in_order(seen.completed, ordering)
    assert {partition: offset for partition, (offset, _) in topic.committed().items()} == ends(topic)
    assert member.consumer.statistics.snapshot().retries[RetryReason.ERROR] > 100


def ends(topic) -> dict[int, int]:
    """The topic's end offsets, by a client of its own."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": topic.kafka.bootstrap_servers, "group.id": "ends"})
    try:
        return {
            partition: consumer.get_watermark_offsets(TopicPartition(topic.name, partition), timeout=10)[1]
            for partition in range(topic.partitions)
        }
    finally:
        consumer.close()


def assert_in_order(completed: list, ordering: str) -> None:
    """Require offset order within each shard."""
    if ordering == "unordered":
        return
    by_shard = defaultdict(list)
    for partition, offset, key in completed:
        if ordering == "partition" or key is not None:
            by_shard[partition, key if ordering == "key" else None].append(offset)
    for offsets in by_shard.values():
        assert offsets == sorted(offsets)


@pytest.mark.parametrize("payload_mode", ["full", "metadata_only"])
def test_exhausted_messages_become_dead_letters_that_tell_their_story(make_topic, running, payload_mode: str):
    """The dead letter carries original headers and ours, after exactly the allowed attempts, and then is committed."""
    source, dead = make_topic(2), make_topic(1)
    producer = Producer({"bootstrap.servers": source.kafka.bootstrap_servers})
    producer.produce(source.name, key=b"k", value=b"poison", headers=[("trace", b"1")], partition=1)
    producer.produce(source.name, key=b"k", value=b"fine", partition=1)
    producer.flush(10)
    attempts = []

    async def work(message) -> None:
        if message.value == b"poison":
            attempts.append(message.attempt)
            raise KeyError("no such order")

    settings = source.settings(
        execution={"mode": "async"},
        retry={"max_retries": 2, "backoff_ms": 10, "max_backoff_ms": 10},
        dead_letter={"enabled": True, "topic": dead.name, "payload_mode": payload_mode},
    )
    with running(settings, work) as member:
        member.wait_for(lambda: member.finished() == 2)
        statistics = member.consumer.statistics.snapshot()
    assert attempts == [1, 2, 3]
    assert statistics.finished(Status.DEAD_LETTERED) == 1
    assert statistics.dead_letters[DeadLetterOutcome.DELIVERED] == 1
    (letter,) = dead.read(1)
    headers = dict(letter.headers())
    assert headers["trace"] == b"1"
    assert headers["x-error-class"] == b"builtins:KeyError"
    assert headers["x-error-reason"] == b"'no such order'"
    assert headers["x-retry-attempt"] == b"3"
    assert headers["source-topic"] == source.name.encode()
    assert (headers["partition"], headers["offset"]) == (b"1", b"0")
    assert int(headers["epoch"]) >= 1
    assert float(headers["x-first-failure"]) < float(headers["x-last-failure"]) <= time.time()
    expected = (b"k", b"poison") if payload_mode == "full" else (None, None)
    assert (letter.key(), letter.value()) == expected
    assert source.committed()[1][0] == 2


def test_without_a_dead_letter_topic_an_exhausted_message_is_skipped_and_counted(topic, running):
    """Nothing blocks for ever: the message counts as failed, and the offset is committed."""
    topic.produce([(0, b"k", b"bad"), (0, b"k", b"good")])

    async def work(message) -> None:
        if message.value == b"bad":
            raise Reject("never")

    with running(topic.settings(), work) as member:
        member.wait_for(lambda: member.finished() == 2)
        assert member.consumer.statistics.snapshot().finished(Status.FAILED) == 1
    assert topic.committed()[0][0] == 2


def test_a_long_backoff_holds_neither_worker_nor_other_keys(topic, running):
    """While one key waits for its retry, another key's messages run, with room for one message in flight."""
    topic.produce([(0, b"slow", b"0"), (0, b"slow", b"1"), *((0, b"fast", b"%d" % number) for number in range(200))])
    seen = Recorder()

    async def work(message) -> None:
        if message.key == b"slow" and message.attempt == 1 and message.value == b"0":
            raise RetryAfter(5.0)
        seen.finish(message)

    with running(topic.settings(execution={"max_in_flight": 1}), work) as member:
        member.wait_for(lambda: member.finished() == 200)
        assert all(key == b"fast" for _, _, key in seen.completed)
        member.wait_for(lambda: member.finished() == 202)
    assert [offset for _, offset, key in seen.completed if key == b"slow"] == [0, 1]
    assert member.consumer.statistics.snapshot().retries[RetryReason.RETRY_AFTER] == 1


def test_many_long_backoffs_do_not_keep_the_others_out(topic, running):
    """More messages wait an hour for their retry than any window holds; those behind them run all the same."""
    waiting, others = 30_000, 2_000
    topic.produce([(number % 4, b"%d" % number, b"away" if number < waiting else b"") for number in range(32_000)])

    async def work(message) -> None:
        if message.value == b"away":
            raise RetryAfter(3_600)

    with running(topic.settings(execution={"max_in_flight": 64}), work) as member:
        member.wait_for(lambda: member.finished() == others, seconds=60)
        statistics = member.consumer.statistics.snapshot()
        assert statistics.retries[RetryReason.RETRY_AFTER] == waiting
        assert not statistics.backpressure_active
    assert {offset for offset, _ in topic.committed().values()} == {0}


def test_policies_hold_for_subclasses_of_the_errors_they_name(topic, running):
    """`OSError` allows five retries: a ConnectionError is one; others have the default of none."""
    topic.produce([(0, b"a", b"connection"), (0, b"b", b"value")])
    attempts: Counter = Counter()

    async def work(message) -> None:
        attempts[message.value] += 1
        raise ConnectionError if message.value == b"connection" else ValueError

    policy = {"errors": ["builtins:OSError"], "max_retries": 5, "backoff_ms": 1, "max_backoff_ms": 2}
    settings = topic.settings(retry={"max_retries": 0, "policies": [policy]})
    with running(settings, work) as member:
        member.wait_for(lambda: member.finished() == 2)
    assert attempts == {b"connection": 6, b"value": 1}


def test_backlog_reaches_zero_behind_transaction_markers(topic, running):
    """Markers and aborted messages never arrive: with nothing outstanding the client's position is committed."""
    properties = {"bootstrap.servers": topic.kafka.bootstrap_servers, "transactional.id": topic.name}
    producer = Producer(properties)
    producer.init_transactions(20)
    for value, ending in ((b"kept", producer.commit_transaction), (b"dropped", producer.abort_transaction)):
        producer.begin_transaction()
        for _ in range(5):
            producer.produce(topic.name, value, partition=0)
        producer.flush(10)
        ending(20)
    values = []

    async def work(message) -> None:
        values.append(message.value)

    with running(topic.settings(), work) as member:
        member.wait_for(lambda: topic.committed()[0][0] == 12)
        partitions = member.consumer.statistics.snapshot().partitions
        member.wait_for(lambda: member.consumer.statistics.snapshot().partitions[topic.name, 0].backlog == 0)
    assert values == [b"kept"] * 5
    assert (topic.name, 0) in partitions


def test_latest_commits_where_it_starts(topic, running):
    """A member that started at the end and saw nothing: what comes while it is away is not lost."""
    topic.produce([(0, None, b"before")])
    values = []

    async def work(message) -> None:
        values.append(message.value)

    with running(topic.settings(auto_offset_reset="latest"), work) as member:
        member.wait_for_assignment(topic.partitions)
        member.wait_for(lambda: topic.committed()[0][0] == 1)
    topic.produce([(0, None, b"between")])
    with running(topic.settings(auto_offset_reset="latest"), work) as member:
        member.wait_for(lambda: values == [b"between"])


def test_a_knob_applied_live_changes_what_happens(topic, running):
    """Raising max_in_flight raises how many calls run at once, without a restart or a rebalance."""
    topic.produce([(None, b"%d" % number, b"") for number in range(3_000)])
    running_now = most = 0

    async def work(message) -> None:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        await asyncio.sleep(0.02)
        running_now -= 1

    settings = topic.settings(execution={"max_in_flight": 4})
    with running(settings, work) as member:
        member.wait_for(lambda: member.finished() > 100)
        assert most == 4
        raised = settings.execution.model_copy(update={"max_in_flight": 200})
        started = time.monotonic()
        member.consumer.apply(settings.model_copy(update={"execution": raised, "generation": 7}))
        assert time.monotonic() - started < 1.0
        member.wait_for(lambda: most == 200)
        statistics = member.consumer.statistics.snapshot()
        assert (statistics.config_generation, statistics.knobs["max_in_flight"]) == (7, 200)
        assert statistics.rebalances == 1


def test_a_hanging_call_is_given_up_and_tried_again(topic, running):
    """An attempt past its timeout counts as failed; the next one may succeed; others are not disturbed."""
    topic.produce([(0, b"a", b"hang"), (0, b"b", b"other")])
    attempts = []

    async def work(message) -> None:
        if message.value == b"hang":
            attempts.append(message.attempt)
            if message.attempt == 1:
                await asyncio.sleep(3_600)

    settings = topic.settings(execution={"task_timeout_ms": 300}, retry=FAST_RETRY)
    with running(settings, work) as member:
        member.wait_for(lambda: member.finished() == 2)
        assert member.consumer.statistics.snapshot().retries[RetryReason.TIMEOUT] == 1
    assert attempts == [1, 2]


def test_a_call_that_swallows_its_cancellation_keeps_its_key_blocked(topic, running):
    """The old attempt may still write: neither a retry nor the key's next message runs beside it."""
    topic.produce([(0, b"a", b"stubborn"), (0, b"a", b"next"), (0, b"b", b"other")])
    log = []
    release = threading.Event()

    async def work(message) -> None:
        log.append(message.value)
        while message.value == b"stubborn" and not release.is_set():
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                log.append(b"swallowed")

    with running(topic.settings(execution={"task_timeout_ms": 200}), work) as member:
        member.wait_for(lambda: b"swallowed" in log)
        time.sleep(0.5)
        assert b"next" not in log
        assert log.count(b"stubborn") == 1
        assert member.finished() == 1
        release.set()
        member.wait_for(lambda: member.finished() == 3)
    assert log.index(b"swallowed") < log.index(b"next")


def test_a_full_window_pauses_partitions_and_the_backlog_stays_true(topic, running):
    """While partitions are paused the end offset is asked of the broker: what is produced meanwhile is seen."""
    topic.produce([(number % 4, None, b"x" * 10_000) for number in range(2_000)])
    release = threading.Event()

    async def work(message) -> None:
        await asyncio.to_thread(release.wait)

    settings = topic.settings(execution={"max_in_flight": 10, "max_in_flight_bytes": 1_048_576})
    with running(settings, work) as member:
        statistics = member.consumer.statistics
        member.wait_for(lambda: statistics.snapshot().backpressure_active)
        held = statistics.snapshot().in_flight_bytes
        assert 1_048_576 <= held < 15_000_000
        topic.produce([(0, None, b"late") for _ in range(100)])
        member.wait_for(lambda: sum(each.backlog or 0 for each in statistics.snapshot().partitions.values()) == 2_100)
        assert statistics.snapshot().in_flight_bytes == held
        release.set()
        member.wait_for(lambda: member.finished() == 2_100, seconds=60)
        member.wait_for(lambda: not statistics.snapshot().backpressure_active)
        member.wait_for(lambda: statistics.snapshot().in_flight_bytes == 0)


def test_stopping_finishes_what_runs_and_leaves_the_rest(topic, running):
    """Graceful shutdown: calls under way end and are committed, nothing else begins."""
    topic.produce([(0, b"%d" % number, b"") for number in range(100)])
    begun, ended = [], []

    async def work(message) -> None:
        begun.append(message.offset)
        await asyncio.sleep(0.5)
        ended.append(message.offset)

    with running(topic.settings(execution={"max_in_flight": 10}), work) as member:
        member.wait_for(lambda: len(begun) == 10)
    assert sorted(ended) == sorted(begun) == list(range(10))
    assert topic.committed()[0][0] == 10


@pytest.mark.parametrize("tolerated_ms", [500, 0])
def test_a_watermark_that_stands_still_is_told_when_asked_for(topic, running, capfd, tolerated_ms: int):
    """`max_blocking_duration_ms`: one call that does not end is reported with its partition; 0 never does."""
    topic.produce([(0, b"%d" % number, b"") for number in range(50)])
    release: list[bool] = []

    async def work(message) -> None:
        for _ in range(200):
            if message.offset > 0 or release:
                return
            await asyncio.sleep(0.05)

    settings = topic.settings(execution={"max_blocking_duration_ms": tolerated_ms})
    with running(settings, work) as member:
        member.wait_for(lambda: member.finished() == 49)
        time.sleep(2.5)
        statistics = member.consumer.statistics.snapshot()
        assert statistics.partitions[topic.name, 0].gaps == 1
        assert 2.0 < statistics.oldest_task_seconds < 6.0
        release.append(True)
        member.wait_for(lambda: member.finished() == 50)
    assert ("watermark stuck" in capfd.readouterr().out) == (tolerated_ms > 0)
