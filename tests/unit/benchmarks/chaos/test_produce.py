"""The load of a case: all of it is sent, and its end only when every fault was caused."""

import dataclasses
import time

from benchmarks.chaos.plan import every_case
from benchmarks.chaos.produce import HELD_BACK_SHARE, Load
from consumer_runtime.embedded import EmbeddedKafka

CASE = dataclasses.replace(every_case()[0], messages=1_000, seconds=0.5, partitions=4)


def test_the_end_of_the_load_waits_until_it_is_released() -> None:
    """What a busy machine causes late must not strike a group without work."""
    with EmbeddedKafka() as kafka:
        kafka.create("orders")
        load = Load(CASE, bootstrap_servers=kafka.bootstrap_servers, topic="orders")
        load.start()
        time.sleep(2 * CASE.seconds)
        held_at = load.sent
        load.release()
        load.join(timeout=30)
        load.require_delivered()
    assert held_at == CASE.messages * (1 - HELD_BACK_SHARE)
    assert load.sent == CASE.messages
