"""The candidacy for a Lease: the library's leader election, made patient with an API server that is away.

What being the leader means is `leader.py`'s.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient, V1Lease, V1ObjectMeta
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

from parallel_consumer_operator.port import Key

LEASE_SECONDS, RENEW_SECONDS, RETRY_SECONDS = 10, 6, 1
"""A Lease lasts 10 s from when a standby saw its last renewal, and is tried every second: taken over within 12 s."""
LEASE_REQUEST_SECONDS = 2.0
_UNREACHABLE = (aiohttp.ClientError, TimeoutError, OSError)


def candidacy(
    client: ApiClient, lease: Key, identity: str, *, on_won: Callable[[], Coroutine[Any, Any, None]]
) -> LeaderElection:
    """Return a candidacy; its `run` ends when the Lease was lost again."""
    lock = _PatientLock(lease.name, lease.namespace, identity, client)
    return LeaderElection(
        Config(lock, LEASE_SECONDS, RENEW_SECONDS, RETRY_SECONDS, onstarted_leading=on_won, onstopped_leading=_nothing)
    )


class _PatientLock(LeaseLock):
    """The library's lock; an API server that cannot be reached is a failed try, not the end of the process."""

    async def get(self, name: str, namespace: str) -> Any:
        """Read the Lease; `False` and the error when it cannot be read."""
        try:
            async with asyncio.timeout(LEASE_REQUEST_SECONDS):
                return await super().get(name, namespace)
        except _UNREACHABLE as error:
            return False, ApiException(status=0, reason=f"the API server did not answer: {type(error).__name__}")

    async def create(self, name: str, namespace: str, election_record: Any) -> bool:
        """Make the Lease; False when that failed. The library's own `create` passes what its client refuses."""
        lease = V1Lease(metadata=V1ObjectMeta(name=name), spec=self.update_lease(election_record))
        return await self._tried(self._created(namespace, lease))

    async def update(self, name: str, namespace: str, updated_record: Any) -> bool:
        """Write the Lease; False when that failed."""
        return await self._tried(super().update(name, namespace, updated_record))

    async def _created(self, namespace: str, lease: V1Lease) -> bool:
        try:
            await self.api_instance.create_namespaced_lease(namespace, lease)
        except ApiException:
            return False
        return True

    async def _tried(self, request: Coroutine[Any, Any, bool]) -> bool:
        try:
            async with asyncio.timeout(LEASE_REQUEST_SECONDS):
                return await request
        except _UNREACHABLE:
            return False


async def _nothing() -> None:
    """The library wants something to do after a loss; `service.py` ends the process for it."""
