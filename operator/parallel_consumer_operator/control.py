"""One serial control loop per resource: woken by events, by its own timer, or by another resource's end.

Knows nothing of what a pass does (`reconcile.py`), and nothing of kopf (`handlers.py`).
"""

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import Any

import structlog

from parallel_consumer_operator.errors import OperatorError
from parallel_consumer_operator.exposition import OperatorMetrics
from parallel_consumer_operator.port import Key, Manifest
from parallel_consumer_operator.reconcile import Reconciler

PAUSE_SECONDS = 0.2
"""Between two passes over one resource: events come in flocks, and one pass sees all of them."""
BACKOFF_SECONDS = (1, 2, 4, 8, 16, 32, 60)
"""Waits after passes that failed in a row; the last one repeats."""
END_SECONDS = 1.0
"""How long passes under way may take to end; what is cut off then is finished by the next process."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Loop:
    """One resource's loop."""

    uid: str
    seen: str
    """Digest of what a person can change of the resource: our own status writes do not wake the loop."""
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    failures: int = 0
    in_pass: bool = False


class Control:
    """The loops of all resources; used from one event loop only."""

    def __init__(self, reconciler: Reconciler, metrics: OperatorMetrics) -> None:
        self._reconciler, self._metrics = reconciler, metrics
        reconciler.wake = self.wake
        self._loops: dict[Key, _Loop] = {}
        self._ending = False
        metrics.under_way.set_function(lambda: sum(loop.in_pass for loop in self._loops.values()))

    def changed(self, manifest: Manifest) -> None:
        """Take note of a resource as it is now: start its loop, wake it, or let it be when only the status changed."""
        if self._ending:
            return
        metadata = manifest["metadata"]
        key, uid, seen = Key(metadata["namespace"], metadata["name"]), metadata["uid"], digest(metadata)
        loop = self._loops.get(key)
        if loop is not None and loop.uid != uid:
            self.gone(key, loop.uid)
            loop = None
        if loop is None:
            loop = self._loops[key] = _Loop(uid=uid, seen=seen)
            loop.task = asyncio.create_task(self._run(key, loop), name=f"control {key}")
            self._metrics.resources.set(len(self._loops))
        elif loop.seen != seen:
            loop.seen = seen
            loop.woken.set()

    def wake(self, key: Key) -> None:
        """Let a resource's loop look at once; nothing happens for one that has no loop."""
        loop = self._loops.get(key)
        if loop is not None:
            loop.woken.set()

    def known(self) -> list[tuple[Key, str]]:
        """Return each resource and the digest of it that the watch told last."""
        return [(key, loop.seen) for key, loop in self._loops.items()]

    def gone(self, key: Key, uid: str) -> None:
        """End a resource's loop, and wake those that it stood in the way of."""
        loop = self._loops.get(key)
        if loop is None or loop.uid != uid:
            return
        del self._loops[key]
        if loop.task is not None:
            loop.task.cancel()
        for rival in self._reconciler.forget(key, uid):
            self.wake(rival)
        self._metrics.resources.set(len(self._loops))

    async def stop(self) -> None:
        """End all loops: those at rest at once, those in a pass after it, or END_SECONDS later."""
        self._ending = True
        for loop in self._loops.values():
            if loop.task is not None and not loop.in_pass:
                loop.task.cancel()
        tasks = [loop.task for loop in self._loops.values() if loop.task is not None]
        self._loops.clear()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=END_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: Key, loop: _Loop) -> None:
        structlog.contextvars.bind_contextvars(resource=str(key))  # this task's alone; each line of its passes has it
        while True:
            loop.woken.clear()
            loop.in_pass = True
            wait = await self._pass(key, loop)
            loop.in_pass = False
            if self._ending:
                return
            await asyncio.sleep(PAUSE_SECONDS)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(loop.woken.wait(), wait)

    async def _pass(self, key: Key, loop: _Loop) -> float | None:
        """Do one pass; whatever goes wrong in it ends here, as a wait."""
        try:
            with self._metrics.pass_seconds.time():
                wait = await self._reconciler.step(key)
        except OperatorError as error:
            _log.warning("pass failed", error=str(error))
        except Exception:  # noqa: BLE001 - a mistake of ours in one resource must not end its loop; it is logged
            _log.exception("pass broke")
        else:
            loop.failures = 0
            self._metrics.passes.labels(outcome="done").inc()
            return wait
        self._metrics.passes.labels(outcome="failed").inc()
        loop.failures += 1
        return float(BACKOFF_SECONDS[min(loop.failures, len(BACKOFF_SECONDS)) - 1])


def digest(metadata: dict[str, Any]) -> str:
    """Return what a person can change of a resource, in one comparable text."""
    return json.dumps(
        [metadata.get("generation"), metadata.get("annotations"), metadata.get("deletionTimestamp")], sort_keys=True
    )
