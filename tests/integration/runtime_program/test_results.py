import pytest


@pytest.mark.parametrize(
    ("mode", "entrypoint"),
    [
        ("single", "handlers:doubled"),
        ("async", "handlers:doubled_async"),
        ("thread", "handlers:doubled"),
        ("process", "handlers:doubled"),
        ("single", "handlers:doubled_together"),
    ],
)
def test_results_are_confirmed_before_offsets_count(topics, program, settings_for, eventually, mode, entrypoint):
    """In every mode: once the offsets are committed all results are in their topic, each once."""
    topic, results = topics.create(), topics.create()
    topics.produce(topic, [b"%d" % number for number in range(200)])
    settings = settings_for(
        topic, handler={"entrypoint": entrypoint}, execution={"mode": mode}, results={"topic": results}
    )
    running = program(settings).start()
    assert eventually(40, lambda: running.metric("consumer_processed_total") == 200), running.stderr
    assert running.stop() == 0
    assert topics.left(topic, f"{topic}-group") == 0
    found = topics.values(results, 200)
    assert sorted(int(value or 0) for value in found) == [2 * number for number in range(200)]


def test_a_result_that_is_not_taken_fails_its_attempt(topics, program, settings_for, eventually):
    """A result for a topic that cannot be is retried and then a dead letter; the others go on."""
    topic, results, dead = topics.create(), topics.create(), topics.create(partitions=1)
    topics.produce(topic, [b"1", b"astray", b"3"])
    settings = settings_for(
        topic,
        handler={"entrypoint": "handlers:astray"},
        results={"topic": results},
        retry={"max_retries": 1, "backoff_ms": 10, "max_backoff_ms": 10},
        dead_letter={"enabled": True, "topic": dead},
        execution={"mode": "single"},
    )
    running = program(settings).start()
    assert eventually(60, lambda: running.metric("consumer_dead_letter_total") == 1), running.stderr
    assert eventually(10, lambda: running.metric("consumer_processed_total") == 3)
    assert running.stop() == 0
    assert set(topics.values(results, 2)) == {b"1", b"3"}


def test_what_cannot_be_a_result_is_the_handlers_error(topics, program, settings_for, eventually):
    """And names what may be returned."""
    topic = topics.create()
    topics.produce(topic, [b"1"])
    settings = settings_for(
        topic,
        handler={"entrypoint": "handlers:returns_a_number"},
        results={"topic": topics.create()},
        retry={"max_retries": 0, "backoff_ms": 1, "max_backoff_ms": 1},
        execution={"mode": "single"},
    )
    running = program(settings).start()
    assert eventually(30, lambda: running.metric("consumer_processed_total") == 1)
    assert "returned a int" in running.stderr


def test_a_results_topic_that_does_not_exist_is_told_at_start(topics, program, settings_for):
    """Before the first message is consumed."""
    failed = program(settings_for(topics.create(), results={"topic": "no-such-results"})).start()
    assert failed.exit_code() == 14
    assert (failed.message().field, failed.message().value) == ("spec.results.topic", "no-such-results")
