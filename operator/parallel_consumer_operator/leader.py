"""One leader among the replicas: wait for the Lease, work while it is held, end when it is lost."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from parallel_consumer_operator.cluster import Cluster
from parallel_consumer_operator.errors import ClusterError, OperatorError
from parallel_consumer_operator.exposition import OperatorMetrics
from parallel_consumer_operator.port import Key

_log = structlog.get_logger(__name__)


class LeadershipLostError(OperatorError):
    """The Lease could not be renewed in time; the process ends so that nothing is done by two."""


async def lead(
    cluster: Cluster,
    lease: Key,
    metrics: OperatorMetrics,
    stop: asyncio.Event,
    work: Callable[[asyncio.Event], Awaitable[None]],
) -> None:
    """Do `work` while leading; return when `stop` is set, before or after the Lease was won.

    `work` gets an event upon which it must end. Raises LeadershipLostError when the Lease was lost meanwhile.
    """
    won = asyncio.Event()

    async def on_won() -> None:
        won.set()

    election = asyncio.create_task(cluster.election(lease, on_won=on_won).run(), name="election")
    try:
        _log.info("standing by", lease=str(lease))
        await _first(won.wait(), stop.wait(), asyncio.shield(election))
        if election.done():
            election.result()
        if not won.is_set() or stop.is_set():
            return
        metrics.leader.set(1)
        _log.info("leading", lease=str(lease))
        await _work_while_leading(election, stop, work)
    finally:
        election.cancel()
        await asyncio.gather(election, return_exceptions=True)
        await _release(cluster, lease)


async def _work_while_leading(
    election: asyncio.Task[None], stop: asyncio.Event, work: Callable[[asyncio.Event], Awaitable[None]]
) -> None:
    ended = asyncio.Event()
    working = asyncio.ensure_future(work(ended))
    await _first(stop.wait(), asyncio.shield(election), asyncio.shield(working))
    lost = election.done()
    ended.set()
    await working
    if lost and not stop.is_set():
        raise LeadershipLostError("the Lease could not be renewed in time")


async def _first(*waits: Awaitable[object]) -> None:
    """Return when the first of several waits is over; the others are given up."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _release(cluster: Cluster, lease: Key) -> None:
    try:
        await cluster.release(lease)
    except ClusterError as error:
        _log.warning("lease not released; the next leader waits for its end", error=str(error))
