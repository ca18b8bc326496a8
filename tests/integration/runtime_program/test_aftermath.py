from pathlib import Path

WATCHED = """
import asyncio, os

log = os.open("calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
now = 0

async def handle(message):
    global now
    now += 1
    os.write(log, b"%d %d\\n" % (now, message.offset))
    await asyncio.sleep(0.02)
    now -= 1
"""


def calls(folder: Path) -> list[int]:
    """How many ran at the begin of each call."""
    file = folder / "calls"
    return [int(line.split()[0]) for line in file.read_text().splitlines()] if file.exists() else []


def test_after_a_kill_the_first_messages_run_one_at_a_time(topics, program, settings_for, eventually, tmp_path):
    """As many as could have run in the crash; then as many at once as before. An orderly end is no crash."""
    topic = topics.create(partitions=2)
    topics.produce(topic, [b""] * 400)
    state = {"CONSUMER_STATE_DIR": str(tmp_path / "state"), "POD_NAME": "shop-0"}
    sections = {"handler": {"entrypoint": "watched:handle"}, "execution": {"max_in_flight": 10}}
    quick = {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 1_000}
    runs = []
    for _ in range(3):
        settings = settings_for(topic, **sections)
        settings["source"]["kafka"]["properties"] = quick
        made = program(settings)
        (made.folder / "watched.py").write_text(WATCHED, encoding="utf-8")
        runs.append(made)
    killed, careful, plain = runs
    killed.start(**state)
    assert eventually(30, lambda: len(calls(killed.folder)) > 50), killed.stderr
    killed.kill()
    assert max(calls(killed.folder)) == 10
    assert killed.logged("the process before this one was killed: the first messages run one at a time") == []

    careful.start(**state)
    assert eventually(60, lambda: len(calls(careful.folder)) > 100), careful.stderr
    (told,) = careful.logged("the process before this one was killed: the first messages run one at a time")
    assert told["messages"] == 10
    assert calls(careful.folder)[:10] == [1] * 10
    assert max(calls(careful.folder)) == 10
    assert careful.stop() == 0
    assert list((tmp_path / "state").iterdir()) == []

    topics.produce(topic, [b""] * 50)
    plain.start(**state)
    assert eventually(60, lambda: max(calls(plain.folder), default=0) == 10), plain.stderr
    assert plain.stop() == 0


def test_what_ran_alone_when_it_was_killed_again_is_named(topics, program, settings_for, eventually, tmp_path):
    """The message that ends the process each time is in the log of the next start."""
    topic = topics.create(partitions=1)
    topics.produce(topic, [b"fine", b"fatal", b"fine"])
    (tmp_path / "running-shop-0").write_text("", encoding="utf-8")
    state = {"CONSUMER_STATE_DIR": str(tmp_path), "POD_NAME": "shop-0"}
    code = "import os\n\ndef handle(message):\n    if message.value == b'fatal':\n        os.kill(os.getpid(), 9)\n"
    told = []
    for _ in range(2):
        settings = settings_for(topic, handler={"entrypoint": "fatal:handle"}, execution={"mode": "thread"})
        settings["source"]["kafka"]["properties"] = {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 1_000}
        made = program(settings)
        (made.folder / "fatal.py").write_text(code, encoding="utf-8")
        made.start(**state)
        assert made.exit_code(within_seconds=60) == -9
        told += made.logged("the process before this one was killed: the first messages run one at a time")
    assert [line["ran_alone"] for line in told] == [None, f"{topic}[0]@1"]
