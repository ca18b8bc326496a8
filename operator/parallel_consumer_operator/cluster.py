"""Kubernetes behind the port: with `lease.py` the only importer of `kubernetes`, whose errors end here.

Kinds are stated, not discovered: discovery costs requests and permissions, and goes stale when definitions come later.
"""

import asyncio
import base64
import json
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.dynamic import DynamicClient, Resource
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from pydantic import ValidationError

from consumer_runtime.contract import pod as contract
from consumer_runtime.contract.state import RuntimeState
from parallel_consumer_operator import kinds
from parallel_consumer_operator.errors import (
    ClusterError,
    ConflictError,
    DeniedError,
    NotFoundError,
    PodUnreachableError,
    UnavailableError,
)
from parallel_consumer_operator.event_manifest import event_manifest
from parallel_consumer_operator.fingerprint import fingerprint
from parallel_consumer_operator.lease import candidacy
from parallel_consumer_operator.mirror import Mirror, Scope
from parallel_consumer_operator.port import Event, Key, KindRef, Manifest
from parallel_consumer_operator.resource import names

REQUEST_SECONDS = 10.0
STATE_SECONDS = 2.0
REQUESTS_AT_ONCE = 32
"""Requests to the API server under way at most; the rest wait their turn here instead of being throttled there."""

PAGE = 500
"""Objects in one part of a list."""
STREAM_SECONDS = (240, 360)
"""A watch is asked to end after a time between these, and is opened again."""
SILENT_SECONDS = 90.0
"""The API server sends a bookmark each minute: a stream that is silent for longer is dead."""

Observe = Callable[[str, str, str], None]
"""Is told of each request: operation, kind, outcome."""


