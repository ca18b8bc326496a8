"""Chains over failures and rebalances: the real bookkeeping, with an engine that is as naive as can be."""

import random
from collections import defaultdict, deque

from hypothesis import given, settings
from hypothesis import strategies as st

from consumer_runtime.contract.settings import (
    DeadLetterSettings,
    KafkaSettings,
    Ordering,
    RetrySettings,
)
from consumer_runtime.dead_letter import DeadLetters
from consumer_runtime.engines.engine import Completions, Failure, FailureKind
from consumer_runtime.ledger.lines import Lines
from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.message import Message
from consumer_runtime.retry import Backoff
from consumer_runtime.settle import Settlement
from consumer_runtime.sources.source import Run
from consumer_runtime.statistics import Statistics

PARTITIONS = 2
Place = tuple[int, int]


class Log:
    """Two partitions of a topic, one assignment of each, and what was ever finished; a source in memory."""

    def __init__(self) -> None:
        self.keys: dict[int, list[bytes | None]] = defaultdict(list)
        self.assignments: dict[tuple[str, int], PartitionOffsets] = {}
        self.finished: dict[int, set[int]] = defaultdict(set)
        for partition in range(PARTITIONS):
            self.assign(partition)

    def assign(self, partition: int) -> PartitionOffsets:
        """Begin the partition anew: what is finished comes no more, everything else does."""
        fresh = PartitionOffsets("orders", partition, start=0)
        self.assignments["orders", partition] = fresh
        return fresh

    def fetch(self, partition: int, first: int) -> list[Message]:
        """Return what is to be done from an offset on."""
        assignment = self.assignments["orders", partition]
        offsets = range(first, len(self.keys[partition]))
        todo = [offset for offset in offsets if offset not in self.finished[partition]]
        return [
            Message("orders", partition, each, self.keys[partition][each], b"", assignment=assignment) for each in todo
        ]

    def acknowledge(self, assignment: PartitionOffsets, messages: list[Message]) -> None:
        """Take notice of what is finished."""
        assert assignment.is_open
        for message in messages:
            assert message.offset not in self.finished[assignment.partition]
            self.finished[assignment.partition].add(message.offset)


class ChainEngine:
    """Runs calls until told how they end; the next of a chain begins when one succeeds."""

    def __init__(self) -> None:
        self.running: list[Message] = []
        self.begun: list[Message] = []

    def begin(self, message: Message) -> None:
        """Begin a call."""
        self.running.append(message)
        self.begun.append(message)

    def end(self, message: Message, *, is_failure: bool) -> Completions:
        """End a call."""
        self.running.remove(message)
        ended = Completions()
        if is_failure:
            ended.failures.append(
                Failure(
                    message=message, kind=FailureKind.ERROR, error_class="builtins:ValueError", error_text="bad",
                    started_at=0.0, finished_at=0.0,
                )
            )  # fmt: skip
        else:
            ended.done.append(message)
        follower = message.follower
        if follower is not None and not is_failure:
            ended.followers = 1
            if follower.assignment.is_open and not follower.assignment.is_leaving:
                self.begin(follower)
                return ended
            ended.bounced.append(follower)
            message = follower
        while message.follower is not None:
            following, message.follower = message.follower, None
            ended.bounced.append(following)
            ended.followers += 1
            message = following
        return ended


