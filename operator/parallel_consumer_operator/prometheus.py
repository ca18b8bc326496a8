"""Asks Prometheus (or Thanos, or VictoriaMetrics): the only importer of prometheus_api_client.

The client blocks, so it runs in a pool of eight threads, with five seconds for each request. Foreign errors leave as
MetricsUnavailableError. What is asked, and what the answers mean, is `tuning/queries.py`.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

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
FOREIGN_THREADS = 2
"""Beside those, for servers that resources name: one that hangs holds up its like, not the operator's own."""
READ_SECONDS = 20.0
"""For a whole answer, however slowly it drips."""
ANSWER_BYTES = 64 * 2**20
"""An answer may be so long; that about a thousand resources is a tenth of it."""
WAIT_SECONDS = 30.0
"""For an answer with waiting for a thread: a server that hangs must not hold up a control loop for longer."""
FRESH_SECONDS = 2.0
"""An answer of this age is good enough for everyone; failures are shared for as long."""
KEPT = 1_024
"""Answers and connections kept at most."""
OPTIONS = {"nocache": "1"}
"""Without it VictoriaMetrics answers with the state of 30 s ago (`-search.latencyOffset`), dated now: a verdict would
take figures from before a step for those after it. Prometheus and Thanos ignore it."""


@dataclass(frozen=True, slots=True)
class Access:
    """A server and how to be let in. Never printed with its secrets."""

    address: str
    bearer_token: str = field(default="", repr=False)
    basic_auth: tuple[str, str] | None = field(default=None, repr=False)
    ca_pem: str = field(default="", repr=False)
    foreign: bool = False
    """Named by a resource, not by the operator's administrator: asked apart, and its words are not shown."""


class _Bounded:
    """A response's stream that ends after so many bytes and seconds; all else is the stream's own."""

    def __init__(self, raw: Any) -> None:
        self._raw, self._left, self._until = raw, ANSWER_BYTES, time.monotonic() + READ_SECONDS

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        """Yield the parts; raises RequestException beyond the bounds."""
        for part in self._raw.stream(*args, **kwargs):
            self._left -= len(part)
            if self._left < 0 or time.monotonic() > self._until:
                self._raw.close()
                raise requests.RequestException(
                    f"its answer is longer than {ANSWER_BYTES >> 20} MiB or takes longer than {READ_SECONDS:.0f} s"
                )
            yield part


class _Adapter(HTTPAdapter):
    """One try and a bounded answer; the given certificates are trusted beside the usual ones, without a file."""

    def __init__(self, access: Access) -> None:
        self._foreign = access.foreign
        self._trust: dict[str, Any] = {}
        if access.ca_pem:
            self._trust["ssl_context"] = ssl.create_default_context(cadata=access.ca_pem)
        super().__init__(max_retries=Retry(0), pool_maxsize=THREADS)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """See HTTPAdapter."""
        kwargs |= self._trust
        super().init_poolmanager(*args, **kwargs)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """See HTTPAdapter."""
        if self._foreign:
            _require_not_link_local(request.url or "")
        response = super().send(request, *args, **kwargs)
        response.raw = _Bounded(response.raw)
        return response


class Prometheus:
    """One pool of threads, and what was just asked."""

    def __init__(self, observe: Callable[[str], None] = lambda _outcome: None) -> None:
        self._observe = observe
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="prometheus")
        self._foreign = ThreadPoolExecutor(FOREIGN_THREADS, thread_name_prefix="prometheus-foreign")
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
        for pool in (self._pool, self._foreign):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, access: Access, scope: Scope) -> Mapping[tuple[str, str], Answer]:
        loop = asyncio.get_running_loop()
        connection, pool = self._connection(access), self._foreign if access.foreign else self._pool
        asked = [loop.run_in_executor(pool, self._query, connection, text, access.foreign) for text in questions(scope)]
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                answers = await asyncio.gather(*asked)
        except TimeoutError as error:
            raise MetricsUnavailableError(f"{access.address} did not answer within {WAIT_SECONDS:.0f} s") from error
        # In a thread as well: a thousand resources have forty thousand rows.
        return await loop.run_in_executor(self._pool, read, [row for rows in answers for row in rows])

    def _query(self, connection: PrometheusConnect, text: str, foreign: bool) -> Sequence[Mapping[str, Any]]:  # noqa: FBT001 - an executor passes by place
        """Run in a thread."""
        try:
            rows = _rows(connection, text, foreign=foreign)
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
    # A redirect would lead to where nobody allowed it.
    session.max_redirects = 0
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
    # After the client's own, which it has mounted at the same address.
    session.mount(address, _adapter(access))
    return connection


def _adapter(access: Access) -> _Adapter:
    try:
        return _Adapter(access)
    except ssl.SSLError as error:
        raise MetricsUnavailableError(f"the CA for {access.address} is no PEM certificate: {error}") from error


def _require_not_link_local(url: str) -> None:
    """Raise RequestException for an address at which a node's own services are, as a cloud's for its credentials."""
    try:
        found = socket.getaddrinfo(urlsplit(url).hostname, None)
    except OSError:
        return  # the request itself says so better
    for *_, place in found:
        address = ip_address(str(place[0]).partition("%")[0])
        if (getattr(address, "ipv4_mapped", None) or address).is_link_local:
            raise requests.RequestException(f"{address} is link-local: the node's own services are there")


def _rows(connection: PrometheusConnect, text: str, *, foreign: bool) -> Sequence[Mapping[str, Any]]:
    try:
        rows = connection.custom_query(text, params=OPTIONS)
    except requests.RequestException as error:
        raise MetricsUnavailableError(f"{connection.url} cannot be asked: {_short(error)}") from error
    except PrometheusApiClientException as error:
        told = _short(error)
        raise MetricsUnavailableError(
            f"{connection.url} refuses: {told.partition(' (')[0] if foreign else told}"
        ) from error
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
