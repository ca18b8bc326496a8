"""Which of the namespaces that the operator is told to watch it may read.

One that it may not read (its Role is missing, or the namespace is gone and its Role with it) must not keep it from the
others, and kopf ends altogether when one of its watches is refused. So only the others are watched, and that one is
asked about again. Not here: the watching (`service`).
"""

import asyncio
from typing import Protocol

import structlog

from parallel_consumer_operator.errors import ClusterError, DeniedError, NotFoundError
from parallel_consumer_operator.port import Manifest

ASK_SECONDS = 30.0
"""A namespace that was refused is watched this long after it may be read, at most; and the other way round."""
ALLOW = "let the operator's service account list and watch parallelconsumers there: helm's `watchNamespaces` names it"
DEFINE = "install the definition of ParallelConsumer: helm's `crds.install`, or crds/parallelconsumers.yaml"

_log = structlog.get_logger(__name__)


class Reader(Protocol):
    """Asks the API server itself."""

    async def resources(self, namespaces: tuple[str, ...], *, limit: int | None = None) -> list[Manifest]:
        """Return at most so many resources of each namespace, of all for none; raises ClusterError."""
        ...


class Territory:
    """Tells apart, when asked, what may be read, and logs what changed about that."""

    def __init__(self, reader: Reader, namespaces: tuple[str, ...]) -> None:
        """Take the namespaces to watch, none for all of them."""
        self._reader = reader
        self._asked = namespaces or ("",)
        self._refused: set[str] = set()

    async def readable(self) -> tuple[str, ...]:
        """Return those that may be read, in their order; an empty name stands for the whole cluster."""
        return tuple([each for each in self._asked if await self._may_read(each)])

    async def until_not(self, readable: tuple[str, ...]) -> None:
        """Return once something else may be read than this."""
        while True:
            await asyncio.sleep(ASK_SECONDS)
            if await self.readable() != readable:
                return

    async def _may_read(self, namespace: str) -> bool:
        try:
            await self._reader.resources((namespace,) if namespace else (), limit=1)
        except (DeniedError, NotFoundError) as error:
            if namespace not in self._refused:
                self._refused.add(namespace)
                remedy = DEFINE if isinstance(error, NotFoundError) else ALLOW
                where = namespace or "all"
                _log.error("namespace not watched: refused", namespace=where, error=str(error), remedy=remedy)
            return False
        except ClusterError:  # no answer says nothing about rights
            return namespace not in self._refused
        if namespace in self._refused:
            self._refused.discard(namespace)
            _log.info("namespace may be read now", namespace=namespace or "all")
        return True
