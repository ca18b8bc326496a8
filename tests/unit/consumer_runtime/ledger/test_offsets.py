from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from consumer_runtime.ledger.offsets import PartitionOffsets


def ledger(start: int = 0, finished: bytes = b"") -> PartitionOffsets:
    """Return the offsets of one partition."""
    return PartitionOffsets("orders", 0, start=start, finished=finished)


def test_watermark_moves_over_what_is_finished_without_a_hole():
    """A commit may say no more than what is finished from the start on without a hole."""
    offsets = ledger(100)
    offsets.arrive(100, 5)
    offsets.finish_each([101, 102, 104])
    assert offsets.progress(0.0) == (100, b"\x00\x01\x01\x00\x01")
    assert offsets.gaps == 2
    offsets.finish(100)
    assert offsets.progress(0.0) == (103, b"\x00\x01")


def test_a_whole_run_leaves_nothing_behind():
    """A run finished at once moves the watermark to its end, with an empty map."""
    offsets = ledger(7)
    assert offsets.arrive(7, 10_000)
    offsets.finish_run(7, 10_000)
    assert offsets.progress(0.0) == (10_007, b"")
    assert (offsets.span, offsets.outstanding, offsets.gaps) == (0, 0, 0)


def test_offsets_that_never_arrive_do_not_hold_the_watermark():
    """Transaction markers and compaction leave holes: what comes after them must be committable."""
    offsets = ledger(0)
    offsets.arrive(0, 3)
    offsets.arrive(5, 2)
    offsets.finish_each([0, 1, 2, 5, 6])
    assert offsets.advance(0.0) == 7


def test_a_wide_hole_costs_no_memory_when_nothing_is_unfinished():
    """A compacted topic may skip a billion offsets; with nothing outstanding that is a jump."""
    offsets = ledger(0)
    offsets.arrive(0, 1)
    offsets.finish(0)
    offsets.arrive(1_000_000_000, 1)
    assert offsets.advance(0.0) == 1_000_000_000
    assert len(offsets._finished) == 1


def test_what_a_commit_said_to_be_finished_is_recognised_when_it_arrives_again():
    """After a kill only the unfinished run again: the others are told apart by the restored map."""
    offsets = ledger(10, finished=b"\x00\x01\x00\x01")
    assert not offsets.arrive(10, 6)
    assert [offsets.is_finished(offset) for offset in range(10, 16)] == [False, True, False, True, False, False]
    offsets.finish_each([10, 12])
    assert offsets.advance(0.0) == 14


def test_skipping_to_the_client_position_moves_an_idle_watermark():
    """With nothing outstanding, what lies before the client's position will never come: the backlog must reach 0."""
    offsets = ledger(9)
    offsets.skip_to(11)
    assert offsets.advance(0.0) == 11
    assert offsets.position == 11


def test_each_assignment_has_an_epoch_of_its_own():
    """Two assignments of one partition are told apart, in one process, for good."""
    assert ledger().epoch < ledger().epoch


def test_memory_is_given_back_as_the_watermark_moves():
    """The bytes below the watermark are let go, however long the partition is held."""
    offsets = ledger()
    for first in range(0, 1_000_000, 1_000):
        offsets.arrive(first, 1_000)
        offsets.finish_run(first, 1_000)
        offsets.advance(0.0)
    assert len(offsets._finished) < 10_000


@pytest.mark.parametrize("moves", [True, False])
def test_the_time_of_standing_still_begins_when_work_waits(*, moves: bool):
    """`moved_at` is when the watermark last moved, or had nothing to wait for: stuck is judged by it."""
    offsets = ledger()
    offsets.advance(5.0)
    offsets.arrive(0, 2)
    offsets.finish(0 if moves else 1)
    offsets.advance(9.0)
    assert offsets.moved_at == (9.0 if moves else 5.0)


@dataclass
class Naive:
    """The same by a set: everything that arrived, will never arrive, or is finished."""

    start: int
    finished: set[int] = field(default_factory=set)
    position: int = 0

    @property
    def watermark(self) -> int:
        """The first offset that is not finished."""
        at = self.start
        while at in self.finished:
            at += 1
        return at


