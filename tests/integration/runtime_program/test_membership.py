import re

import pytest

PROTOCOLS = {"classic": {}, "kip848": {"group.protocol": "consumer"}}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_static_member_that_restarts_moves_no_partition(topics, program, settings_for, eventually, protocol):
    """Its partitions wait for it, and the other member sees no rebalance; what came meanwhile is consumed after."""
    topic = topics.create(partitions=4)
    members = {}
    for name in ("shop-0", "shop-1"):
        settings = settings_for(topic)
        settings["source"]["kafka"] |= {"membership": "static", "properties": dict(PROTOCOLS[protocol])}
        members[name] = program(settings).start(POD_NAME=name)
    first, second = members.values()
    assert eventually(60, lambda: all(_assigned(each) == 2 for each in members.values())), first.stderr
    assert eventually(10, lambda: len(_partitions(first)) == 2)
    held, rebalances = _partitions(first), second.metric("consumer_rebalances_total")
    assert first.stop() == 0
    topics.produce(topic, [b""] * 40)
    first.start(POD_NAME="shop-0")
    assert eventually(40, lambda: _assigned(first) == 2), first.stderr
    assert eventually(40, lambda: topics.left(topic, f"{topic}-group") == 0)
    assert eventually(10, lambda: _partitions(first) == held)
    assert second.metric("consumer_rebalances_total") == rebalances
    assert _assigned(second) == 2


def _assigned(member) -> int:
    state = member.state()
    return state.assigned_partitions if state is not None else 0


def _partitions(member) -> list[str]:
    page = member.get("/metrics")[1]
    return sorted(re.findall(r'^consumer_parallel_lag\{partition="(\d+)"', page, re.MULTILINE))
