"""The port between the control loop and where messages come from; Kafka is the only kind yet.

Watermarks, commits and rebalances stay behind it: the control loop polls, acknowledges, pauses and resumes, and is told
when partitions come and go. Every method is called by the control thread only.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from consumer_runtime.contract.state import StartError
from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.message import Message


class Run(NamedTuple):
    """Messages of one partition, in order, none of them finished before."""

    assignment: PartitionOffsets
    messages: list[Message]


@dataclass(slots=True)
class Fetched:
    """What one poll brought."""

    runs: list[Run] = field(default_factory=list)
    count: int = 0
    """Messages that the client gave, those included that were finished before."""


class Listener(Protocol):
    """What the control loop does when partitions come and go; called from within `poll` and `close`."""

    def assigned(self, assignments: list[PartitionOffsets]) -> None:
        """Take notice of partitions that begin to be fetched."""

    def revoking(self, assignments: list[PartitionOffsets], is_over: Callable[[], bool]) -> None:
        """Finish what can be finished within the grace, or until it is over earlier; afterwards the source commits."""

    def dropped(self, assignments: list[PartitionOffsets]) -> None:
        """Forget partitions that are ours no more; their `is_open` is False by now."""


class Source(Protocol):
    """Where messages come from, and where it is noted that they are finished."""

    problem: StartError | None
    """Why nothing can be fetched at present; None while all is well."""
    assignments: dict[tuple[str, int], PartitionOffsets]
    """Assigned partitions by topic and partition."""

    @property
    def may_begin(self) -> bool:
        """Whether messages may be begun: not once somebody else may have been given all of them."""

    def start(self, listener: Listener) -> None:
        """Connect and join the group; raises StartFailure for what only a change of settings can mend."""

    def poll(self, count: int, timeout_seconds: float) -> Fetched:
        """Return at most about `count` messages; with none there wait up to `timeout_seconds` for the first."""

    def acknowledge(self, assignment: PartitionOffsets, messages: list[Message]) -> None:
        """Note messages of one open assignment as finished, each once."""

    def acknowledge_run(self, run: Run) -> None:
        """Note a run as finished that arrived just now, with nothing of it finished."""

    def pause(self, assignments: list[PartitionOffsets]) -> None:
        """Fetch nothing of these partitions until `resume`."""

    def resume(self, assignments: list[PartitionOffsets]) -> None:
        """Fetch from these partitions again."""

    def tick(self, now: float) -> None:
        """Do what is due: commits, at most every 200 ms."""

    def committed(self, assignment: PartitionOffsets) -> int:
        """Return the offset that the broker acknowledged last; the start of the assignment before that."""

    def end_offset(self, assignment: PartitionOffsets) -> int | None:
        """Return the partition's end offset as the broker last said, None before it did."""

    def metadata_bytes(self, assignment: PartitionOffsets) -> int:
        """Return the size of the offset map in the last commit."""

    def is_narrow(self, assignment: PartitionOffsets) -> bool:
        """Return whether what may be stored about this partition is nearly used up: nothing new of it should begin."""

    def close(self, now: float) -> None:
        """Commit what is finished, synchronously, and leave the group."""
