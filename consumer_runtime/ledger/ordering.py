"""Which bookkeeping of shards fits the order asked for and the engine that runs it. Pure."""

from collections.abc import Iterable

from consumer_runtime.contract.settings import Ordering
from consumer_runtime.ledger.lines import Lines
from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.ledger.parked import NoCrowds, Parked
from consumer_runtime.ledger.shards import Crowds, Shards, Unordered
from consumer_runtime.message import Message


def shards(ordering: Ordering, *, engine_keeps_order: bool, crowds: Crowds | None = None) -> Shards:
    """Return the bookkeeping that fits the order asked for and the engine that runs it.

    `crowds` are those of an engine that keeps order; without them a shard may hold all that the engine takes.
    """
    if ordering is Ordering.UNORDERED:
        return Unordered()
    by_key = ordering is Ordering.KEY
    return (
        Parked(by_key=by_key, crowds=NoCrowds() if crowds is None else crowds)
        if engine_keeps_order
        else Lines(by_key=by_key)
    )


def in_an_engine(
    before: Shards, assignments: Iterable[PartitionOffsets], retried: Iterable[Message], *, crowds: Crowds | None
) -> Shards:
    """Return the same messages for an engine that keeps order, where one did not before (mode auto has chosen).

    `retried` are all that failed and will come back. Whoever stands in line behind another message goes after it.
    """
    if not isinstance(before, Lines):
        return before
    after = Parked(by_key=before.by_key, crowds=NoCrowds() if crowds is None else crowds)
    after.ready, after.due = before.ready, before.due
    for assignment in assignments:
        lines, assignment.lines = assignment.lines, {}
        parked = [each for each in (*retried, *before.due) if each.assignment is assignment]
        for message in parked:
            after.park(message)
        for shard, line in lines.items():
            after.stand(assignment, shard, line or ())
    return after
