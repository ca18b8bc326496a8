import subprocess
import sys


def _offsets(program, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "consumer_runtime", "offsets", arguments[0], "--config", str(program.config)]
    return subprocess.run([*command, *arguments[1:]], capture_output=True, text=True, timeout=60, check=False)


def test_a_suspended_group_is_moved_and_runs_again_from_there(topics, program, settings_for, eventually):
    """A dry run moves nothing; under active members nothing is moved; afterwards the messages run again."""
    topic = topics.create(partitions=1)
    group = f"{topic}-group"
    topics.produce(topic, [b"%d" % number for number in range(100)])
    running = program(settings_for(topic)).start()
    assert eventually(30, lambda: running.metric("consumer_processed_total") == 100)

    refused = _offsets(running, "reset", "--to", "earliest")
    assert refused.returncode == 21
    assert "1 active members" in refused.stderr
    assert "suspend" in refused.stderr
    assert running.stop() == 0
    assert topics.left(topic, group) == 0

    dry = _offsets(running, "reset", "--to", "offset:40", "--dry-run")
    assert (dry.returncode, "1 of 1 partitions would be moved" in dry.stdout) == (0, True)
    assert topics.left(topic, group) == 0
    assert _offsets(running, "reset", "--to", "offset:40").returncode == 0
    assert topics.left(topic, group) == 60
    assert _offsets(running, "reset", "--to", "shift:-10").returncode == 0
    assert topics.left(topic, group) == 70
    shown = _offsets(running, "show").stdout.splitlines()
    assert shown[1].split() == [topic, "0", "0", "30", "100", "70"]

    again = program(settings_for(topic)).start()
    assert eventually(30, lambda: again.metric("consumer_processed_total") == 70)
    assert again.stop() == 0


def test_a_backfill_goes_back_to_a_time(topics, program, settings_for):
    """Before the topic's first message that is its beginning, in the future its end."""
    topic = topics.create(partitions=2)
    topics.produce(topic, [b"x"] * 50)
    asked = program(settings_for(topic))
    assert _offsets(asked, "reset", "--to", "time:2999-01-01").returncode == 0
    assert topics.left(topic, f"{topic}-group") == 0
    assert _offsets(asked, "reset", "--to", "time:2001-01-01T00:00:00Z").returncode == 0
    assert topics.left(topic, f"{topic}-group") == 50


def test_mistakes_are_told(topics, program, settings_for):
    """A bad target by typer, a topic that is not there as at the consumer's start."""
    asked = program(settings_for(topics.create()))
    bad = _offsets(asked, "reset", "--to", "latst")
    assert (bad.returncode, "must be earliest" in bad.stderr) == (2, True)
    absent = _offsets(asked, "show", "--topic", "not-there")
    assert (absent.returncode, "not-there" in absent.stderr) == (14, True)
    assert "Traceback" not in bad.stderr + absent.stderr
