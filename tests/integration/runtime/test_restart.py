import asyncio
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from consumer_runtime.ledger import codec
from consumer_runtime.ledger.offsets import Progress

pytestmark = pytest.mark.kafka

QUICKLY_MISSED = {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 1_000}
"""So that a killed member's partitions go to the next one in seconds."""
MEMBER = Path(__file__).with_name("member.py")


@contextmanager
def member(settings, log: Path) -> Iterator[subprocess.Popen]:
    """Run a member as a process; it is killed at the end of the block."""
    file = log.with_suffix(".json")
    file.write_text(settings.model_dump_json())
    process = subprocess.Popen([sys.executable, MEMBER, file, log])
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def logged(log: Path, what: str) -> list[tuple[int, int]]:
    """(partition, offset) of each complete line."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(int(line.split()[1]), int(line.split()[2])) for line in lines if line.startswith(what)]


def wait_for(condition, seconds: float = 30.0) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


def commit(topic, offset: int, metadata: str) -> None:
    """Commit by hand what another tool might have left."""
    consumer = Consumer({"bootstrap.servers": topic.kafka.bootstrap_servers, "group.id": topic.group})
    consumer.commit(offsets=[TopicPartition(topic.name, 0, offset, metadata=metadata)], asynchronous=False)
    consumer.close()


def test_after_kill_9_only_the_unfinished_run_again(topic, tmp_path):
    """One message in a hundred is stuck. Its process is killed; the next one runs those, and nothing else, again."""
    values = [b"stuck" if number % 100 == 50 else b"" for number in range(1_000)]
    topic.produce([(number % 2, b"%d" % number, value) for number, value in enumerate(values)])
    execution = {"max_in_flight": 100, "task_timeout_ms": 0}
    settings = topic.settings(execution=execution, properties=QUICKLY_MISSED)
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    with member(settings, first) as process:
        wait_for(lambda: len(logged(first, "end")) == 990)
        wait_for(lambda: sum(flag for _, flag in _progress(topic)) == 990)
        process.kill()
        process.wait(10)
    stuck = set(logged(first, "begin")) - set(logged(first, "end"))
    assert len(stuck) == 10
    with member(settings, second):
        wait_for(lambda: len(logged(second, "begin")) >= 10)
        time.sleep(1.0)
    assert Counter(logged(second, "begin")) == Counter(stuck)


def _progress(topic) -> Iterator[tuple[int, int]]:
    """(partition, messages finished according to the broker), by offset and map."""
    for partition, (offset, metadata) in topic.committed().items():
        if offset >= 0:
            yield partition, offset + sum(codec.decode(metadata, offset))


def test_a_kill_in_full_flow_repeats_only_what_was_not_acknowledged(topic, tmp_path):
    """Killed at any moment: nothing lost; what runs again was unfinished, or finished since the last commit."""
    count = 4_000
    topic.produce([(number % 4, b"%d" % number, b"") for number in range(count)])
    settings = topic.settings(execution={"max_in_flight": 50}, properties=QUICKLY_MISSED)
    logs = [tmp_path / f"{number}.log" for number in range(3)]
    acknowledged = 0
    for log in logs[:-1]:
        with member(settings, log) as process:
            target = acknowledged + 500
            wait_for(lambda target=target: sum(len(logged(each, "end")) for each in logs) > target)
            process.kill()
            process.wait(10)
        acknowledged = sum(finished for _, finished in _progress(topic))
    with member(settings, logs[-1]):
        wait_for(lambda: sum(finished for _, finished in _progress(topic)) == count)
    ended = Counter(each for log in logs for each in logged(log, "end"))
    assert len(ended) == count
    repeated = sum(ended.values()) - count
    rate_bound = 2 * 50_000 * 0.2
    assert repeated < rate_bound
    assert sum(len(logged(log, "end")) for log in logs) >= count


@pytest.mark.parametrize("metadata", ["garbage of another tool", "2r0000000", "1b~~~~~~~"])
def test_metadata_that_is_no_map_of_ours_is_ignored(topic, running, metadata: str):
    """Everything from the watermark on runs, nothing is skipped on the word of a string that cannot be read."""
    topic.produce([(0, None, b"%d" % number) for number in range(20)])
    commit(topic, 5, metadata)
    offsets = []

    async def work(message) -> None:
        offsets.append(message.offset)

    with running(topic.settings(), work) as consumer:
        consumer.wait_for(lambda: consumer.finished() == 15)
    assert sorted(offsets) == list(range(5, 20))
    assert topic.committed()[0] == (20, "")


def test_a_map_far_above_its_room_stays_within_it(topic, running):
    """More holes than fit: the broker accepts every commit, and the partition takes nothing new until it shrinks."""
    count = 60_000
    draw = random.Random(5)
    topic.produce([(0, None, draw.choice([b"waits", b""])) for _ in range(count)])
    releases: list[asyncio.Event] = []

    async def work(message) -> None:
        if not releases:
            releases.append(asyncio.Event())
        if message.value == b"waits":
            await releases[0].wait()

    execution = {"max_in_flight": 30_000, "poll_batch_size": 2_000, "task_timeout_ms": 0, "shutdown_grace_seconds": 2}
    with running(topic.settings(execution=execution), work) as consumer:
        statistics = consumer.consumer.statistics
        consumer.wait_for(lambda: (topic.name, 0) in statistics.snapshot().partitions)
        consumer.wait_for(lambda: statistics.snapshot().partitions[topic.name, 0].metadata_bytes > 3_000)
        consumer.wait_for(lambda: statistics.snapshot().backpressure_active)
        offset, metadata = topic.committed()[0]
        assert 3_000 < len(metadata) <= 4_000
        assert sum(codec.decode(metadata, offset)) > 5_000
        consumer.consumer._loop._engine._loop.call_soon_threadsafe(releases[0].set)
        consumer.wait_for(lambda: consumer.finished() == count, seconds=60)
        assert statistics.snapshot().commit_failures == 0
    assert topic.committed()[0] == (count, "")


def test_messages_that_retention_deleted_are_told(topic, running, capfd):
    """The committed offset is older than the log: all goes on, and the loss is in the log."""
    from confluent_kafka.admin import AdminClient

    topic.produce([(0, None, b"%d" % number) for number in range(100)])
    commit(topic, 10, "")
    admin = AdminClient({"bootstrap.servers": topic.kafka.bootstrap_servers})
    for future in admin.delete_records([TopicPartition(topic.name, 0, 40)]).values():
        future.result(10)
    offsets = []

    async def work(message) -> None:
        offsets.append(message.offset)

    with running(topic.settings(), work) as consumer:
        consumer.wait_for(lambda: consumer.finished() == 60)
        consumer.wait_for(lambda: topic.committed()[0][0] == 100)
        said = ""
        deadline = time.monotonic() + 10
        while "deleted before they were consumed" not in said and time.monotonic() < deadline:
            time.sleep(0.1)
            said += "".join(capfd.readouterr())
    assert sorted(offsets) == list(range(40, 100))
    assert "messages deleted before they were consumed" in said
    assert "30" in said


def test_a_map_that_nearly_fills_its_room_does_not_stop_its_partition(topic, running):
    """What could shrink the map is still to be fetched, so the partition must not wait for it to shrink."""
    draw = random.Random(1)
    finished = bytes([0, *(draw.random() < 0.5 for _ in range(24_998)), 1])
    metadata = codec.encode(Progress(0, finished)).text
    assert len(metadata) > codec.TEXT_CHARACTERS_AT_MOST * codec.NARROW_ABOVE_PERCENT // 100
    topic.produce([(0, b"%d" % (number % 100), b"") for number in range(26_000)])
    commit(topic, 0, metadata)
    ran = set()

    async def work(message) -> None:
        ran.add(message.offset)

    expected = {offset for offset in range(26_000) if offset >= len(finished) or not finished[offset]}
    with running(topic.settings(execution={"max_in_flight": 64}), work) as consumer:
        consumer.wait_for(lambda: consumer.finished() == len(expected))
    assert ran == expected