class World:
    """One control loop's worth of state."""

    def __init__(self, ordering: Ordering, seed: int, most: int) -> None:
        self.ordering = ordering
        self.draw = random.Random(seed)
        self.most = most
        self.log, self.engine = Log(), ChainEngine()
        self.lines = Lines(by_key=ordering is Ordering.KEY)
        self.ended: deque[Completions] = deque()
        self.in_flight = 0
        self.now = 0.0
        self.settlement = Settlement(
            source=self.log,
            shards=self.lines,
            backoff=Backoff(RetrySettings(max_retries=2, backoff_ms=10, max_backoff_ms=100)),
            dead_letters=DeadLetters(KAFKA, DeadLetterSettings(enabled=False), Statistics()),
            statistics=Statistics(),
        )

    def arrive(self, partition: int, messages: list[Message]) -> None:
        """Take fetched messages."""
        if messages:
            assignment = self.log.assignments["orders", partition]
            self.settlement.holdings.take(Run(assignment, messages))
            self.lines.arrive(assignment, messages)

    def dispatch(self) -> None:
        """Begin what may run, with chains."""
        taken = self.lines.take(max(self.most - self.in_flight, 0))
        if taken:
            self.in_flight += len(taken)
            self.lines.follow(taken, room=self.draw.randint(1, 12), each=self.draw.randint(0, 4))
            for message in taken:
                self.engine.begin(message)
        assert len(self.engine.running) <= self.in_flight <= self.most
        busy = [self.shard(each) for each in self.engine.running if self.shard(each) is not None]
        assert len(busy) == len(set(busy))

    def end_some(self, count: int) -> None:
        """End calls, of which nobody knows yet."""
        for message in self.draw.sample(self.engine.running, min(count, len(self.engine.running))):
            self.ended.append(self.engine.end(message, is_failure=self.draw.random() < 0.3))

    def book(self) -> None:
        """Take notice of calls that ended, as the control loop does."""
        while self.ended:
            ended = self.ended.popleft()
            self.in_flight -= 1 + len(ended.bounced) - ended.followers
            self.lines.followed(ended.followers)
            if ended.done:
                self.settlement.succeeded(ended.done, self.now)
            self.settlement.bounced(ended.bounced)
            self.settlement.failed(ended.failures, self.now)

    def maybe_book(self) -> None:
        """Take notice, or not yet."""
        if self.draw.random() < 0.5:
            self.book()

    def rebalance(self, partition: int) -> None:
        """Give a partition up, with some of its calls ended within the grace and some not, and get it back."""
        old = self.log.assignments["orders", partition]
        self.settlement.leave(old)
        ours = [each for each in self.engine.running if each.assignment is old]
        begun_since = len(self.engine.begun)
        self.end_some(self.draw.randint(0, len(ours)))
        self.maybe_book()
        old.is_open = False
        self.log.assign(partition)
        self.settlement.forget(old)
        self.end_some(self.draw.randint(0, 2))
        self.maybe_book()
        assert not [each for each in self.engine.begun[begun_since:] if each.assignment is old]
        self.arrive(partition, self.log.fetch(partition, 0))

    def shard(self, message: Message) -> tuple[int, bytes] | None:
        """Return what a message's order is kept within, whatever the assignment."""
        if self.ordering is Ordering.PARTITION:
            return (message.partition, b"")
        return None if message.key is None else (message.partition, message.key)


KAFKA = KafkaSettings(bootstrap_servers=["localhost:1"], consumer_group="group", topics=["orders"])
STEPS = st.one_of(
    st.tuples(
        st.just("arrive"), st.integers(0, PARTITIONS - 1), st.lists(st.sampled_from([b"a", b"b", None]), max_size=9)
    ),
    st.tuples(st.just("end"), st.integers(1, 4), st.none()),
    st.tuples(st.just("rebalance"), st.integers(0, PARTITIONS - 1), st.none()),
)


@given(
    steps=st.lists(STEPS, max_size=40),
    ordering=st.sampled_from([Ordering.KEY, Ordering.PARTITION]),
    seed=st.integers(0, 10_000),
    most=st.integers(1, 4),
)
@settings(max_examples=300, deadline=None)
def test_chains_keep_order_and_lose_nothing(steps, ordering: Ordering, seed: int, most: int):
    """One call of a shard at a time, old attempts included; begun in order; all finished once; nothing left behind."""
    world = World(ordering, seed, most)
    for step, number, keys in [*steps, *[("end", 3, None)] * 900]:
        if step == "arrive":
            first = len(world.log.keys[number])
            world.log.keys[number] += keys
            world.arrive(number, world.log.fetch(number, first))
        elif step == "rebalance":
            world.rebalance(number)
        else:
            world.end_some(number)
        world.maybe_book()
        world.now += 0.05
        world.settlement.tick(world.now)
        world.dispatch()
    assert {each: len(offsets) for each, offsets in world.log.finished.items() if offsets} == {
        each: len(keys) for each, keys in world.log.keys.items() if keys
    }
    assert_begun_in_order(world)
    held = world.settlement.holdings
    lines = [each.lines for each in world.log.assignments.values()]
    assert (world.in_flight, world.lines.waiting, world.lines.is_empty, held.messages) == (0, 0, True, 0)
    assert lines == [{}] * PARTITIONS


def assert_begun_in_order(world: World) -> None:
    """Require that within one assignment no call of a shard begins before an earlier one's last attempt."""
    latest: dict[object, int] = defaultdict(lambda: -1)
    for each in world.engine.begun:
        shard = world.shard(each)
        if shard is not None:
            assert each.offset >= latest[each.assignment, shard]
            latest[each.assignment, shard] = each.offset
