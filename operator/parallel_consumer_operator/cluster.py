"""Kubernetes behind the port: the only importer of `kubernetes`, whose errors end here.

Kinds are stated, not discovered: discovery costs requests and permissions, and goes stale when definitions come later.
"""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration, V1Lease, V1ObjectMeta
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.dynamic import DynamicClient, Resource
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock
from pydantic import ValidationError

from consumer_runtime.contract import pod as contract
from consumer_runtime.contract.state import RuntimeState
from parallel_consumer_operator.errors import (
    ClusterError,
    ConflictError,
    DeniedError,
    NotFoundError,
    PodUnreachableError,
    UnavailableError,
)
from parallel_consumer_operator.event_manifest import event_manifest
from parallel_consumer_operator.port import Event, Key, KindRef, Manifest
from parallel_consumer_operator.resource import names

REQUEST_SECONDS = 10.0
STATE_SECONDS = 2.0
REQUESTS_AT_ONCE = 32
"""Requests to the API server under way at most; the rest wait their turn here instead of being throttled there."""

LEASE_SECONDS, RENEW_SECONDS, RETRY_SECONDS = 10, 6, 1
"""A Lease lasts 10 s from when a standby saw its last renewal, and is tried every second: taken over within 12 s."""
LEASE_REQUEST_SECONDS = 2.0

_RESOURCE = KindRef(names.API_VERSION, names.KIND)
_POD = KindRef("v1", "Pod")
_SECRET = KindRef("v1", "Secret")
_EVENT = KindRef("v1", "Event")
_LEASE = KindRef("coordination.k8s.io/v1", "Lease")
_PLURALS = {
    _LEASE: "leases",
    _RESOURCE: names.PLURAL,
    _POD: "pods",
    _SECRET: "secrets",
    _EVENT: "events",
    KindRef("v1", "ConfigMap"): "configmaps",
    KindRef("v1", "ServiceAccount"): "serviceaccounts",
    KindRef("apps/v1", "Deployment"): "deployments",
    KindRef("monitoring.coreos.com/v1", "PodMonitor"): "podmonitors",
    KindRef("monitoring.coreos.com/v1", "PrometheusRule"): "prometheusrules",
    KindRef("policy/v1", "PodDisruptionBudget"): "poddisruptionbudgets",
    KindRef("networking.k8s.io/v1", "NetworkPolicy"): "networkpolicies",
}

Observe = Callable[[str, str, str], None]
"""Is told of each request: operation, kind, outcome."""


