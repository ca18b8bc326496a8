"""Keeps the mirror of the children true: list, then watch from there, and list again when the thread is lost.

One task per kind and namespace. A stream that is silent for longer than bookmarks come is opened anew, so none can be
dead for long. The resources themselves are kopf's to watch (`handlers.py`).
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Protocol

import structlog

from parallel_consumer_operator.errors import ClusterError, ConflictError, DeniedError, NotFoundError
from parallel_consumer_operator.kinds import CHILDREN
from parallel_consumer_operator.mirror import Mirror, Scope
from parallel_consumer_operator.port import Key, Manifest
from parallel_consumer_operator.resource import names

BACKOFF_SECONDS = (0.2, 0.5, 1, 2, 5)
"""Waits after failures in a row; the last one repeats. Short: nothing is repaired while a kind is not watched."""
MISSING_KIND_SECONDS = 30.0
"""A kind that the cluster does not know, or does not show us, is asked for again this late."""
FIRST_LIST_SECONDS = 20.0
"""Passes wait so long for the first lists; after that they read what they need one by one."""
OURS = f"{names.LABEL_MANAGED_BY}={names.FIELD_MANAGER}"

_log = structlog.get_logger(__name__)


class Source(Protocol):
    """What is needed of the cluster."""

    async def list_all(self, scope: Scope, selector: str) -> tuple[list[Manifest], int]:
        """Return all objects in scope and the version as of which they are; raises ClusterError."""
        ...

    def changes(self, scope: Scope, selector: str, version: int) -> AsyncIterator[tuple[str, Manifest]]:
        """Yield type and object of each change since a version; ConflictError when the version is too old."""
        ...


@asynccontextmanager
async def mirrored(
    source: Source, mirror: Mirror, namespaces: Iterable[str], wake: Callable[[Key], None]
) -> AsyncIterator[None]:
    """Keep the mirror true while the block runs; `wake` is told whose child changed by another hand than ours."""
    scopes = [Scope(kind, namespace) for namespace in (tuple(namespaces) or ("",)) for kind in CHILDREN]
    listed = {scope: asyncio.Event() for scope in scopes}
    tasks = [
        asyncio.create_task(_follow(source, mirror, scope, wake, listed[scope]), name=f"watch {scope.kind.kind}")
        for scope in scopes
    ]
    try:
        async with asyncio.timeout(FIRST_LIST_SECONDS):
            await asyncio.gather(*(event.wait() for event in listed.values()))
    except TimeoutError:
        late = sorted(scope.kind.kind for scope, event in listed.items() if not event.is_set())
        _log.warning("not listed yet; read one by one meanwhile", kinds=late)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for scope in scopes:
            mirror.lose(scope)


async def _follow(
    source: Source, mirror: Mirror, scope: Scope, wake: Callable[[Key], None], listed: asyncio.Event
) -> None:
    failures, version = 0, 0
    while True:
        try:
            if version == 0:
                version = await _list(source, mirror, scope, wake)
                listed.set()
            async for kind, manifest in source.changes(scope, OURS, version):
                version, failures = int(manifest["metadata"]["resourceVersion"]), 0
                _take(mirror, scope, kind, manifest, wake)
        except ConflictError:
            version = 0
        except (NotFoundError, DeniedError) as error:
            version = 0
            _tell_missing(mirror, scope, error)
            listed.set()
            await asyncio.sleep(MISSING_KIND_SECONDS)
        except ClusterError as error:
            failures += 1
            _log.debug("watch interrupted", kind=scope.kind.kind, error=str(error))
        await asyncio.sleep(_backoff(failures))


async def _list(source: Source, mirror: Mirror, scope: Scope, wake: Callable[[Key], None]) -> int:
    manifests, version = await source.list_all(scope, OURS)
    for manifest in mirror.fill(scope, manifests, version=version):
        _wake_owner(manifest, wake)
    return version


def _take(mirror: Mirror, scope: Scope, kind: str, manifest: Manifest, wake: Callable[[Key], None]) -> None:
    if kind == "BOOKMARK":
        return
    news = mirror.drop(scope.kind, manifest) if kind == "DELETED" else mirror.keep(scope.kind, manifest)
    if news:
        _wake_owner(manifest, wake)


def _wake_owner(manifest: Manifest, wake: Callable[[Key], None]) -> None:
    metadata = manifest["metadata"]
    name = (metadata.get("labels") or {}).get(names.LABEL_NAME)
    if name:
        wake(Key(metadata["namespace"], name))


def _tell_missing(mirror: Mirror, scope: Scope, error: ClusterError) -> None:
    missing = isinstance(error, NotFoundError)
    if missing != mirror.lacks_kind(scope.kind, scope.namespace) or not missing:
        tell = _log.info if missing else _log.warning
        tell("kind not watched", kind=scope.kind.kind, namespace=scope.namespace or "all", error=str(error))
    mirror.lose(scope, kind_is_missing=missing)


def _backoff(failures: int) -> float:
    """Spread, so that the watches of all kinds do not come back in one moment."""
    longest = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]
    return random.uniform(longest / 2, longest)  # noqa: S311 - not for secrets