class OffsetsAgainstSet(RuleBasedStateMachine):
    """Any order of arrivals, holes, restored offsets and completions gives the watermark that a set gives."""

    def __init__(self) -> None:
        super().__init__()
        restored = b"\x00\x01\x01\x00\x00\x01"
        self.offsets = ledger(50, finished=restored)
        self.naive = Naive(50, {50 + index for index, flag in enumerate(restored) if flag}, position=50)
        self.running: set[int] = set()

    @rule(hole=st.integers(0, 3), count=st.integers(1, 6))
    def arrive(self, hole: int, count: int) -> None:
        """A run comes, perhaps after a hole."""
        first = self.naive.position + hole
        self.naive.finished.update(range(self.naive.position, first))
        offsets = range(first, first + count)
        is_new = self.offsets.arrive(first, count)
        assert is_new == self.naive.finished.isdisjoint(offsets)
        fresh = {offset for offset in offsets if not self.offsets.is_finished(offset)}
        assert fresh == set(offsets) - self.naive.finished
        self.running |= fresh
        self.naive.position = first + count

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """Some of what runs finishes, in any order."""
        done = data.draw(st.lists(st.sampled_from(sorted(self.running)), unique=True))
        self.offsets.finish_each(done)
        self.naive.finished.update(done)
        self.running -= set(done)

    @rule()
    def advance(self) -> None:
        """The watermark is moved at some moments only."""
        self.offsets.advance(0.0)

    @invariant()
    def same_commit(self) -> None:
        """Watermark and map say what the set says."""
        progress = self.offsets.progress(0.0)
        assert progress.watermark == self.naive.watermark
        beyond = {progress.watermark + index for index, flag in enumerate(progress.finished) if flag}
        assert beyond == {offset for offset in self.naive.finished if offset > progress.watermark}
        assert self.offsets.outstanding == len(self.running)


OffsetsAgainstSet.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestOffsetsAgainstSet = OffsetsAgainstSet.TestCase


@given(st.lists(st.integers(0, 1), max_size=300), st.integers(0, 40))
def test_gaps_are_unfinished_ranges_below_the_highest_finished(flags: list[int], start: int):
    """The metric counts ranges, not offsets, and nothing above the highest finished offset."""
    offsets = ledger(start)
    offsets.arrive(start, max(len(flags), 1))
    offsets.finish_each([start + index for index, flag in enumerate(flags) if flag])
    offsets.advance(0.0)
    text = "".join(map(str, flags)).rstrip("0")
    assert offsets.gaps == len([each for each in text.split("1") if each])


def test_what_was_restored_may_still_arrive_after_the_watermark_has_passed_it() -> None:
    """A poll that ends inside the restored map, then a commit, then the rest: nothing is new, nothing went back."""
    offsets = PartitionOffsets("orders", 0, start=10, finished=b"\x00\x01\x01\x00\x01")
    assert offsets.arrive(10, 1)
    offsets.finish(10)
    assert offsets.advance(0.0) == 13
    assert offsets.arrived == 11
    assert not offsets.arrive(11, 4)
    assert [offset for offset in range(11, 15) if not offsets.is_finished(offset)] == [13]
    assert (offsets.arrived, offsets.position, offsets.watermark) == (15, 15, 13)
    offsets.finish(13)
    assert offsets.advance(0.0) == 15


def test_what_arrives_again_below_a_trimmed_ledger_is_finished() -> None:
    """The watermark ran thousands of offsets ahead through the restored map before the first of them arrived."""
    count = 10_000
    offsets = PartitionOffsets("orders", 0, start=0, finished=b"\x00" + b"\x01" * (count - 1))
    offsets.arrive(0, 1)
    offsets.finish(0)
    assert offsets.advance(0.0) == count
    assert not offsets.arrive(1, 100)
    assert all(offsets.is_finished(offset) for offset in range(1, 101))
    assert offsets.arrived == 101
    assert offsets.arrive(101, count) is False
    assert [offset for offset in (count - 1, count, count + 100) if offsets.is_finished(offset)] == [count - 1]


def test_a_restored_map_is_refilling_until_all_of_it_has_arrived():
    """Fetching must go on until then, however large the map: what is missing from it was not fetched yet."""
    offsets = ledger(10, b"\x00\x01\x01\x00\x01")
    assert offsets.is_refilling
    offsets.arrive(10, 4)
    assert offsets.is_refilling
    offsets.arrive(14, 1)
    assert not offsets.is_refilling
    assert not ledger(10).is_refilling
