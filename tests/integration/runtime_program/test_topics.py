import uuid

import pytest


@pytest.mark.parametrize("mode", ["single", "process"])
def test_a_handler_for_each_topic(topics, program, settings_for, eventually, mode):
    """Stated in the settings, also for worker processes; the others go to the entry point."""
    doubled, plain, results = topics.create(), topics.create(), topics.create()
    settings = settings_for(
        doubled,
        handler={"entrypoint": "handlers:same", "topics": {doubled: "handlers:doubled"}},
        execution={"mode": mode},
        results={"topic": results},
    )
    settings["source"]["kafka"]["topics"] = [doubled, plain]
    for topic in (doubled, plain):
        topics.produce(topic, [b"7"])
    running = program(settings).start()
    assert eventually(30, lambda: running.metric("consumer_processed_total") == 2), running.stderr
    assert sorted(topics.values(results, 2)) == [b"14", b"7"]


@pytest.mark.parametrize("protocol", [{}, {"group.protocol": "consumer"}])
def test_topics_by_pattern_and_one_that_comes_later(topics, program, settings_for, eventually, protocol):
    """What matches is consumed; a topic that is made afterwards is found without a restart, under both protocols."""
    mark = uuid.uuid4().hex[:8]
    first = topics.create(name=f"pattern-{mark}-a")
    topics.create(name=f"other-{mark}")
    settings = settings_for(first)
    settings["source"]["kafka"] |= {"topics": [], "topic_pattern": f"^pattern-{mark}-.*"}
    settings["source"]["kafka"]["properties"] = {"topic.metadata.refresh.interval.ms": 1_000, **protocol}
    running = program(settings).start()
    topics.produce(first, [b"1"])
    assert eventually(30, lambda: running.metric("consumer_processed_total") == 1), running.stderr
    later = topics.create(name=f"pattern-{mark}-b")
    topics.produce(later, [b"2"])
    assert eventually(60, lambda: running.metric("consumer_processed_total") == 2), running.stderr
    state = running.state()
    assert state is not None
    assert state.assigned_partitions == 8
