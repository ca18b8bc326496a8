"""The handlers that pyrallel-consumer calls; of their own, since its worker processes find them by their module."""

from typing import Any

from benchmarks.compare import handlers


class _Message:
    """What the handlers of the comparison read."""

    __slots__ = ("offset", "partition")

    def __init__(self, item: Any) -> None:
        self.partition = item.tp.partition
        self.offset = item.offset


def run_in_process(item: Any) -> None:
    """Run the work in a worker process; found there by its name."""
    handlers.handle(_Message(item))


async def run_in_loop(item: Any) -> None:
    """Run the work as a coroutine."""
    await handlers.handle_async(_Message(item))
