from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.sources.stall import STALLED_AFTER_SECONDS, StallWatch

ENDS = {("orders", 0): 10}


def watched(partition: PartitionOffsets, *, seconds: int, ends: dict | None = None) -> list[int]:
    """Return at which seconds the partition was found to stall."""
    watch = StallWatch()
    return [at for at in range(100, 100 + seconds) if watch.stalled([partition], ENDS if ends is None else ends, at)]


def test_a_partition_with_messages_ahead_that_does_not_move_is_found_once_in_a_while():
    """After 30 s without a message although there are some; then again, but not at every look."""
    found = watched(PartitionOffsets("orders", 0, start=4), seconds=70)
    assert len(found) == 2
    assert found[0] >= 100 + STALLED_AFTER_SECONDS
    assert found[1] - found[0] >= STALLED_AFTER_SECONDS


def test_a_partition_at_its_end_never_stalls():
    """Silence with nothing to say is no stall."""
    assert watched(PartitionOffsets("orders", 0, start=10), seconds=200) == []


def test_an_end_that_is_not_known_is_no_stall():
    """Before the broker has been asked nothing is known to be ahead."""
    assert watched(PartitionOffsets("orders", 0, start=4), seconds=200, ends={}) == []


def test_a_partition_that_moves_never_stalls():
    """However far behind: one message within 30 s is movement."""
    watch, partition = StallWatch(), PartitionOffsets("orders", 0, start=0)
    for at in range(100, 300, 20):
        partition.arrive(partition.position, 1)
        assert watch.stalled([partition], {("orders", 0): 1_000}, at) == []


def test_a_pause_begins_the_count_anew():
    """A partition that was left out, being paused, has not stalled the moment it is fetched again."""
    watch, partition = StallWatch(), PartitionOffsets("orders", 0, start=0)
    assert watch.stalled([partition], ENDS, 100) == []
    assert watch.stalled([], ENDS, 110) == []
    assert watch.stalled([partition], ENDS, 140) == []
