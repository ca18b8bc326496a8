import subprocess
import sys

import pytest

from consumer_runtime import dead_letter, dead_letter_replay
from consumer_runtime.contract.settings import PayloadMode
from consumer_runtime.message import Message


def _letters_of(running, count: int) -> bool:
    return running.metric("consumer_dead_letter_total") == count


def _replayed(program, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "consumer_runtime", "replay-dead-letters", "--config", str(program.config)]
    return subprocess.run([*command, *options], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("payload_mode", ["full", "metadata_only"])
def test_dead_letters_go_back_once_to_where_they_came_from(topics, program, settings_for, eventually, payload_mode):
    """Same partition, key and value, without our headers; a dry run changes nothing, a second run finds none left."""
    topic, dead = topics.create(partitions=4), topics.create(partitions=2)
    values = [b"1", b"bad", b"2", b"worse", b"3"]
    topics.produce(topic, values)
    running = program(
        settings_for(
            topic,
            handler={"entrypoint": "handlers:picky"},
            retry={"max_retries": 0, "backoff_ms": 1, "max_backoff_ms": 1},
            dead_letter={"enabled": True, "topic": dead, "payload_mode": payload_mode},
        )
    ).start()
    assert eventually(30, lambda: _letters_of(running, 2))
    assert running.stop() == 0

    dry = _replayed(running, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert f"{topic}: 2 of builtins:ValueError would be sent back" in dry.stdout
    other = _replayed(running, "--dry-run", "--error-class", "builtins:KeyError")
    assert "2 of 2 letters looked at, 2 passed over" in other.stdout
    assert topics.left(topic, f"{topic}-group") == 0

    sent = _replayed(running)
    assert f"{topic}: 2 of builtins:ValueError were sent back" in sent.stdout
    assert topics.left(topic, f"{topic}-group") == 2
    again = _replayed(running)
    assert "0 of 0 letters looked at" in again.stdout
    assert topics.left(topic, f"{topic}-group") == 2

    back = topics.read(topic, 7)
    for value in (b"bad", b"worse"):
        first, second = (each for each in back if each.value() == value)
        assert (first.partition(), first.key()) == (second.partition(), second.key())
        assert not second.headers()


def test_a_replay_without_a_topic_or_a_broker_says_so(topics, program, settings_for):
    """The same words and codes as at the consumer's start."""
    none_named = _replayed(program(settings_for(topics.create())))
    assert none_named.returncode == 10
    assert "spec.deadLetter.topic" in none_named.stderr
    absent = _replayed(program(settings_for(topics.create())), "--topic", "no.such.dead")
    assert absent.returncode == 14
    assert "no.such.dead" in absent.stderr
    assert "Traceback" not in none_named.stderr + absent.stderr


def test_the_replay_knows_every_header_that_a_dead_letter_gets():
    """Or it would send one of ours back as one of the user's."""
    written = dead_letter.headers(Message("t", 0, 0, None, b"", [("mine", b"1")]), PayloadMode.FULL)
    assert [name for name, _ in written] == ["mine", *dead_letter_replay.HEADERS]
