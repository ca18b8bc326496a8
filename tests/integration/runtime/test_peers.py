"""What other consumers of this kind get wrong, where no other test shows that ours does not (docs/reliability.md)."""

import asyncio
import json
import threading

import pytest

from consumer_runtime import Reject

pytestmark = pytest.mark.kafka


def test_commits_keep_their_interval_and_timeouts_need_no_threads(topic, running, tmp_path, monkeypatch):
    """Thousands of finished messages, each with a timeout: some commits a second, and no thread for each of them."""
    log = tmp_path / "events"
    monkeypatch.setenv("CONSUMER_EVENT_LOG", str(log))
    count, threads = 4_000, [threading.active_count()]
    topic.produce([(0, b"%d" % number, b"") for number in range(count)])

    async def work(_) -> None:
        await asyncio.sleep(0.01)
        threads.append(threading.active_count())

    settings = topic.settings(execution={"max_in_flight": 20, "task_timeout_ms": 30_000})
    with running(settings, work) as member:
        member.wait_for(lambda: member.finished() == count, seconds=60)
    assert max(threads) - threads[0] <= 12, "the consumer's own threads: control, loop, end offsets, client callbacks"
    sent = [json.loads(line) for line in log.read_text().splitlines()]
    at = sorted({each["at"] for each in sent if each["event"] == "commit_sent" and each["offset"] not in (0, count)})
    assert len(at) >= 3
    assert len(at) <= (at[-1] - at[0]) / 200e6 + 2, "one every 200 ms"


def test_each_assignment_has_an_epoch_of_its_own(make_topic, running):
    """What one assignment dead-lettered can be told from what the next one did."""
    source, dead = make_topic(1), make_topic(1)

    async def refuse(_) -> None:
        raise Reject("never")

    settings = source.settings(dead_letter={"enabled": True, "topic": dead.name})
    for number in (1, 2):
        source.produce([(0, None, b"x")])
        with running(settings, refuse) as member:
            member.wait_for(lambda member=member: member.finished() == 1)
        assert source.committed()[0][0] == number
    first, second = (int(dict(letter.headers())["epoch"]) for letter in dead.read(2))
    assert second > first