class Cluster:
    """The port to one Kubernetes cluster; made by `connect`."""

    def __init__(self, client: ApiClient, *, identity: str, observe: Observe) -> None:
        self._client, self._observe = DynamicClient(client), observe
        self._identity = identity
        self._turns = asyncio.Semaphore(REQUESTS_AT_ONCE)
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=STATE_SECONDS))

    async def close(self) -> None:
        """Close the connections to pods."""
        await self._http.close()

    async def resource(self, key: Key) -> Manifest | None:
        """See `Port.resource`."""
        return await self._read(_RESOURCE, key.namespace, key.name)

    async def child(self, key: Key, kind: KindRef, name: str) -> Manifest | None:
        """See `Port.child`."""
        return await self._read(kind, key.namespace, name)

    async def pods(self, key: Key) -> list[Manifest]:
        """See `Port.pods`."""
        selector = f"{names.LABEL_NAME}={key.name},{names.LABEL_APPLICATION}={names.APPLICATION}"
        found = await self._ask(
            "list",
            _POD,
            self._client.get(self._kind(_POD), namespace=key.namespace, label_selector=selector, **_OPTIONS),
        )
        items: list[Manifest] = found.get("items") or []
        return items

    async def secret_versions(self, key: Key, secrets: frozenset[str]) -> dict[str, str | None]:
        """See `Port.secret_versions`."""
        found = await asyncio.gather(*(self._read(_SECRET, key.namespace, name) for name in sorted(secrets)))
        return {name: _fingerprint(secret) for name, secret in zip(sorted(secrets), found, strict=True)}

    async def secret_data(self, key: Key, name: str) -> dict[str, str]:
        """Return a Secret's decoded entries, for a resource's own Prometheus; raises NotFoundError without it."""
        secret = await self._read(_SECRET, key.namespace, name)
        if secret is None:
            raise NotFoundError(f"the Secret {name} does not exist in {key.namespace}")
        encoded = secret.get("data") or {}
        return {entry: base64.b64decode(value).decode(errors="replace") for entry, value in encoded.items()}

    async def apply(self, manifest: Manifest, *, resource_version: str | None = None) -> Manifest:
        """See `Port.apply`."""
        if resource_version is not None:
            manifest = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": resource_version}}
        kind = KindRef(manifest["apiVersion"], manifest["kind"])
        return await self._ask(
            "apply",
            kind,
            self._client.server_side_apply(
                self._kind(kind),
                body=manifest,
                namespace=manifest["metadata"]["namespace"],
                field_manager=names.FIELD_MANAGER,
                force_conflicts=True,
                **_OPTIONS,
            ),
        )

    async def delete(self, key: Key, kind: KindRef, name: str) -> None:
        """See `Port.delete`."""
        try:
            await self._ask(
                "delete", kind, self._client.delete(self._kind(kind), name=name, namespace=key.namespace, **_OPTIONS)
            )
        except NotFoundError:
            return

    async def write_status(self, key: Key, status: Manifest) -> None:
        """See `Port.write_status`."""
        # The whole status at once: server-side apply would leave fields standing that another manager wrote once, as a
        # backup tool does that restores it, and an old tuned value would come back.
        body = [{"op": "add", "path": "/status", "value": status}]
        try:
            await self._ask(
                "status",
                _RESOURCE,
                self._client.patch(
                    self._kind(_RESOURCE).subresources["status"],
                    body=body,
                    name=key.name,
                    namespace=key.namespace,
                    field_manager=names.FIELD_MANAGER,
                    content_type="application/json-patch+json",
                    **_OPTIONS,
                ),
            )
        except NotFoundError:
            return

    async def post_event(self, resource: Manifest, event: Event) -> None:
        """See `Port.post_event`."""
        body = event_manifest(resource, event, identity=self._identity, now=datetime.now(UTC))
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        try:
            made = self._client.create(self._kind(_EVENT), body=body, namespace=namespace, **_OPTIONS)
            await self._ask("create", _EVENT, made)
        except ConflictError:
            before = await self._read(_EVENT, namespace, name) or body
            again = {"count": int(before.get("count") or 1) + 1, "lastTimestamp": body["lastTimestamp"]}
            await self._merge(_EVENT, namespace, name, again)

    async def touch_pod(self, key: Key, pod: str, value: str) -> None:
        """See `Port.touch_pod`."""
        try:
            await self._merge(
                _POD, key.namespace, pod, {"metadata": {"annotations": {names.ANNOTATION_TOUCHED: value}}}
            )
        except NotFoundError:
            return

    async def pod_state(self, pod: Manifest) -> RuntimeState:
        """See `Port.pod_state`."""
        name, address = pod["metadata"]["name"], (pod.get("status") or {}).get("podIP")
        if not address:
            raise PodUnreachableError(f"pod {name} has no address yet")
        host = f"[{address}]" if ":" in address else address
        try:
            async with self._http.get(f"http://{host}:{contract.PORT}{contract.STATE_PATH}") as response:
                response.raise_for_status()
                return RuntimeState.model_validate_json(await response.read())
        except (aiohttp.ClientError, TimeoutError, ValidationError) as error:
            raise PodUnreachableError(f"pod {name} does not answer at {address}: {type(error).__name__}") from error

    def election(self, lease: Key, *, on_won: Callable[[], Coroutine[Any, Any, None]]) -> LeaderElection:
        """Return a candidacy for a Lease; its `run` ends when the Lease was lost again."""
        lock = _PatientLock(lease.name, lease.namespace, self._identity, self._client.client)
        return LeaderElection(
            Config(
                lock, LEASE_SECONDS, RENEW_SECONDS, RETRY_SECONDS, onstarted_leading=on_won, onstopped_leading=_nothing
            )
        )

    async def release(self, lease: Key) -> None:
        """Give up a Lease that this process holds, so that the next one need not wait for its end."""
        found = await self._read(_LEASE, lease.namespace, lease.name)
        if found is None or found["spec"].get("holderIdentity") != self._identity:
            return
        version = found["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": version}, "spec": {"holderIdentity": None}}
        await self._merge(_LEASE, lease.namespace, lease.name, body)

    async def _read(self, kind: KindRef, namespace: str, name: str) -> Manifest | None:
        try:
            return await self._ask(
                "get", kind, self._client.get(self._kind(kind), name=name, namespace=namespace, **_OPTIONS)
            )
        except NotFoundError:
            return None

    async def _merge(self, kind: KindRef, namespace: str, name: str, body: Manifest) -> None:
        await self._ask(
            "patch",
            kind,
            self._client.patch(
                self._kind(kind),
                body=body,
                name=name,
                namespace=namespace,
                content_type="application/merge-patch+json",
                **_OPTIONS,
            ),
        )

    async def _ask(self, operation: str, kind: KindRef, request: Awaitable[Any]) -> Manifest:
        try:
            async with self._turns, _translated():
                response = await request
                answer: Manifest = await response.json()
        except ClusterError as error:
            self._observe(operation, kind.kind, type(error).__name__.removesuffix("Error"))
            raise
        self._observe(operation, kind.kind, "Done")
        return answer

    def _kind(self, kind: KindRef) -> Resource:
        group, _, version = kind.api_version.rpartition("/")
        plural = _PLURALS[kind]
        return Resource(
            prefix="apis" if group else "api",
            group=group,
            api_version=version,
            kind=kind.kind,
            namespaced=True,
            name=plural,
            client=self._client,
            subresources={"status": {"kind": kind.kind, "name": f"{plural}/status", "namespaced": True}},
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


_UNREACHABLE = (aiohttp.ClientError, TimeoutError, OSError)
_OPTIONS: Any = {"serialize": False, "_request_timeout": REQUEST_SECONDS}


@asynccontextmanager
async def connect(*, identity: str, observe: Observe) -> AsyncIterator[Cluster]:
    """Connect as the pod's ServiceAccount, else as the kubeconfig says; UnavailableError without either."""
    configuration = Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except ConfigException:
        try:
            await config.load_kube_config(client_configuration=configuration)
        except (ConfigException, OSError) as error:
            raise UnavailableError(
                "no cluster to talk to: run in a pod, or set KUBECONFIG to the path of a kubeconfig"
            ) from error
    async with ApiClient(configuration) as client:
        cluster = Cluster(client, identity=identity, observe=observe)
        try:
            yield cluster
        finally:
            await cluster.close()


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    """Turn the client's errors into ours; the API server's own sentence is kept."""
    try:
        yield
    except ApiException as error:
        kind = _ERRORS.get(
            error.status or 0, UnavailableError if (error.status or 500) >= _SERVER_FAULT else DeniedError
        )
        raise kind(_sentence(error)) from error
    except _UNREACHABLE as error:
        raise UnavailableError(f"the API server did not answer: {type(error).__name__}") from error


_SERVER_FAULT = 500
_ERRORS: dict[int, type[ClusterError]] = {
    404: NotFoundError,
    409: ConflictError,
    410: ConflictError,
    429: UnavailableError,
}


def _sentence(error: ApiException) -> str:
    try:
        message = json.loads(error.body or "")["message"]
    except (ValueError, TypeError, KeyError):
        message = error.reason
    return f"{error.status}: {message}"


def _fingerprint(secret: Manifest | None) -> str | None:
    """Return what changes with a Secret's contents; keyed by its uid, so that nobody guesses a password from it."""
    if secret is None:
        return None
    contents = json.dumps(secret.get("data") or {}, sort_keys=True).encode()
    return hmac.new(secret["metadata"]["uid"].encode(), contents, hashlib.sha256).hexdigest()[:8]
