"""Finds out whether the watch is still alive: what it told of resources is compared with what a read of them says.

A quiet watch is not a dead one: kopf hands on neither bookmarks nor reconnections, and a quiet cluster says nothing
for hours. Not here: what follows from it (`exposition.Liveness`, and the kubelet).
"""

import asyncio
import itertools
from typing import Protocol

import structlog

from parallel_consumer_operator.control import Control, digest
from parallel_consumer_operator.errors import ClusterError
from parallel_consumer_operator.exposition import Liveness
from parallel_consumer_operator.port import Key, Manifest

INTERVAL_SECONDS = 45.0
"""Three comparisons that fail in a row, and the process counts as deaf (`exposition.STALE_SECONDS`)."""
FIRST_SECONDS = 10.0
"""The first look comes this soon: by then the watch has told of what there is."""
RESOURCES_AT_ONCE = 20
"""Compared each time, in turn: a bound on reads, whatever the number of resources."""


class Reader(Protocol):
    """Asks the API server itself."""

    async def read_resource(self, key: Key) -> Manifest | None:
        """Return the resource as it is now; raises ClusterError."""
        ...

    async def resources(self, namespaces: tuple[str, ...], *, limit: int | None = None) -> list[Manifest]:
        """Return at most so many resources of each namespace, of all for none; raises ClusterError."""
        ...


_log = structlog.get_logger(__name__)


async def listen(
    reader: Reader,
    control: Control,
    liveness: Liveness,
    namespaces: tuple[str, ...] = (),
    *,
    interval_seconds: float = INTERVAL_SECONDS,
) -> None:
    """Note a sign of life whenever the watch is up to date; runs until cancelled."""
    liveness.heard()
    for turn in itertools.count():
        await asyncio.sleep(min(FIRST_SECONDS, interval_seconds) if turn == 0 else interval_seconds)
        if await is_fresh(reader, control, turn, namespaces):
            liveness.heard()


async def is_fresh(reader: Reader, control: Control, turn: int, namespaces: tuple[str, ...] = ()) -> bool:
    """Return whether the watch told of some resources what they are now, and of any if there are some.

    An API server that cannot be asked proves nothing against the watch, and a restart would not help.
    """
    known = control.known()
    if not known:
        return not await _are_there(reader, namespaces) or bool(control.known())
    first = turn * RESOURCES_AT_ONCE % max(len(known), 1)
    for key, seen in known[first : first + RESOURCES_AT_ONCE]:
        try:
            manifest = await reader.read_resource(key)
        except ClusterError:
            return True
        if manifest is not None and digest(manifest["metadata"]) != seen and (key, seen) in control.known():
            _log.warning("the watch has not told of a change yet", resource=str(key))
            return False
    return True


async def _are_there(reader: Reader, namespaces: tuple[str, ...]) -> bool:
    """Return whether there are resources: a watch that has told of none is then dead from its start."""
    try:
        found = await reader.resources(namespaces, limit=1)
    except ClusterError:
        return False
    if found:
        _log.warning("the watch has told of no resource, and there are some")
    return bool(found)
