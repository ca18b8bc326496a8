import random
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer_runtime.contract.settings import Ordering
from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.ledger.ordering import in_an_engine, shards
from consumer_runtime.ledger.shards import Shards
from consumer_runtime.message import Message

KEYS = st.sampled_from([b"a", b"a", b"a", b"b", b"b", b"c", b"d", b"e", b"f", None])
"""One hot key, and more of them than messages that run at once."""


def message(assignment: PartitionOffsets, offset: int, key: bytes | None) -> Message:
    """Return a message of an assignment."""
    return Message("orders", assignment.partition, offset, key, b"", assignment=assignment)


def lines(ordering: Ordering = Ordering.KEY) -> tuple[Shards, PartitionOffsets]:
    """Return a scheduler for engines without order, and a partition."""
    return shards(ordering, engine_keeps_order=False), PartitionOffsets("orders", 0, start=0)


def shard_of(each: Message, ordering: Ordering) -> object:
    """Return what a message waits in line for, None for nothing."""
    if ordering is Ordering.UNORDERED or (ordering is Ordering.KEY and each.key is None):
        return None
    return (each.partition, each.key) if ordering is Ordering.KEY else (each.partition,)


def test_what_nobody_ran_goes_back_in_its_order():
    """A pool that shrinks hands back what it had not begun: the oldest is the first again."""
    scheduler, assignment = lines(Ordering.UNORDERED)
    scheduler.arrive(assignment, [message(assignment, number, b"a") for number in range(5)])
    scheduler.put_back(scheduler.take(3))
    assert [each.offset for each in scheduler.take(5)] == [0, 1, 2, 3, 4]


def test_a_hot_key_blocks_only_itself():
    """However many messages of one key wait, the first of every other key can run."""
    scheduler, assignment = lines()
    scheduler.arrive(assignment, [message(assignment, offset, b"hot") for offset in range(1_000)])
    scheduler.arrive(assignment, [message(assignment, 1_000 + each, b"%d" % each) for each in range(5)])
    assert [each.offset for each in scheduler.take(100)] == [0, 1_000, 1_001, 1_002, 1_003, 1_004]
    assert scheduler.waiting == 999


def test_null_keys_are_spread():
    """A message without a key waits for nobody."""
    scheduler, assignment = lines()
    scheduler.arrive(assignment, [message(assignment, offset, None) for offset in range(10)])
    assert len(scheduler.take(10)) == 10


def test_the_same_key_in_two_partitions_is_two_shards():
    """Order is a partition's own: a custom partitioner may spread a key."""
    scheduler, first = lines()
    second = PartitionOffsets("orders", 1, start=0)
    scheduler.arrive(first, [message(first, 0, b"a")])
    scheduler.arrive(second, [message(second, 0, b"a")])
    assert len(scheduler.take(10)) == 2


def test_a_released_message_goes_before_what_came_later():
    """The next of a shard is nearer to the watermark than what was fetched since."""
    scheduler, assignment = lines()
    first, second = message(assignment, 0, b"a"), message(assignment, 1, b"a")
    scheduler.arrive(assignment, [first, second, *(message(assignment, 2 + each, None) for each in range(5))])
    assert scheduler.take(1) == [first]
    scheduler.release(assignment, [first])
    assert scheduler.take(1) == [second]


def test_idle_keys_leave_no_state():
    """Memory is spent on busy keys only, whatever the number of keys that were seen."""
    scheduler, assignment = lines()
    for offset in range(10_000):
        scheduler.arrive(assignment, [message(assignment, offset, b"%d" % offset)])
        scheduler.release(assignment, scheduler.take(1))
    assert assignment.lines == {}


@pytest.mark.parametrize("keeps_order", [False, True])
def test_a_dropped_partition_leaves_nothing_and_others_alone(*, keeps_order: bool):
    """After a revoke no message of the partition can be taken, and all of the others' can."""
    scheduler = shards(Ordering.KEY, engine_keeps_order=keeps_order)
    gone, kept = PartitionOffsets("orders", 0, start=0), PartitionOffsets("orders", 1, start=0)
    for assignment in (gone, kept):
        scheduler.arrive(
            assignment, [message(assignment, offset, b"ab"[offset % 2 : offset % 2 + 1]) for offset in range(6)]
        )
    first = scheduler.take(1)[0]
    scheduler.park(first)
    dropped = scheduler.drop(gone)
    assert {each.partition for each in dropped} == {0}
    assert len(dropped) == 5
    taken = scheduler.take(100)
    while taken:
        assert {each.partition for each in taken} == {1}
        scheduler.release(kept, taken)
        taken = scheduler.take(100)
    assert (scheduler.waiting, scheduler.is_empty) == (0, True)


