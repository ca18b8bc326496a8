from dataclasses import dataclass, field

from consumer_runtime.backpressure import Backpressure
from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.ledger.window import Window
from consumer_runtime.statistics import Statistics


@dataclass
class Partitions:
    """The part of a source that backpressure sees: which partitions are paused, and how often that changed."""

    assignments: dict[tuple[str, int], PartitionOffsets]
    paused: set[int] = field(default_factory=set)
    narrow: set[int] = field(default_factory=set)

    def pause(self, assignments: list[PartitionOffsets]) -> None:
        """Note them as paused."""
        self.paused |= {each.partition for each in assignments}

    def resume(self, assignments: list[PartitionOffsets]) -> None:
        """Note them as fetched again."""
        self.paused -= {each.partition for each in assignments}

    def is_narrow(self, assignment: PartitionOffsets) -> bool:
        """Whether its offset map is nearly full."""
        return assignment.partition in self.narrow


class Fetching:
    """A backpressure over four partitions, and its clock."""

    def __init__(self) -> None:
        self.source = Partitions({("t", number): PartitionOffsets("t", number, start=0) for number in range(4)})
        self.statistics = Statistics()
        self.window = Window(max_in_flight=100, max_bytes=1_000_000, poll_batch_size=100)
        self.backpressure = Backpressure(self.source, self.statistics, self.window)
        self.now = 100.0

    def holds(self, *by_partition: int) -> None:
        """Set how many messages of each partition are in memory."""
        for assignment, held in zip(self.source.assignments.values(), by_partition, strict=True):
            assignment.held = held

    def polls(self, *, seconds: float = 0.0, held_bytes: int = 0, is_saturated: bool = True) -> bool:
        """Let time pass in small steps; return whether a poll was asked for in the last of them."""
        asked = 0
        for _ in range(max(int(seconds / 0.01), 1)):
            self.now += 0.01
            held = sum(each.held for each in self.source.assignments.values())
            asked = self.backpressure.ask_for(self.now, held=held, held_bytes=held_bytes, is_saturated=is_saturated)
        return asked > 0


def test_a_window_that_drains_soon_pauses_nothing():
    """Pausing throws the prefetch away: a full window is left unpolled for a moment first."""
    fetching = Fetching()
    fetching.holds(2_000, 500, 500, 0)
    assert not fetching.polls(seconds=0.3)
    fetching.holds(500, 100, 0, 0)
    assert fetching.polls()
    assert fetching.statistics.pauses == 0


def test_a_window_that_stays_full_pauses_all_and_still_polls():
    """However slow the handler: every partition is paused, and the client is polled, so that the group keeps us."""
    fetching = Fetching()
    fetching.holds(1_000, 1_000, 500, 500)
    polled = [fetching.polls() for _ in range(200)]
    assert fetching.source.paused == {0, 1, 2, 3}
    assert fetching.backpressure.is_active
    longest_without = max(len(run) for run in "".join("x" if each else "." for each in polled).split("x"))
    assert longest_without * 0.01 < 1.0
    assert polled.count(True) < 60


def test_it_resumes_at_the_lower_mark_only():
    """Hysteresis: between the marks nothing changes."""
    fetching = Fetching()
    fetching.holds(1_000, 1_000, 500, 500)
    fetching.polls(seconds=1.0)
    fetching.holds(1_000, 200, 0, 0)
    fetching.polls(seconds=1.0)
    assert fetching.source.paused == {0, 1, 2, 3}
    fetching.holds(400, 200, 0, 0)
    fetching.polls(seconds=0.2)
    assert fetching.source.paused == set()
    assert not fetching.backpressure.is_active
    assert fetching.statistics.pauses == 1


def test_a_blocked_partition_does_not_starve_the_others():
    """One partition's keys are all busy and fill the window while the engine is idle: only that one is paused."""
    fetching = Fetching()
    fetching.holds(fetching.window.ceiling, 0, 0, 0)
    fetching.polls(seconds=1.0, is_saturated=False)
    assert fetching.source.paused == {0}
    assert any(fetching.polls(is_saturated=False) for _ in range(3))


def test_bytes_pause_as_messages_do():
    """A few large messages fill the memory: all of them, whatever their number."""
    fetching = Fetching()
    fetching.holds(3, 0, 0, 0)
    fetching.polls(seconds=1.0, held_bytes=1_100_000, is_saturated=False)
    assert fetching.source.paused == {0, 1, 2, 3}


def test_a_partition_without_room_for_its_map_takes_nothing_new():
    """Above three quarters of the metadata's room a partition waits until its map has shrunk; others go on."""
    fetching = Fetching()
    fetching.source.narrow = {2}
    fetching.polls(seconds=0.2)
    assert fetching.source.paused == {2}
    fetching.source.narrow = set()
    fetching.polls(seconds=0.2)
    assert fetching.source.paused == set()


def test_partitions_that_come_while_paused_start_paused():
    """Backpressure is not forgotten over a rebalance."""
    fetching = Fetching()
    fetching.holds(1_000, 1_000, 500, 500)
    fetching.polls(seconds=1.0)
    fresh = PartitionOffsets("t", 9, start=0)
    fetching.source.assignments["t", 9] = fresh
    fetching.backpressure.assigned([fresh])
    assert 9 in fetching.source.paused
