"""Where a bounded run ends: what lies beyond is not taken, and when all before it is finished the run is over.

Pure. Not here: which bounds (`backfill`), pausing and stopping (`kafka`).
"""

from collections.abc import Iterable, Mapping

from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.message import Message


class Until:
    """The first offset of each partition that does not belong to the run; partitions without one have no part in it."""

    def __init__(self, ends: Mapping[tuple[str, int], int]) -> None:
        self._ends = ends

    def end(self, assignment: PartitionOffsets) -> int:
        """Return where a partition ends."""
        return self._ends.get((assignment.topic, assignment.partition), 0)

    def within(self, assignment: PartitionOffsets, messages: list[Message]) -> list[Message]:
        """Return the messages that belong to the run."""
        end = self.end(assignment)
        return messages if messages[-1].offset < end else [each for each in messages if each.offset < end]

    def is_done(self, assignments: Iterable[PartitionOffsets]) -> bool:
        """Return whether every assigned partition is finished up to its end; a member without partitions waits."""
        assigned = list(assignments)
        return bool(assigned) and all(each.watermark >= self.end(each) for each in assigned)
