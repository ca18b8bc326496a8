import subprocess
import sys


def _offsets(program, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "consumer_runtime", "offsets", arguments[0], "--config", str(program.config)]
    return subprocess.run(
        [*command, *arguments[1:]], capture_output=True, text=True, timeout=90, check=False, cwd=program.folder
    )


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


NOTING = """
import os, time

log = os.open("seen", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def handle(message):
    if message.value == b"stop":
        time.sleep(1)
    os.write(log, b"%d %d\\n" % (message.partition, message.offset))
"""


def test_a_bounded_backfill_ends_by_itself_and_leaves_the_group_alone(topics, program, settings_for, tmp_path):
    """Exactly the stretch, once, by a group of its own that is deleted; the dry run does nothing."""
    topic = topics.create(partitions=2)
    topics.produce(topic, [b"x"] * 300)
    ends = {number: len([each for each in topics.read(topic, 300) if each.partition() == number]) for number in (0, 1)}
    asked = program(settings_for(topic, handler={"entrypoint": "noting:handle"}, execution={"mode": "thread"}))
    (asked.folder / "noting.py").write_text(NOTING, encoding="utf-8")
    stretch = ("--from", "offset:20", "--to", "offset:100")
    dry = _offsets(asked, "backfill", *stretch, "--dry-run")
    assert (dry.returncode, "160 messages would be run" in dry.stdout) == (0, True), dry.stderr
    assert not (asked.folder / "seen").exists()
    done = _offsets(asked, "backfill", *stretch)
    assert done.returncode == 0, done.stderr
    assert f"160 messages were run by group {topic}-group-backfill, 0 are left" in done.stdout
    expected = [(number, offset) for number in (0, 1) for offset in range(20, 100)]
    assert _seen(asked) == expected
    assert topics.left(topic, f"{topic}-group") == 300
    again = _offsets(asked, "backfill", "--from", "earliest", "--to", "time:2999-01-01")
    assert again.returncode == 0, again.stderr
    assert _seen(asked) == sorted([*expected, *((number, each) for number in (0, 1) for each in range(ends[number]))])


def test_a_backfill_that_was_stopped_goes_on(topics, program, settings_for, eventually):
    """Exit code 22, and the second run does the rest, nothing twice."""
    topic = topics.create(partitions=1)
    topics.produce(topic, [b"x"] * 50 + [b"stop"] * 20)
    execution = {"mode": "thread", "worker_pool_size": 1, "max_in_flight": 1}
    asked = program(settings_for(topic, handler={"entrypoint": "noting:handle"}, execution=execution))
    (asked.folder / "noting.py").write_text(NOTING, encoding="utf-8")
    command = [sys.executable, "-m", "consumer_runtime", "offsets", "backfill", "--config", str(asked.config)]
    first = subprocess.Popen([*command, "--from", "earliest"], cwd=asked.folder, stdout=subprocess.PIPE)
    assert eventually(40, lambda: (asked.folder / "seen").exists() and len(_seen(asked)) >= 51)
    first.terminate()
    assert first.wait(60) == 22
    first.communicate()
    assert 51 <= len(_seen(asked)) < 70
    (asked.folder / "noting.py").write_text(NOTING.replace("sleep(1)", "sleep(0)"), encoding="utf-8")
    second = _offsets(asked, "backfill", "--from", "earliest")
    assert second.returncode == 0, second.stderr
    assert _seen(asked) == [(0, offset) for offset in range(70)]


def _seen(asked) -> list[tuple[int, int]]:
    lines = (asked.folder / "seen").read_text().splitlines()
    return sorted((int(line.split()[0]), int(line.split()[1])) for line in lines)
