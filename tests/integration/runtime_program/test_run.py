import time

from consumer_runtime.contract import pod
from consumer_runtime.contract.state import Phase


def test_it_consumes_everything_and_leaves_in_good_order(topics, program, settings_for, eventually):
    """Every message is done once, pages say so, SIGTERM ends it with 0, and the broker has every offset."""
    topic = topics.create(partitions=4)
    topics.produce(topic, [b"%d" % number for number in range(2_000)])
    running = program(settings_for(topic)).start()
    assert eventually(30, lambda: running.metric("consumer_processed_total") == 2_000)
    state = running.state()
    assert state is not None
    assert (state.phase, state.assigned_partitions, state.problem) == (Phase.RUNNING, 4, None)
    assert [running.get(page)[0] for page in ("/healthz", "/readyz", "/startupz")] == [200, 200, 200]
    assert eventually(10, lambda: running.metric("consumer_backlog_messages") == 0)
    assert running.stop() == 0
    assert topics.left(topic, f"{topic}-group") == 0
    assert running.stderr.count("Traceback") == 0


def test_new_settings_are_in_force_within_a_second(topics, program, settings_for, eventually):
    """Reported by generation, and seen in the knob's gauge, without a rebalance."""
    topic = topics.create()
    settings = settings_for(topic, generation=1, execution={"max_in_flight": 16})
    running = program(settings).start()
    assert eventually(30, lambda: (state := running.state()) is not None and state.assigned_partitions == 4)
    rebalances = running.metric("consumer_rebalances_total")
    running.write(settings | {"generation": 2, "execution": {"max_in_flight": 400}})
    began = time.monotonic()
    assert eventually(5, lambda: (state := running.state()) is not None and state.config_generation == 2)
    assert time.monotonic() - began < 1
    state = running.state()
    assert state is not None
    assert state.knobs["max_in_flight"] == 400
    assert running.metric("consumer_config_generation") == 2
    assert running.metric("consumer_rebalances_total") == rebalances


def test_a_bad_file_leaves_it_consuming_and_is_told_three_times(topics, program, settings_for, eventually):
    """In a metric, in one log line, and at /state; a good file ends all three."""
    topic = topics.create()
    settings = settings_for(topic, generation=1)
    running = program(settings).start()
    assert eventually(30, lambda: (state := running.state()) is not None and state.assigned_partitions == 4)
    running.write(settings | {"generation": 2, "execution": {"max_in_flight": -5}})
    assert eventually(5, lambda: running.metric("consumer_config_rejected") == 1)
    topics.produce(topic, [b"1"] * 100)
    assert eventually(15, lambda: running.metric("consumer_processed_total") == 100)
    state = running.state()
    assert state is not None
    assert state.rejected is not None
    assert (state.config_generation, state.rejected.field, state.rejected.value) == (
        1,
        "spec.execution.maxInFlight",
        "-5",
    )
    assert len(running.logged("settings file refused; the last good settings stay in force")) == 1
    running.write(settings | {"generation": 3})
    assert eventually(5, lambda: running.metric("consumer_config_rejected") == 0)
    state = running.state()
    assert state is not None
    assert (state.rejected, state.config_generation) == (None, 3)


def test_the_log_level_changes_while_it_runs(topics, program, settings_for, eventually):
    """The handler's own debug lines appear, with the message they are about."""
    topic = topics.create(partitions=1)
    settings = settings_for(topic)
    running = program(settings).start()
    topics.produce(topic, [b"1"])
    assert eventually(30, lambda: running.metric("consumer_processed_total") == 1)
    assert running.logged("seen") == []
    running.write(settings | {"log_level": "DEBUG"})
    assert eventually(5, lambda: len(running.logged("settings applied")) == 1)
    topics.produce(topic, [b"2"])
    assert eventually(10, lambda: len(running.logged("seen")) == 1)
    line = running.logged("seen")[0]
    assert (line["topic"], line["partition"], line["offset"], line["level"]) == (topic, 0, 1, "debug")


def test_a_secret_in_the_settings_file_is_refused_and_a_mounted_one_is_read(topics, program, settings_for, tmp_path):
    """A bad file of certificates is librdkafka's to refuse, which shows that the mounted path is used."""
    topic = topics.create()
    ca = tmp_path / "secrets" / "ca" / "ca.crt"
    ca.parent.mkdir(parents=True)
    ca.write_text("no certificate", encoding="utf-8")
    settings = settings_for(topic)
    settings["source"]["kafka"]["security_protocol"] = "SSL"
    failed = program(settings).start(**{pod.SECRETS_DIRECTORY_VARIABLE: str(tmp_path / "secrets")})
    assert failed.exit_code() == 10
    assert "ssl.ca.location" in failed.message().model_dump_json()
