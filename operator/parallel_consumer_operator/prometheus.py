"""Asks Prometheus (or Thanos, or VictoriaMetrics): the only importer of prometheus_api_client.

The client blocks, so it runs in a pool of eight threads, with five seconds for each request. Foreign errors leave as
MetricsUnavailableError. What is asked, and what the answers mean, is `tuning/queries.py`.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from parallel_consumer_operator.errors import MetricsUnavailableError
from parallel_consumer_operator.tuning.queries import Answer, Scope, questions, read

THREADS = 8
"""Requests under way at once, over all resources (design)."""
TIMEOUT_SECONDS = 5
"""For connecting, and for each read (design)."""
WAIT_SECONDS = 30.0
"""For an answer with waiting for a thread: a server that hangs must not hold up a control loop for longer."""
FRESH_SECONDS = 2.0
"""An answer of this age is good enough for everyone; failures are shared for as long."""
KEPT = 1_024
"""Answers and connections kept at most."""


@dataclass(frozen=True, slots=True)
class Access:
    """A server and how to be let in. Never printed with its secrets."""

    address: str
    bearer_token: str = field(default="", repr=False)
    basic_auth: tuple[str, str] | None = field(default=None, repr=False)
    ca_pem: str = field(default="", repr=False)


class _TrustingAdapter(HTTPAdapter):
    """Trusts the given certificates beside the usual ones, without a file."""

    def __init__(self, ca_pem: str) -> None:
        self._context = ssl.create_default_context(cadata=ca_pem)
        super().__init__(max_retries=Retry(0), pool_maxsize=THREADS)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)


class Prometheus:
    """One pool of threads, and what was just asked."""

    def __init__(self, observe: Callable[[str], None] = lambda _outcome: None) -> None:
        self._observe = observe
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="prometheus")
        self._connections: dict[Access, PrometheusConnect] = {}
        self._asked: dict[tuple[Access, Scope], tuple[float, asyncio.Task[Mapping[tuple[str, str], Answer]]]] = {}

    async def ask(
        self, access: Access, scope: Scope, *, fresh_seconds: float = FRESH_SECONDS
    ) -> Mapping[tuple[str, str], Answer]:
        """Return what is known of every resource in scope, by (namespace, resource); at most so many seconds old.

        Whoever asks meanwhile shares the answer: a thousand resources that look every 15 s cost one round in 15 s.
        Raises MetricsUnavailableError when the server cannot be reached, refuses, or answers something else.
        """
        now, key = asyncio.get_running_loop().time(), (access, scope)
        asked_at, task = self._asked.get(key, (float("-inf"), None))
        age = now - asked_at
        if task is None or (task.done() and age > (FRESH_SECONDS if _failed(task) else fresh_seconds)):
            task = asyncio.create_task(self._ask(access, scope))
            _keep(self._asked, key, (now, task))
        return await asyncio.shield(task)

    def close(self) -> None:
        """Ask no more; requests under way end by their timeout."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, access: Access, scope: Scope) -> Mapping[tuple[str, str], Answer]:
        loop = asyncio.get_running_loop()
        connection = self._connection(access)
        asked = [loop.run_in_executor(self._pool, self._query, connection, text) for text in questions(scope)]
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                answers = await asyncio.gather(*asked)
        except TimeoutError as error:
            raise MetricsUnavailableError(f"{access.address} did not answer within {WAIT_SECONDS:.0f} s") from error
        # In a thread as well: a thousand resources have forty thousand rows.
        return await loop.run_in_executor(self._pool, read, [row for rows in answers for row in rows])

    def _query(self, connection: PrometheusConnect, text: str) -> Sequence[Mapping[str, Any]]:
        """Run in a thread."""
        try:
            rows = _rows(connection, text)
        except MetricsUnavailableError:
            self._observe("Failed")
            raise
        self._observe("Done")
        return rows

    def _connection(self, access: Access) -> PrometheusConnect:
        if access not in self._connections:
            _keep(self._connections, access, _connect(access))
        return self._connections[access]


def _failed(task: "asyncio.Task[Any]") -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _keep(kept: dict[Any, Any], key: Any, value: Any) -> None:
    kept.pop(key, None)
    kept[key] = value
    while len(kept) > KEPT:
        kept.pop(next(iter(kept)))


def _connect(access: Access) -> PrometheusConnect:
    session = requests.Session()
    session.trust_env = False
    headers = {"Authorization": f"Bearer {access.bearer_token}"} if access.bearer_token else None
    address = access.address.rstrip("/")
    connection = PrometheusConnect(
        url=address,
        headers=headers,
        auth=access.basic_auth,
        session=session,
        retry=Retry(0),
        timeout=TIMEOUT_SECONDS,
    )
    if access.ca_pem:
        # After the client's own, which it has mounted at the same address.
        session.mount(address, _adapter(access))
    return connection


def _adapter(access: Access) -> _TrustingAdapter:
    try:
        return _TrustingAdapter(access.ca_pem)
    except ssl.SSLError as error:
        raise MetricsUnavailableError(f"the CA for {access.address} is no PEM certificate: {error}") from error


def _rows(connection: PrometheusConnect, text: str) -> Sequence[Mapping[str, Any]]:
    try:
        rows = connection.custom_query(text)
    except requests.RequestException as error:
        raise MetricsUnavailableError(f"{connection.url} cannot be asked: {_short(error)}") from error
    except PrometheusApiClientException as error:
        raise MetricsUnavailableError(f"{connection.url} refuses: {_short(error)}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise MetricsUnavailableError(
            f"{connection.url} does not answer as Prometheus does: {_short(error)}"
        ) from error
    if not isinstance(rows, list):
        raise MetricsUnavailableError(f"{connection.url} does not answer as Prometheus does: no list of results")
    return rows


def _short(error: Exception) -> str:
    """Return the innermost reason: requests wraps it into a text that begins with the whole query."""
    cause = error.args[0] if error.args else error
    return str(getattr(cause, "reason", cause)).replace("\n", " ")[:300]
