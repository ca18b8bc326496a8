import logging
import signal
import threading
import time

import pytest

from consumer_runtime import ConsumerError, ParallelConsumer, RuntimeSettings, StartFailure
from consumer_runtime.contract.state import Phase, StartReason
from consumer_runtime.embedded import EmbeddedKafka, Record
from consumer_runtime.sources import client_log


async def handle(message) -> None:
    """Do nothing."""


def settings(servers: str, **fields: object) -> RuntimeSettings:
    """Settings of one topic."""
    return RuntimeSettings.for_kafka(servers, topics="orders", consumer_group="shop", **fields)


def test_it_runs_while_a_block_does():
    """Beside whatever the block does; leaving it stops the consumer in good order, with everything committed."""
    with EmbeddedKafka() as kafka:
        kafka.create("orders")
        kafka.produce("orders", [Record(b"%d" % number) for number in range(100)])
        with ParallelConsumer(settings(kafka.bootstrap_servers), handle) as consumer:
            deadline = time.monotonic() + 30
            while consumer.statistics.snapshot().finished() < 100 and time.monotonic() < deadline:
                assert not consumer.wait(0.02)
        assert consumer.statistics.snapshot().finished() == 100
        assert consumer.state().phase is Phase.STOPPED
        assert consumer.wait()


def test_what_ends_it_is_raised_where_it_is_waited_for():
    """A failure in a thread of ours must not go unseen; the block's own error goes before it."""
    refused = settings("127.0.0.1:1", properties={"no.such.property": 1})
    with pytest.raises(StartFailure, match=r"no\.such\.property"), ParallelConsumer(refused, handle) as consumer:
        consumer.wait()
    with pytest.raises(StartFailure), ParallelConsumer(refused, handle):
        pass
    with pytest.raises(KeyError), ParallelConsumer(refused, handle):
        raise KeyError


def test_a_signal_ends_it():
    """As the class's own docstring has it."""
    consumer = ParallelConsumer(settings("127.0.0.1:1"), handle)
    before = signal.signal(signal.SIGUSR1, lambda *_: consumer.stop())
    try:
        threading.Timer(0.5, signal.raise_signal, [signal.SIGUSR1]).start()
        consumer.run()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert consumer.state().phase is Phase.STOPPED


def test_it_runs_once():
    """A second run would begin with the first one's ledger."""
    consumer = ParallelConsumer(settings("127.0.0.1:1"), handle)
    with pytest.raises(ConsumerError, match="nothing to wait for"):
        consumer.wait()
    consumer.stop()
    consumer.run()
    with pytest.raises(ConsumerError, match="runs once"):
        consumer.run()


@pytest.mark.parametrize("given", [{"bootstrap.servers": "localhost:9092"}, handle, None])
def test_settings_of_another_kind_are_refused(given):
    """With what to give instead: the first thing that somebody types who comes from another client."""
    with pytest.raises(StartFailure, match=r"RuntimeSettings\.for_kafka") as failure:
        ParallelConsumer(given, handle)
    assert failure.value.error.reason is StartReason.INVALID_SETTINGS


@pytest.mark.parametrize("given", [5, "shop.orders:handle", [handle]])
def test_a_handler_of_another_kind_is_refused(given):
    """With what was given."""
    with pytest.raises(StartFailure, match="give a function, or a class") as failure:
        ParallelConsumer(settings("127.0.0.1:1"), given)
    assert failure.value.error.reason is StartReason.HANDLER_UNSUITABLE
    assert repr(given) in failure.value.error.remedy


def test_the_clients_log_does_not_say_the_same_ten_times_a_second(monkeypatch):
    """While an address does not resolve librdkafka repeats it without end; what is kept back is counted."""
    now = 100.0
    monkeypatch.setattr(client_log.time, "monotonic", lambda: now)
    told: list[dict] = []
    monkeypatch.setattr(client_log._log, "log", lambda _, __, **fields: told.append(fields))
    log = client_log.ClientLog()
    for number in range(50):
        log.log(logging.ERROR, "%s", f"FAIL [x#consumer-1]: a:1/bootstrap: Failed to resolve (after {number}ms)")
    log.log(logging.ERROR, "%s", "FAIL [x#consumer-1]: b:1/bootstrap: Connection refused")
    assert len(told) == 2
    now = 111.0
    log.log(logging.ERROR, "%s", "FAIL [x#consumer-1]: a:1/bootstrap: Failed to resolve (after 7ms)")
    assert told[2]["times_since_told"] == 50
