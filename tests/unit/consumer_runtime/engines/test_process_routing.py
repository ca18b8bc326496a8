"""Which lane gets which shard, without any process."""

from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer_runtime.contract.settings import Ordering
from consumer_runtime.engines.engine import EngineStatistics
from consumer_runtime.engines.process_lane import Lane
from consumer_runtime.engines.process_routing import Routing, shard_of
from consumer_runtime.message import Message


def lanes(count: int, ordering: Ordering = Ordering.KEY) -> list[Lane]:
    """Return lanes without workers."""
    return [Lane(shard_of(ordering), EngineStatistics()) for _ in range(count)]


def messages(*keys: bytes | None, first: int = 0) -> list[Message]:
    """Return messages with these keys, at offsets from `first` on."""
    return [Message("t", 0, first + n, key, b"") for n, key in enumerate(keys)]


def offsets(queue: deque[Any]) -> list[int]:
    """Return the offsets in a queue."""
    return [message.offset for message in queue]


def test_a_shard_stays_where_it_is_under_way() -> None:
    """All messages of a key wait before one lane; keys are spread."""
    open_lanes = lanes(3)
    routing = Routing(Ordering.KEY)
    routing.open(open_lanes)
    routing.route(messages(*[b"%d" % (n % 12) for n in range(120)]))
    for lane in open_lanes:
        assert lane.pending
    homes = {message.key: index for index, lane in enumerate(open_lanes) for message in lane.pending}
    assert all(homes[message.key] == index for index, lane in enumerate(open_lanes) for message in lane.pending)


def test_an_idle_lane_takes_whole_shards_and_none_that_runs() -> None:
    """What moves is in order, about half, and nothing of it is in the worker's pipe."""
    busy, idle = lanes(2)
    routing = Routing(Ordering.KEY)
    routing.open([busy])
    routing.route(messages(b"running", *[b"%d" % (n % 4) for n in range(20)], b"running"))
    busy.pipe.append(busy.pending.popleft())
    routing.open([busy, idle])
    assert routing.relieve(busy, idle)
    assert 11 <= len(idle.pending) < 11 + 5, "half, and less than one shard more"
    moved = {message.key for message in idle.pending}
    assert moved.isdisjoint({message.key for message in busy.pending} | {b"running"})
    assert offsets(idle.pending) == sorted(offsets(idle.pending))
    routing.route(messages(*moved, first=100))
    assert all(offset in offsets(idle.pending) for offset in range(100, 100 + len(moved)))


def test_nothing_moves_when_all_of_it_is_running() -> None:
    """One hot key cannot be shared."""
    busy, idle = lanes(2)
    routing = Routing(Ordering.KEY)
    routing.open([busy])
    routing.route(messages(*[b"hot"] * 10))
    busy.pipe.append(busy.pending.popleft())
    assert not routing.relieve(busy, idle)
    assert offsets(busy.pending) == list(range(1, 10))


def test_what_runs_on_a_retiring_lane_moves_only_afterwards() -> None:
    """A new epoch drains just the keys that move: those in the pipe stay, and later messages wait behind them."""
    old, new = lanes(2)
    routing = Routing(Ordering.KEY)
    routing.open([old])
    routing.route(messages(b"a", b"b", b"a"))
    old.pipe.append(old.pending.popleft())
    old.is_retiring = True
    routing.open([new])
    routing.move_away(old)
    assert (offsets(old.pending), offsets(new.pending)) == ([2], [1])
    routing.route(messages(b"a", b"b", first=10))
    assert (offsets(old.pending), offsets(new.pending)) == ([2, 10], [1, 11])
    done = old.pipe.popleft()
    assert done is not None
    routing.leave([done])
    routing.move_away(old)
    assert offsets(old.pending) == []
    assert offsets(new.pending) == [1, 11, 2, 10]


@pytest.mark.parametrize("ordering", list(Ordering))
def test_shards_are_what_the_ordering_says(ordering: Ordering) -> None:
    """A key, a partition, or nothing."""
    (message,) = messages(b"k")
    assert (
        shard_of(ordering)(message)
        == {
            Ordering.KEY: b"k",
            Ordering.PARTITION: ("t", 0),
            Ordering.UNORDERED: None,
        }[ordering]
    )


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("route"), st.lists(st.sampled_from([b"a", b"b", b"c", b"d", None]), min_size=1, max_size=5)),
        st.tuples(st.just("send"), st.integers(0, 3)),
        st.tuples(st.just("finish"), st.integers(0, 3)),
        st.tuples(st.just("relieve"), st.tuples(st.integers(0, 3), st.integers(0, 3))),
        st.tuples(st.just("resize"), st.integers(1, 4)),
    ),
    max_size=60,
)


class Model:
    """Lanes whose workers are played by hand."""

    def __init__(self) -> None:
        self.lanes = lanes(4)
        self.routing = Routing(Ordering.KEY)
        self.routing.open(self.lanes)
        self.finished: list[Message] = []
        self.given_out = 0

    def route(self, keys: list[bytes | None]) -> None:
        """Give out messages."""
        self.routing.route(messages(*keys, first=self.given_out))
        self.given_out += len(keys)

    def send(self, index: int) -> None:
        """Let a message into a lane's pipe."""
        lane = self.lanes[index]
        if lane.pending and not lane.is_retiring:
            lane.pipe.append(lane.pending.popleft())

    def finish(self, index: int) -> None:
        """Let the worker finish what is first in its pipe."""
        pipe = self.lanes[index].pipe
        if pipe and (message := pipe.popleft()) is not None:
            self.finished.append(message)
            self.routing.leave([message])

    def relieve(self, pair: tuple[int, int]) -> None:
        """Let one lane take over from another."""
        busy, idle = (self.lanes[index] for index in pair)
        if busy is not idle and not busy.is_retiring and not idle.is_retiring:
            self.routing.relieve(busy, idle)

    def resize(self, size: int) -> None:
        """Retire all but the first lanes."""
        for index, lane in enumerate(self.lanes):
            lane.is_retiring = index >= size
        self.routing.open(self.lanes[:size])

    def settle(self) -> None:
        """Do what the engine does all the time."""
        for lane in self.lanes:
            if lane.is_retiring:
                self.routing.move_away(lane)


@given(ACTIONS)
def test_order_holds_whatever_moves(actions: list[tuple[str, Any]]) -> None:
    """However messages are sent, finished, taken over and lanes retired: a key's messages finish in order."""
    model = Model()
    for name, value in actions:
        getattr(model, name)(value)
        model.settle()
    for _ in range(model.given_out + 1):
        for index in range(4):
            model.finish(index)
            model.settle()
            model.send(index)
    assert len(model.finished) == model.given_out
    for key in (b"a", b"b", b"c", b"d"):
        order = [message.offset for message in model.finished if message.key == key]
        assert order == sorted(order)
    assert model.routing._count == [0] * len(model.routing._count)


def test_a_shard_that_is_too_much_is_handed_back_until_half_of_it_is_gone() -> None:
    """What comes beyond the limit is returned, in order; a retry always finds room, and so do other keys."""
    routing = Routing(Ordering.KEY)
    routing.open(lanes(2))
    routing.limit(10)
    first = messages(*[b"hot"] * 15, b"other")
    assert [each.offset for each in routing.route(first)] == [10, 11, 12, 13, 14]
    assert bool(routing)
    assert routing.room(first[0]) == 0
    assert routing.room(first[-1]) == 9
    again = Message("t", 0, 10, b"hot", b"", attempt=2)
    assert routing.route([again]) == []
    routing.leave([*first[:5], again])
    assert routing.room(first[0]) == 5
    assert not routing