class Cluster:
    """The port to one Kubernetes cluster; made by `connect`."""

    def __init__(self, client: ApiClient, *, identity: str, observe: Observe) -> None:
        self._client, self._observe = DynamicClient(client), observe
        self._identity = identity
        self.mirror = Mirror()
        """What the watches tell; answers to our own writes go there at once, so that a pass sees what it wrote."""
        self._kinds: dict[KindRef, Resource] = {}
        self._turns = asyncio.Semaphore(REQUESTS_AT_ONCE)
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=STATE_SECONDS))

    async def close(self) -> None:
        """Close the connections to pods."""
        await self._http.close()

    async def resource(self, key: Key) -> Manifest | None:
        """See `Port.resource`."""
        return self.mirror.get(kinds.RESOURCE, key.namespace, key.name) or await self.read_resource(key)

    async def read_resource(self, key: Key) -> Manifest | None:
        """Return the resource as the API server has it now, whatever the watch told."""
        return await self._read(kinds.RESOURCE, key.namespace, key.name)

    async def resources(self, namespaces: tuple[str, ...], *, limit: int | None = None) -> list[Manifest]:
        """See `Port.resources`; with a limit at most so many of each namespace."""
        found: list[Manifest] = []
        for namespace in namespaces or (None,):
            request = self._client.get(self._kind(kinds.RESOURCE), namespace=namespace, limit=limit, **_OPTIONS)
            found += (await self._ask("list", kinds.RESOURCE, request)).get("items") or []
        return found

    async def child(self, key: Key, kind: KindRef, name: str) -> Manifest | None:
        """See `Port.child`. What the mirror has not is asked for: it may be somebody else's, without our label."""
        if self.mirror.lacks_kind(kind, key.namespace):
            return None
        known = self.mirror.get(kind, key.namespace, name) if self.mirror.covers(kind, key.namespace) else None
        return known or await self._read(kind, key.namespace, name)

    async def pods(self, key: Key) -> list[Manifest]:
        """See `Port.pods`."""
        if self.mirror.covers(kinds.POD, key.namespace):
            return self.mirror.pods(key)
        selector = f"{names.LABEL_NAME}={key.name},{names.LABEL_APPLICATION}={names.APPLICATION}"
        found = await self._ask(
            "list",
            kinds.POD,
            self._client.get(self._kind(kinds.POD), namespace=key.namespace, label_selector=selector, **_OPTIONS),
        )
        items: list[Manifest] = found.get("items") or []
        return items

    async def secret_versions(self, key: Key, secrets: frozenset[str]) -> dict[str, str | None]:
        """See `Port.secret_versions`."""
        found = await asyncio.gather(*(self._read(kinds.SECRET, key.namespace, name) for name in sorted(secrets)))
        return {name: fingerprint(secret) for name, secret in zip(sorted(secrets), found, strict=True)}

    async def secret_data(self, key: Key, name: str) -> dict[str, str]:
        """Return a Secret's decoded entries, for a resource's own Prometheus; raises NotFoundError without it."""
        secret = await self._read(kinds.SECRET, key.namespace, name)
        if secret is None:
            raise NotFoundError(f"the Secret {name} does not exist in {key.namespace}")
        encoded = secret.get("data") or {}
        return {entry: base64.b64decode(value).decode(errors="replace") for entry, value in encoded.items()}

    async def apply(self, manifest: Manifest, *, resource_version: str | None = None) -> Manifest:
        """See `Port.apply`."""
        kind, metadata = KindRef(manifest["apiVersion"], manifest["kind"]), manifest["metadata"]
        if self.mirror.lacks_kind(kind, metadata["namespace"]):
            raise NotFoundError(f"the cluster has no {kind.kind} of {kind.api_version}")
        if resource_version is not None:
            manifest = {**manifest, "metadata": {**metadata, "resourceVersion": resource_version}}
        request = self._client.server_side_apply(
            self._kind(kind),
            body=manifest,
            namespace=metadata["namespace"],
            field_manager=names.FIELD_MANAGER,
            force_conflicts=True,
            **_OPTIONS,
        )
        try:
            stored = await self._ask("apply", kind, request)
        except ConflictError:
            # The mirror is behind: the next pass reads.
            self.mirror.forget((kind, metadata["namespace"], metadata["name"]))
            raise
        self.mirror.keep(kind, stored)
        return stored

    async def delete(self, key: Key, kind: KindRef, name: str) -> None:
        """See `Port.delete`."""
        try:
            await self._ask(
                "delete", kind, self._client.delete(self._kind(kind), name=name, namespace=key.namespace, **_OPTIONS)
            )
        except NotFoundError:
            return
        finally:
            self.mirror.forget((kind, key.namespace, name))

    async def write_status(self, key: Key, status: Manifest) -> None:
        """See `Port.write_status`."""
        # The whole status at once: server-side apply would leave fields standing that another manager wrote once, as a
        # backup tool does that restores it, and an old tuned value would come back.
        body = [{"op": "add", "path": "/status", "value": status}]
        try:
            stored = await self._ask(
                "status",
                kinds.RESOURCE,
                self._client.patch(
                    self._kind(kinds.RESOURCE).subresources["status"],
                    body=body,
                    name=key.name,
                    namespace=key.namespace,
                    field_manager=names.FIELD_MANAGER,
                    content_type="application/json-patch+json",
                    **_OPTIONS,
                ),
            )
        except NotFoundError:
            self.mirror.forget((kinds.RESOURCE, key.namespace, key.name))
        else:
            self.mirror.keep(kinds.RESOURCE, stored)

    async def post_event(self, resource: Manifest, event: Event) -> None:
        """See `Port.post_event`."""
        body = event_manifest(resource, event, identity=self._identity, now=datetime.now(UTC))
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        try:
            made = self._client.create(self._kind(kinds.EVENT), body=body, namespace=namespace, **_OPTIONS)
            await self._ask("create", kinds.EVENT, made)
        except ConflictError:
            before = await self._read(kinds.EVENT, namespace, name) or body
            again = {"count": int(before.get("count") or 1) + 1, "lastTimestamp": body["lastTimestamp"]}
            await self._merge(kinds.EVENT, namespace, name, again)

    async def warnings(self, key: Key, uid: str) -> list[Manifest]:
        """See `Port.warnings`."""
        chosen = f"involvedObject.uid={uid},type=Warning"
        request = self._client.get(
            self._kind(kinds.EVENT), namespace=key.namespace, field_selector=chosen, limit=50, **_OPTIONS
        )
        found: list[Manifest] = (await self._ask("list", kinds.EVENT, request)).get("items") or []
        return found

    async def touch_pod(self, key: Key, pod: str, value: str) -> None:
        """See `Port.touch_pod`."""
        try:
            body = {"metadata": {"annotations": {names.ANNOTATION_TOUCHED: value}}}
            self.mirror.keep(kinds.POD, await self._merge(kinds.POD, key.namespace, pod, body))
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

    async def list_all(self, scope: Scope, selector: str) -> tuple[list[Manifest], int]:
        """See `watch.Source`."""
        items: list[Manifest] = []
        # What is listed does not say of what kind it is.
        kind = {"apiVersion": scope.kind.api_version, "kind": scope.kind.kind}
        page: dict[str, Any] = {"label_selector": selector, "limit": PAGE, **_where(scope), **_OPTIONS}
        while True:
            found = await self._ask("list", scope.kind, self._client.get(self._kind(scope.kind), **page))
            items += [{**kind, **item} for item in found.get("items") or []]
            if not found["metadata"].get("continue"):
                return items, int(found["metadata"]["resourceVersion"])
            page["_continue"] = found["metadata"]["continue"]

    async def changes(self, scope: Scope, selector: str, version: int) -> AsyncIterator[tuple[str, Manifest]]:
        """See `watch.Source`."""
        seconds = random.randint(*STREAM_SECONDS)  # noqa: S311 - streams end apart, not for secrets
        async with _translated(), aclosing(self._lines(scope, selector, version, seconds)) as lines:
            async for line in lines:
                told = json.loads(line)
                manifest = told["object"]
                if told["type"] == "ERROR":
                    error = _ERRORS.get(manifest.get("code"), UnavailableError)
                    raise error(f"{manifest.get('code')}: {manifest.get('message')}")
                yield told["type"], manifest

    async def _lines(self, scope: Scope, selector: str, version: int, seconds: int) -> AsyncGenerator[bytes, None]:
        response = await self._client.get(
            self._kind(scope.kind), label_selector=selector, resource_version=str(version), watch="true",
            query_params=[("allowWatchBookmarks", "true")], timeout_seconds=seconds, serialize=False,
            _request_timeout=aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS, sock_read=SILENT_SECONDS),
            **_where(scope),
        )  # fmt: skip
        self._observe("watch", scope.kind.kind, "Done")
        async with response:
            async for line in response.content:
                yield line

    def election(self, lease: Key, *, on_won: Callable[[], Coroutine[Any, Any, None]]) -> LeaderElection:
        """Return a candidacy for a Lease; its `run` ends when the Lease was lost again."""
        return candidacy(self._client.client, lease, self._identity, on_won=on_won)

    async def release(self, lease: Key) -> None:
        """Give up a Lease that this process holds, so that the next one need not wait for its end."""
        found = await self._read(kinds.LEASE, lease.namespace, lease.name)
        if found is None or found["spec"].get("holderIdentity") != self._identity:
            return
        version = found["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": version}, "spec": {"holderIdentity": None}}
        await self._merge(kinds.LEASE, lease.namespace, lease.name, body)

    async def _read(self, kind: KindRef, namespace: str, name: str) -> Manifest | None:
        if not _NAME.match(name):
            # The client puts names into addresses as they are: `../../kube-system/secrets/x` would be another's.
            return None
        try:
            return await self._ask(
                "get", kind, self._client.get(self._kind(kind), name=name, namespace=namespace, **_OPTIONS)
            )
        except NotFoundError:
            return None

    async def _merge(self, kind: KindRef, namespace: str, name: str, body: Manifest) -> Manifest:
        return await self._ask(
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
        made = self._kinds.get(kind)
        if made is None:
            made = self._kinds[kind] = self._made(kind)
        return made

    def _made(self, kind: KindRef) -> Resource:
        group, _, version = kind.api_version.rpartition("/")
        plural = kinds.PLURALS[kind]
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


def _where(scope: Scope) -> dict[str, str]:
    return {"namespace": scope.namespace} if scope.namespace else {}


_NAME = re.compile(names.OBJECT_NAME)
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
        said = _sentence(error)
        retry = (error.status or 500) >= _SERVER_FAULT and not _MISTYPED.search(said)
        kind = _ERRORS.get(error.status or 0, UnavailableError if retry else DeniedError)
        raise kind(said) from error
    except _UNREACHABLE as error:
        raise UnavailableError(f"the API server did not answer: {type(error).__name__}") from error


_SERVER_FAULT = 500
_MISTYPED = re.compile("failed to (create typed patch|convert new|convert new typed) object")
"""How server-side apply answers, with 500, to an unknown field or a value that is none: trying again is no use."""
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