@pytest.mark.parametrize("ordering", [Ordering.KEY, Ordering.PARTITION])
def test_a_shard_that_still_runs_waits_when_its_partition_comes_back(ordering: Ordering):
    """Given up while `a` ran and `b` waited, and assigned anew: `a` stays busy until the old attempt returns."""
    scheduler, old = lines(ordering)
    scheduler.arrive(old, [message(old, offset, key) for offset, key in enumerate((b"a", b"a", b"b"))])
    (running,) = scheduler.take(1)
    assert len(scheduler.drop(old)) == 2
    scheduler.abandon(old)
    fresh = PartitionOffsets("orders", 0, start=0)
    scheduler.arrive(fresh, [message(fresh, offset, key) for offset, key in enumerate((b"a", b"a", b"b"))])
    others = scheduler.take(10)
    assert [each.key for each in others] == ([b"b"] if ordering is Ordering.KEY else [])
    scheduler.returned(running, fresh)
    for offset in range(2):
        (taken,) = scheduler.take(10)
        assert (taken.assignment, taken.offset) == (fresh, offset)
        scheduler.release(fresh, [taken])
    scheduler.release(fresh, others or scheduler.take(1))
    assert (fresh.lines, scheduler.waiting, scheduler.is_empty) == ({}, 0, True)


def test_a_shard_that_ended_within_the_grace_does_not_wait():
    """The revoke let its message finish: when the partition comes back, the next of its key runs at once."""
    scheduler, old = lines()
    scheduler.arrive(old, [message(old, offset, b"a") for offset in range(2)])
    (running,) = scheduler.take(1)
    scheduler.drop(old)
    scheduler.release(old, [running])
    scheduler.abandon(old)
    fresh = PartitionOffsets("orders", 0, start=1)
    scheduler.arrive(fresh, [message(fresh, 1, b"a")])
    assert [each.offset for each in scheduler.take(10)] == [1]


def test_a_shard_that_outlasts_two_revokes_waits_still():
    """Whoever stood in line in the second assignment is dropped with it; in the third it waits for the same attempt."""
    scheduler, first = lines()
    scheduler.arrive(first, [message(first, 0, b"a")])
    (running,) = scheduler.take(1)
    for _ in range(2):
        current = PartitionOffsets("orders", 0, start=0)
        scheduler.drop(first)
        scheduler.abandon(first)
        scheduler.arrive(current, [message(current, 0, b"a")])
        assert scheduler.take(10) == []
        first = current
    scheduler.returned(running, current)
    assert [each.assignment for each in scheduler.take(10)] == [current]


ARRIVALS = st.lists(st.lists(st.tuples(st.integers(0, 1), KEYS), max_size=6), max_size=8)


@given(arrivals=ARRIVALS, ordering=st.sampled_from(Ordering), seed=st.integers(0, 10_000))
@settings(max_examples=200, deadline=None)
def test_lines_run_every_message_once_in_order_over_failures(arrivals, ordering: Ordering, seed: int):
    """Whatever fails and finishes when: one message of a shard at a time, in offset order, none lost, none twice."""
    draw = random.Random(seed)
    scheduler = shards(ordering, engine_keeps_order=False)
    assignments = [PartitionOffsets("orders", number, start=0) for number in range(2)]
    offsets: dict[int, int] = defaultdict(int)
    running: list[Message] = []
    done: list[Message] = []
    total = 0
    for batch in [*arrivals, *[[]] * 200]:
        for partition, key in batch:
            scheduler.arrive(assignments[partition], [message(assignments[partition], offsets[partition], key)])
            offsets[partition] += 1
            total += 1
        running += scheduler.take(draw.randint(1, 4))
        busy = [shard_of(each, ordering) for each in running if shard_of(each, ordering) is not None]
        assert len(busy) == len(set(busy))
        draw.shuffle(running)
        for each in running[: draw.randint(0, 3)]:
            running.remove(each)
            if draw.random() < 0.3:
                scheduler.park(each)
                scheduler.due.append(each)
            else:
                done.append(each)
                scheduler.release(each.assignment, [each])
    assert len(done) == total == len({(each.partition, each.offset) for each in done})
    assert_in_order(done, ordering)


