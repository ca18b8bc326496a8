import asyncio
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable

import pytest
from confluent_kafka import ConsumerGroupState, TopicPartition
from structlog.testing import capture_logs

from consumer_runtime import Message
from consumer_runtime.ledger import codec
from consumer_runtime.sources import stall

pytestmark = pytest.mark.kafka

PROTOCOLS = {
    "cooperative": {"heartbeat.interval.ms": 500},
    "eager": {"heartbeat.interval.ms": 500, "partition.assignment.strategy": "range"},
    "kip848": {"group.protocol": "consumer"},
}


class Journal:
    """Which member completed what, in order of completion."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.entries: list[tuple[str, int, int, bytes]] = []

    def handler(self, name: str, seconds: float) -> Callable[[Message], Awaitable[None]]:
        """Return a handler that takes so long and writes down the member's name."""

        async def work(message) -> None:
            await asyncio.sleep(seconds)
            with self.lock:
                self.entries.append((name, message.partition, message.offset, message.key))

        return work

    def counts(self) -> Counter:
        """Completions by (partition, offset)."""
        return Counter((partition, offset) for _, partition, offset, _ in self.entries)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_member_that_joins_and_leaves_repeats_nothing(topic, running, protocol: str):
    """With grace enough for what runs, a rebalance either way loses nothing, repeats nothing, and keeps order."""
    count = 4_000
    topic.produce([(number % 4, b"%d" % (number % 80), b"") for number in range(count)])
    settings = topic.settings(properties=PROTOCOLS[protocol], execution={"max_in_flight": 20})
    journal = Journal()
    with running(settings, journal.handler("first", 0.05)) as first:
        first.wait_for(lambda: first.finished() > 200)
        with running(settings, journal.handler("second", 0.05)) as second:
            second.wait_for(lambda: second.finished() > 200)
        assert second.consumer.statistics.snapshot().commit_failures == 0
        first.wait_for(lambda: len(journal.counts()) == count)
    assert set(journal.counts().values()) == {1}
    assert {name for name, *_ in journal.entries} == {"first", "second"}
    assert_in_order(journal)
    assert {offset for offset, _ in topic.committed().values()} == {count // 4}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_few_keys_of_short_calls_keep_their_order_over_a_rebalance_and_failures(topic, running, protocol: str):
    """Where the loop goes on with a key's next message by itself: nothing lost, repeated or out of order."""
    settings = topic.settings(properties=PROTOCOLS[protocol], retry={"backoff_ms": 10, "jitter_percent": 0})
    journal = Journal()
    failed: set[tuple[int, int]] = set()

    def handler(name: str) -> Callable[[Message], Awaitable[None]]:
        write = journal.handler(name, 0.001)

        async def work(message) -> None:
            place = (message.partition, message.offset)
            if message.offset % 97 == 0 and place not in failed:
                failed.add(place)
                raise ValueError("the first attempt")
            await write(message)

        return work

    with running(settings, handler("first")) as first:
        with topic.feed(keys=20) as feed:  # a group may take seconds to rebalance: the second must find messages
            first.wait_for(lambda: first.finished() > 2_000 and first.consumer._loop._engine.follows > 0)
            with running(settings, handler("second")) as second:
                second.wait_for(lambda: second.finished() > 2_000 and second.consumer._loop._engine.follows > 0)
        first.wait_for(lambda: len(journal.counts()) == feed.count)
    assert set(journal.counts().values()) == {1}
    assert {name for name, *_ in journal.entries} == {"first", "second"}
    assert len(failed) == 4 * len(range(0, feed.count // 4, 97))
    assert_in_order(journal)


def assert_in_order(journal: Journal) -> None:
    """Require that each key was completed in order of offsets."""
    by_key = defaultdict(list)
    for _, partition, offset, key in journal.entries:
        by_key[partition, key].append(offset)
    assert all(offsets == sorted(offsets) for offsets in by_key.values())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_outlasts_the_grace_runs_again_and_is_committed_by_its_owner_only(topic, running, protocol: str):
    """A revoke waits no longer than its grace; the late completion of the old owner changes no offset."""
    topic.produce([(partition, b"slow", b"") for partition in range(4)])
    settings = topic.settings(properties=PROTOCOLS[protocol], execution={"revoke_grace_ms": 300})
    begun: list[tuple[str, int]] = []
    release = {"first": threading.Event(), "second": threading.Event()}

    def handler(name: str) -> Callable[[Message], Awaitable[None]]:
        async def work(message) -> None:
            begun.append((name, message.partition))
            await asyncio.to_thread(release[name].wait)

        return work

    with running(settings, handler("first")) as first:
        first.wait_for(lambda: len(begun) == 4)
        with running(settings, handler("second")) as second:
            second.wait_for(lambda: sum(name == "second" for name, _ in begun) == 2)
            moved = {partition for name, partition in begun if name == "second"}
            release["first"].set()
            first.wait_for(lambda: first.finished() == 2)
            time.sleep(0.5)
            committed = topic.committed()
            assert all(max(committed[partition][0], 0) == 0 for partition in moved)
            assert first.finished() == 2
            release["second"].set()
            second.wait_for(lambda: second.finished() == 2)
    assert {offset for offset, _ in topic.committed().values()} == {1}


@pytest.mark.parametrize("mode", ["thread", "async"])
def test_what_outlasts_the_grace_is_not_joined_by_a_second_attempt(topic, running, mode: str):
    """A partition that an eager rebalance gives back waits for the attempt that its member still runs of each key."""
    topic.produce([(partition, key, b"") for partition in range(4) for key in (b"slow", b"slow", b"quick")])
    execution = {"mode": mode, "revoke_grace_ms": 300, "worker_pool_size": 16}
    settings = topic.settings(properties=PROTOCOLS["eager"], execution=execution)
    begun: list[tuple[str, int, int]] = []
    now: Counter = Counter()
    most: Counter = Counter()
    release = threading.Event()
    lock = threading.Lock()

    def handler(name: str, wait: Callable[[], None]) -> Callable[[Message], object]:
        def work(message) -> None:
            key = (name, message.partition, message.key)
            with lock:
                begun.append((name, message.partition, message.offset))
                now[key] += 1
                most[key] = max(most[key], now[key])
            if message.key == b"slow":
                wait()
            with lock:
                now[key] -= 1

        async def work_async(message) -> None:
            await asyncio.to_thread(work, message)

        return work_async if mode == "async" else work

    with running(settings, handler("first", release.wait)) as first:
        first.wait_for(lambda: len(begun) == 8)
        with running(settings, handler("second", lambda: None)) as second:
            second.wait_for(lambda: second.finished() >= 4)
            first.wait_for_assignment(2)
            time.sleep(0.5)
            assert [each for each, times in Counter(begun).items() if each[0] == "first" and times > 1] == []
            release.set()
            first.wait_for(lambda: {offset for offset, _ in topic.committed().values()} == {3})
    assert set(most.values()) == {1}


def test_a_member_gives_up_what_the_group_gave_away_during_its_grace(topic, running):
    """Partitions are added while an eager revoke waits for slow calls: the client joins again behind its callback."""
    topic.produce([(partition, key, b"") for key in (b"slow", b"quick") for partition in range(4)])
    properties = PROTOCOLS["eager"] | {"topic.metadata.refresh.interval.ms": 500}
    settings = topic.settings(properties=properties, execution={"revoke_grace_ms": 60_000})
    begun: list[tuple[str, bytes, int]] = []
    release = threading.Event()

    def handler(name: str) -> Callable[[Message], Awaitable[None]]:
        async def work(message) -> None:
            begun.append((name, message.key, message.partition))
            if name == "first" and message.key == b"slow":
                await asyncio.to_thread(release.wait)

        return work

    with running(settings, handler("first")) as first:
        first.wait_for(lambda: first.finished() == 4)
        with running(settings, handler("second")) as second:
            first.wait_for(lambda: topic.group_state() is ConsumerGroupState.PREPARING_REBALANCING)
            time.sleep(1.0)  # two heartbeats, until which the first has been asked for its partitions
            topic.grow(6)
            second.wait_for_assignment(3)
            first.wait_for_assignment(3)
            moved = {partition for _, partition in second.consumer._loop._source.assignments if partition < 4}
            second.wait_for(lambda: {topic.committed()[partition][0] for partition in moved} == {2})
            assert sorted(begun[8:]) == sorted(("second", b"slow", partition) for partition in moved)
            release.set()
            first.wait_for(lambda: {offset for offset, _ in topic.committed().values()} == {2})
    again = {("first", b"slow", partition) for partition in range(4) if partition not in moved}
    assert Counter(begun[8 + len(moved) :]) == Counter(again)
    assert first.consumer.statistics.snapshot().commit_failures == 0


def test_a_revoke_commits_the_map_of_what_is_finished(topic, running):
    """The next owner is told what lies finished beyond a stuck message, and does not do it again."""
    topic.produce([(partition, b"%d" % number, b"") for partition in range(4) for number in range(50)])
    settings = topic.settings(
        properties=PROTOCOLS["cooperative"], execution={"revoke_grace_ms": 100, "max_in_flight": 500}
    )
    journal = Journal()
    release = threading.Event()

    def handler(name: str) -> Callable[[Message], Awaitable[None]]:
        plain = journal.handler(name, 0.0)

        async def work(message) -> None:
            if message.offset == 0:
                await asyncio.to_thread(release.wait)
            await plain(message)

        return work

    with running(settings, handler("first")) as first:
        first.wait_for(lambda: first.finished() == 4 * 49)
        with running(settings, handler("second")) as second:
            second.wait_for_assignment(2)
            offset, metadata = next(iter(topic.committed().values()))
            assert codec.decode(metadata, offset) == b"\x00" + b"\x01" * 49
            release.set()
            second.wait_for(lambda: second.finished() == 2)
            first.wait_for(lambda: first.finished() == 4 * 49 + 2)
    finished = journal.counts()
    assert all(times == 1 for (_, offset), times in finished.items() if offset > 0)
    assert {offset for offset, _ in topic.committed().values()} == {50}


def test_partitions_that_come_while_paused_start_paused(topic, running):
    """Backpressure is not forgotten over a rebalance: a full member fetches nothing of partitions it gains."""
    topic.produce([(number % 4, None, b"x" * 10_000) for number in range(1_200)])
    release = threading.Event()

    async def work(message) -> None:
        await asyncio.to_thread(release.wait)

    execution = {
        "max_in_flight": 4,
        "max_in_flight_bytes": 1_048_576,
        "revoke_grace_ms": 200,
        "shutdown_grace_seconds": 1,
    }
    settings = topic.settings(properties=PROTOCOLS["cooperative"], execution=execution)
    with running(settings, work) as first:
        first.wait_for_assignment(4)
        with running(settings, work) as second:
            second.wait_for_assignment(2)
            first.wait_for(lambda: first.consumer.statistics.snapshot().backpressure_active)
            held = first.consumer.statistics.snapshot().in_flight_bytes
            release_second = second
        first.wait_for_assignment(4)
        time.sleep(1.0)
        assert first.consumer.statistics.snapshot().in_flight_bytes <= held
        release.set()
        first.wait_for(lambda: first.finished() + release_second.finished() >= 1_200, seconds=60)


def test_partitions_that_come_while_leaving_do_not_delay_the_end(topic, running):
    """A member that learns of more partitions only as it closes ends all the same, and the group goes on.

    Its handler keeps it from polling while the other one leaves, so that the assignment waits for it in the client.
    """
    topic.produce([(partition, b"k", b"") for partition in range(4)])
    settings = topic.settings(properties=PROTOCOLS["cooperative"])
    inline = topic.settings(properties=PROTOCOLS["cooperative"], execution={"mode": "single"})
    begun, release = threading.Event(), threading.Event()

    async def wait(_message) -> None:
        await asyncio.sleep(0.01)

    def block(_message) -> None:
        begun.set()
        release.wait(30)

    with running(settings, wait) as other:
        other.wait_for_assignment(4)
        with running(inline, block) as leaving:
            leaving.wait_for(lambda: leaving.consumer.state().assigned_partitions == 2)
            topic.produce([(partition, b"k", b"") for partition in range(4)])
            leaving.wait_for(begun.is_set)
            other.stop()
            time.sleep(2.0)  # the client's own thread joins the group anew meanwhile
            leaving.consumer.stop()
            release.set()
            leaving.stop(20.0)
    with running(settings, wait) as after:
        after.wait_for(lambda: {offset for offset, _ in topic.committed().values()} == {2})


def test_a_partition_that_stands_still_after_a_rebalance_is_told_and_fetched_anew(topic, running, monkeypatch):
    """The client keeps a pause that nobody asked for, in a stable group: it is said that nothing comes, and mended."""
    monkeypatch.setattr(stall, "STALLED_AFTER_SECONDS", 1.0)
    monkeypatch.setattr(stall, "_LOOK_SECONDS", 0.2)
    topic.produce([(partition, b"k", b"") for partition in range(4)])
    settings = topic.settings(properties=PROTOCOLS["cooperative"], execution={"mode": "single"})

    def work(message) -> None:  # mode single: called by the thread that owns the client
        if message.value == b"pause":
            first.consumer._source._consumer.pause([TopicPartition(topic.name, 2)])

    with capture_logs() as said, running(settings, work) as first:
        first.wait_for(lambda: first.finished() == 4)
        with running(settings, work) as second:
            second.wait_for_assignment(2)
        first.wait_for_assignment(4)
        topic.produce([(0, b"k", b"pause")])
        first.wait_for(lambda: topic.committed()[0][0] == 2)
        topic.produce([(2, b"k", b"")])
        first.wait_for(lambda: topic.committed()[2][0] == 2, seconds=60)
    stalled = [line for line in said if line["event"] == "partition stalled"]
    assert {(line["partition"], line["position"], line["end"]) for line in stalled} == {(2, 1, 2)}
