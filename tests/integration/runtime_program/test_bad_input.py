import socket
import uuid

import pytest

from consumer_runtime.contract.state import Phase, StartReason

POLICY = {"errors": ["no.such:Error"], "max_retries": 1, "backoff_ms": 1, "max_backoff_ms": 1}


@pytest.mark.parametrize(
    ("sections", "code", "reason", "field", "value"),
    [
        ({"execution": {"max_inflight": 5}}, 10, StartReason.INVALID_SETTINGS, "spec.execution.max_inflight", "5"),
        ({"execution": {"mode": "warp"}}, 10, StartReason.INVALID_SETTINGS, "spec.execution.mode", "warp"),
        ({"retry": {"max_retries": "x"}}, 10, StartReason.INVALID_SETTINGS, "spec.retry.maxRetries", "x"),
        ({"handler": {"entrypoint": "handlers:same"}}, 13, StartReason.HANDLER_UNSUITABLE, None, "handlers:same"),
        ({"handler": {"entrypoint": "no.such:thing"}}, 11, StartReason.HANDLER_NOT_FOUND, None, "no.such:thing"),
        ({"handler": {"entrypoint": "handlers:absent"}}, 11, StartReason.HANDLER_NOT_FOUND, None, "handlers:absent"),
        ({"handler": {"entrypoint": "handlers:log"}}, 13, StartReason.HANDLER_UNSUITABLE, None, "handlers:log"),
        ({"handler": {"entrypoint": "handlers:two_arguments"}}, 13, StartReason.HANDLER_UNSUITABLE, None, None),
        (
            {"dead_letter": {"enabled": True, "topic": "nowhere.dead"}},
            15,
            StartReason.DEAD_LETTER_TOPIC_NOT_FOUND,
            "spec.deadLetter.topic",
            "nowhere.dead",
        ),
        (
            {"retry": {"policies": [POLICY]}},
            10,
            StartReason.INVALID_SETTINGS,
            "spec.retry.policies.errors",
            "no.such:Error",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_told_and_never_a_traceback(topics, program, settings_for, sections, code, reason, field, value):
    """Its own exit code, the reason, field and value in the termination message, and one line on standard error."""
    failed = program(settings_for(topics.create(), **sections)).start()
    assert failed.exit_code() == code
    told = failed.message()
    assert told.reason is reason
    assert told.field == (field or "spec.handler.entrypoint")
    assert value is None or told.value == value
    assert told.remedy
    assert "Traceback" not in failed.stderr
    assert failed.stderr.rstrip().splitlines()[-1].startswith(f"{reason}: {told.field}")


@pytest.mark.parametrize("mode", ["single", "process"])
def test_a_message_that_does_not_decode_is_a_dead_letter_and_no_crash(topics, program, settings_for, eventually, mode):
    """Not tried again, its bytes kept, the reason in its header; the messages behind it go on."""
    topic, dead = topics.create(partitions=1), topics.create(partitions=1)
    topics.produce(topic, [b'{"a": 1}', b"{", b'{"a": 2}'])
    handler = {"entrypoint": "handlers:ignores", "value_format": "json"}
    settings = settings_for(
        topic, handler=handler, execution={"mode": mode}, dead_letter={"enabled": True, "topic": dead}
    )
    running = program(settings).start()
    assert eventually(40, lambda: running.metric("consumer_processed_total") == 3), running.stderr
    (letter,) = topics.read(dead, 1)
    headers = dict(letter.headers())
    assert (letter.value(), headers["x-retry-attempt"]) == (b"{", b"1")
    assert headers["x-error-reason"].startswith(b"the value does not decode")
    assert running.metric("consumer_retries_total") in (None, 0)
    assert running.stop() == 0


def test_a_topic_that_does_not_exist_is_named(program, settings_for):
    """And is not made by asking for it."""
    absent = f"absent-{uuid.uuid4().hex[:12]}"
    failed = program(settings_for(absent)).start()
    assert failed.exit_code() == 14
    told = failed.message()
    assert (told.reason, told.field) == (StartReason.TOPIC_NOT_FOUND, "spec.source.kafka.topics")
    assert told.value == absent


def test_an_import_that_fails_shows_the_users_traceback(topics, program, settings_for):
    """Only the user's frames: nobody has to read ours to find the mistake."""
    failed = program(settings_for(topics.create(), handler={"entrypoint": "broken:handle"}))
    (failed.folder / "broken.py").write_text("def connect():\n    return 1 / 0\n\nconnect()\n", encoding="utf-8")
    assert failed.start().exit_code() == 12
    assert failed.message().reason is StartReason.HANDLER_FAILED_TO_IMPORT
    assert "ZeroDivisionError" in failed.message().remedy
    assert "connect()" in failed.stderr
    assert "consumer_runtime" not in failed.stderr


@pytest.mark.parametrize("mode", ["single", "async", "thread", "process"])
def test_an_open_that_fails_shows_the_users_traceback(topics, program, settings_for, mode):
    """As above, in whichever thread or process it ran."""
    handler, execution = {"entrypoint": "opening:Opens"}, {"mode": mode, "worker_pool_size": 1}
    failed = program(settings_for(topics.create(), handler=handler, execution=execution))
    code = "class Opens:\n    def open(self):\n        raise ConnectionError('no database')\n\n"
    code += f"    {'async def' if mode == 'async' else 'def'} handle(self, message):\n        pass\n"
    (failed.folder / "opening.py").write_text(code, encoding="utf-8")
    assert failed.start().exit_code() == 13
    assert failed.message().remedy == "the handler's open() raised ConnectionError: no database"
    told = failed.stderr[failed.stderr.index('  File "') :]
    assert told.splitlines()[0].endswith('opening.py", line 3, in open')
    assert "consumer_runtime" not in told


@pytest.mark.parametrize("content", ["", "source: [", "\x00", "a: &a [*a]"])
def test_a_file_that_is_no_settings_is_refused_at_start(program, settings_for, content):
    """There are no last good settings yet."""
    failed = program(settings_for("t"))
    failed.write(content)
    assert failed.start().exit_code() == 10
    assert failed.message().field == "settings file"


def test_a_broker_that_cannot_be_reached_is_a_problem_and_no_crash(program, settings_for, eventually):
    """The pod stays, says what is wrong at /state and to the readiness probe, and ends in good order when told to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        servers = f"127.0.0.1:{free.getsockname()[1]}"
        waiting = program(settings_for("orders", servers=servers)).start()
        assert eventually(30, lambda: (state := waiting.state()) is not None and state.problem is not None)
    state = waiting.state()
    assert state is not None
    assert state.problem is not None
    assert state.problem.reason is StartReason.BROKER_UNREACHABLE
    assert servers in state.problem.value
    assert state.phase is Phase.STARTING
    assert waiting.get("/readyz")[0] == 503
    assert waiting.get("/healthz")[0] == 200
    assert waiting.stop() == 0


def test_a_port_in_use_is_told(topics, program, settings_for):
    """Two consumers on one machine are a common mistake."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        http = {"host": "127.0.0.1", "port": port}
        failed = program(settings_for(topics.create(), http=http)).start()
        assert failed.exit_code() == 10
    assert failed.message().field == "http.port"