class PipelinedEngine:
    """A naive engine that keeps order: one line of each shard; a failure hands back its followers with it."""

    def __init__(self, ordering: Ordering, limit: int = 1_000) -> None:
        self.ordering = ordering
        self.limit = limit
        self.held: list[Message] = []
        self.crowded: set[object] = set()

    def __bool__(self) -> bool:
        """Say whether there is a crowd."""
        return bool(self.crowded)

    def room(self, message: Message) -> int:
        """Return the room for a shard: none from the limit on until half of it is gone."""
        shard = shard_of(message, self.ordering)
        holds = self.holds(shard)
        if shard in self.crowded and 2 * holds <= self.limit:
            self.crowded.discard(shard)
        return self.limit if shard is None else 0 if shard in self.crowded else self.limit - holds

    def holds(self, shard: object) -> int:
        """Return how many messages of a shard are here."""
        return sum(shard_of(each, self.ordering) == shard for each in self.held)

    def submit(self, messages: list[Message]) -> list[Message]:
        """Take messages; return those that are too many of their shard."""
        too_many = []
        for each in messages:
            shard = shard_of(each, self.ordering)
            if shard is not None and self.holds(shard) >= self.limit and each.attempt == 1:
                self.crowded.add(shard)
                too_many.append(each)
            else:
                self.held.append(each)
        return too_many

    def next_of_any_shard(self, draw: random.Random) -> Message | None:
        """Return the oldest message of one shard."""
        heads: dict[object, Message] = {}
        for each in self.held:
            heads.setdefault(shard_of(each, self.ordering) or (each.partition, each.offset), each)
        return draw.choice(list(heads.values())) if heads else None

    def fail(self, failed: Message) -> list[Message]:
        """Hand back everything that the engine holds of the failed message's shard."""
        shard = shard_of(failed, self.ordering)
        bounced = [each for each in self.held if shard is not None and shard_of(each, self.ordering) == shard]
        self.held = [each for each in self.held if each not in bounced]
        return bounced


@given(
    arrivals=ARRIVALS,
    ordering=st.sampled_from(Ordering),
    seed=st.integers(0, 10_000),
    limit=st.integers(1, 4),
    measured=st.integers(0, 12),
)
@settings(max_examples=300, deadline=None)
def test_order_holds_with_a_pipelining_engine(arrivals, ordering: Ordering, seed: int, limit: int, measured: int):
    """Over failures that hand followers back, shards that are too many, and a change from one at a time to pipelines.

    The first `measured` turns are those of mode auto before it has chosen.
    """
    draw = random.Random(seed)
    engine = PipelinedEngine(ordering, limit)
    scheduler = shards(ordering, engine_keeps_order=False)
    assignments = [PartitionOffsets("orders", number, start=0) for number in range(2)]
    offsets: dict[int, int] = defaultdict(int)
    waiting: list[Message] = []
    done: list[Message] = []
    for turn, batch in enumerate([*arrivals, *[[]] * 400]):
        if turn == measured:
            scheduler = in_an_engine(scheduler, assignments, waiting, crowds=engine)
        for partition, key in batch:
            scheduler.arrive(assignments[partition], [message(assignments[partition], offsets[partition], key)])
            offsets[partition] += 1
        too_many = engine.submit(scheduler.take(draw.randint(1, 5)))
        each = engine.next_of_any_shard(draw)
        bounced = []
        if each is not None:
            engine.held.remove(each)
            if draw.random() < 0.3:
                bounced = engine.fail(each)
                scheduler.park(each)
                each.attempt += 1
                waiting.append(each)
            else:
                done.append(each)
                scheduler.release(each.assignment, [each])
        scheduler.put_back(bounced + too_many)
        for shard in {shard_of(each, ordering) for each in engine.held} - {None}:
            assert engine.holds(shard) <= limit
        if waiting and draw.random() < 0.5:
            scheduler.due.append(waiting.pop(draw.randrange(len(waiting))))
    assert len(done) == sum(offsets.values()) == len({(each.partition, each.offset) for each in done})
    assert (scheduler.waiting, scheduler.is_empty) == (0, True)
    assert_in_order(done, ordering)


def test_a_hot_key_leaves_room_in_an_engine_that_keeps_order():
    """However many messages of one key lie before the others, the engine gets a share of them, and all others."""
    engine = PipelinedEngine(Ordering.KEY, limit=10)
    scheduler = shards(Ordering.KEY, engine_keeps_order=True, crowds=engine)
    assignment = PartitionOffsets("orders", 0, start=0)
    scheduler.arrive(assignment, [message(assignment, offset, b"hot") for offset in range(1_000)])
    scheduler.arrive(assignment, [message(assignment, 1_000 + each, b"%d" % each) for each in range(50)])
    while taken := scheduler.take(100 - len(engine.held)):
        scheduler.put_back(engine.submit(taken))
        if scheduler.is_empty:
            break
    assert engine.holds((0, b"hot")) == 10
    assert len(engine.held) == 60
    assert scheduler.waiting == 990


def assert_in_order(done: list[Message], ordering: Ordering) -> None:
    """Require that what finished is in offset order within each shard."""
    by_shard = defaultdict(list)
    for each in done:
        if shard_of(each, ordering) is not None:
            by_shard[shard_of(each, ordering)].append(each.offset)
    for finished in by_shard.values():
        assert finished == sorted(finished)
