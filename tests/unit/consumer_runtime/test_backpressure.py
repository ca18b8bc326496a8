from dataclasses import dataclass, field, replace

from consumer_runtime.backpressure import Backpressure
from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.ledger.window import Load, Window
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

    def polls(
        self,
        *,
        seconds: float = 0.0,
        held_bytes: int = 0,
        waiting_bytes: int = 0,
        in_flight: int = 100,
        is_saturated: bool = True,
    ) -> bool:
        """Let time pass in small steps; return whether a poll was asked for in the last of them."""
        asked = 0
        for _ in range(max(int(seconds / 0.01), 1)):
            self.now += 0.01
            held = sum(each.held for each in self.source.assignments.values())
            asked = self.backpressure.ask_for(
                self.now, Load(held, held_bytes, waiting_bytes), in_flight=in_flight, is_saturated=is_saturated
            )
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


def test_an_engine_that_needs_few_is_fetched_for_as_if_they_were_its_limit():
    """With a limit of 20,000 and calls that need the core, what is fetched beyond a look-ahead would only lie there."""
    fetching = Fetching()
    fetching.backpressure.window = replace(fetching.window, max_in_flight=20_000)
    fetching.holds(4_000, 1_000, 0, 0)
    assert not fetching.polls(in_flight=1_000)
    fetching.holds(2_000, 1_000, 0, 0)
    assert fetching.polls(in_flight=1_000)
    fetching.holds(4_000, 1_000, 0, 0)
    assert fetching.polls(in_flight=1_000, is_saturated=False)


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


def test_an_engine_that_drains_pauses_nothing_however_long_it_is_busy():
    """Lines that move leave the ceiling soon: a pause for them would throw away, and fetch again, what comes next."""
    fetching = Fetching()
    ceiling, half = fetching.window.ceiling, fetching.window.ceiling // 2
    for _ in range(10):
        fetching.holds(ceiling, 0, 0, 0)
        assert not fetching.polls(seconds=0.2, is_saturated=False)
        fetching.holds(half, 0, 0, 0)
        assert fetching.polls(seconds=0.2, is_saturated=False)
        assert not fetching.polls(seconds=0.1, is_saturated=True)
    assert fetching.statistics.pauses == 0


def test_the_client_is_polled_while_everything_is_paused_and_the_engine_is_idle():
    """All keys wait for a retry, and the loop turns fast: without polls the group would give us up."""
    fetching = Fetching()
    share = fetching.window.ceiling // 4
    fetching.holds(share, share, share, share)
    fetching.polls(seconds=1.0, is_saturated=False)
    assert fetching.source.paused == {0, 1, 2, 3}
    polled = [fetching.polls(is_saturated=number % 3 == 0) for number in range(100)]
    assert polled.count(True) >= 5


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


def test_a_full_window_opens_again_beside_many_bytes_that_wait():
    """Long backoffs hold most of the bytes: a window that was full once is fetched for when the rest has drained."""
    fetching = Fetching()
    fetching.holds(1_000, 1_000, 500, 500)
    fetching.polls(seconds=2.0, held_bytes=700_000, waiting_bytes=600_000)
    assert fetching.source.paused == {0, 1, 2, 3}
    fetching.holds(10, 10, 10, 10)
    assert fetching.polls(seconds=0.2, held_bytes=601_000, waiting_bytes=600_000, is_saturated=False)
    assert not fetching.source.paused
