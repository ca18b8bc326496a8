"""Reads events where an object's own status is silent: a volume that cannot be mounted, a pod that may not be made.

Which sentence follows from an event is `diagnosis.py`'s. A healthy consumer costs no request here.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from parallel_consumer_operator import diagnosis
from parallel_consumer_operator.diagnosis import Problem
from parallel_consumer_operator.port import Key, Manifest, Port

PATIENCE = timedelta(seconds=10)
"""Younger objects are still being made: their silence means nothing."""
OBJECTS_AT_MOST = 3
"""Pods of one resource are stuck for one reason; a few are asked, not a thousand."""


async def from_events(
    port: Port, key: Key, workload: Manifest | None, pods: Sequence[Manifest], *, now: datetime
) -> list[Problem]:
    """Return what the warnings about stuck pods, and about a workload that lacks pods, come to; each problem once."""
    before = (now - PATIENCE).strftime("%Y-%m-%dT%H:%M:%SZ")
    silent = [pod for pod in pods if diagnosis.is_stuck_in_silence(pod)]
    if workload is not None and diagnosis.lacks_pods_in_silence(workload, len(pods)):
        silent.insert(0, workload)
    asked = [each for each in silent if each["metadata"].get("creationTimestamp", "") <= before][:OBJECTS_AT_MOST]
    answers = await asyncio.gather(*(port.warnings(key, each["metadata"]["uid"]) for each in asked))
    found = (diagnosis.of_warnings(events) for events in answers)
    return list(dict.fromkeys(problem for problem in found if problem is not None))
