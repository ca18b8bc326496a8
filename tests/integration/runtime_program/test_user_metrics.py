import pytest

COUNTING = """
from consumer_runtime import count, observe

def handle(message):
    count("seen", parity=int(message.value) % 2)
    observe("values", int(message.value), buckets=(9, 99))

class Async:
    async def handle(self, message):
        handle(message)

    async def close(self):
        print("closed", flush=True)
"""


@pytest.mark.parametrize(("mode", "name"), [("single", "handle"), ("async", "Async"), ("thread", "handle")])
def test_what_a_handler_counts_is_on_the_page(topics, program, settings_for, eventually, mode, name):
    """Counters by label, and histograms with the bounds that the handler states."""
    _counts(topics, program, settings_for, eventually, mode, name)


@pytest.mark.parametrize("name", ["handle", "Async"])
def test_what_worker_processes_count_is_on_the_page(topics, program, settings_for, eventually, name):
    """The sum over all workers, though each counts for itself."""
    _counts(topics, program, settings_for, eventually, "process", name)


def _counts(topics, program, settings_for, eventually, mode, name) -> None:
    topic = topics.create()
    topics.produce(topic, [b"%d" % number for number in range(200)])
    execution = {"mode": mode, "worker_pool_size": 2}
    made = program(settings_for(topic, handler={"entrypoint": f"counting:{name}"}, execution=execution))
    (made.folder / "counting.py").write_text(COUNTING, encoding="utf-8")
    made.start()
    assert eventually(40, lambda: made.metric("consumer_user_seen_total") == 200), made.stderr
    page = made.get("/metrics")[1]
    assert 'consumer_user_seen_total{parity="0"} 100.0' in page
    assert 'consumer_user_values_bucket{le="9.0"} 10.0' in page
    assert 'consumer_user_values_bucket{le="99.0"} 100.0' in page
    assert "consumer_user_values_sum 19900.0" in page
    assert made.stop() == 0
