"""A tenant's "Prometheus" that is none: what it can make the operator do, and what comes back to the tenant."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler

import pytest
from made_http import answering, say

from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator import prometheus as module
from parallel_consumer_operator.errors import MetricsUnavailableError
from parallel_consumer_operator.port import Key
from parallel_consumer_operator.prometheus import Access, Prometheus
from parallel_consumer_operator.resource.tuning import TuningSpec
from parallel_consumer_operator.resource.tuning_status import KnobValues, TuningStatus
from parallel_consumer_operator.tune import PrometheusTuner
from parallel_consumer_operator.tune_seam import TuneSubject
from parallel_consumer_operator.tuning.observation import Circumstances
from parallel_consumer_operator.tuning.queries import Scope

SCOPE = Scope(("shop",), 120, 600)
EMPTY = b'{"status": "success", "data": {"resultType": "vector", "result": []}}'


@pytest.fixture
async def prometheus() -> AsyncIterator[Prometheus]:
    """A client of its own for each test."""
    client = Prometheus()
    yield client
    client.close()


async def test_a_redirect_is_not_followed(prometheus: Prometheus) -> None:
    """The operator asks where it was told to and nowhere else."""
    with (
        answering(lambda handler: say(handler, EMPTY)) as (inside, asked),
        answering(lambda handler: say(handler, b"", 302, Location=inside)) as (address, _),
    ):
        with pytest.raises(MetricsUnavailableError, match="redirects"):
            await prometheus.ask(Access(address, foreign=True), SCOPE)
        assert asked == []


async def test_what_a_foreign_server_says_is_not_shown(prometheus: Prometheus) -> None:
    """The tenant reads the status code; the body of whatever answers there stays with the operator."""
    with answering(lambda handler: say(handler, b"the inside's secret", 403)) as (address, _):
        with pytest.raises(MetricsUnavailableError, match=r"refuses: HTTP Status Code 403$"):
            await prometheus.ask(Access(address, foreign=True), SCOPE)
        with pytest.raises(MetricsUnavailableError, match="the inside's secret"):
            await prometheus.ask(Access(address), SCOPE)  # the administrator's own may explain itself
    with answering(lambda handler: say(handler, b"the inside's secret")) as (address, _):
        with pytest.raises(MetricsUnavailableError) as caught:
            await prometheus.ask(Access(address, foreign=True), SCOPE)
        assert "secret" not in str(caught.value)


async def test_an_answer_without_end_is_cut_off(prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator's memory is everybody's."""
    monkeypatch.setattr(module, "ANSWER_BYTES", 1_000_000)

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b" " * 100_000)
        except OSError:
            handler.close_connection = True

    longer = pytest.raises(MetricsUnavailableError, match="its answer is longer than")
    with answering(endless) as (address, _), longer:
        await asyncio.wait_for(prometheus.ask(Access(address, foreign=True), SCOPE), 20)


async def test_a_foreign_server_that_hangs_holds_up_no_other(prometheus: Prometheus) -> None:
    """The operator's own Prometheus is asked by threads of its own."""
    with (
        answering(lambda handler: handler.rfile.read()) as (hung, asked),
        answering(lambda handler: say(handler, EMPTY)) as (own, _),
    ):
        waiting = asyncio.create_task(prometheus.ask(Access(hung, foreign=True), SCOPE))
        async with asyncio.timeout(4):
            while len(asked) < module.FOREIGN_THREADS:  # noqa: ASYNC110 - a thread's list tells nobody
                await asyncio.sleep(0.01)
        assert await prometheus.ask(Access(own), SCOPE) == {}
        assert not waiting.done()
        with pytest.raises(MetricsUnavailableError):
            await waiting


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]"])
async def test_the_nodes_own_services_are_not_asked(prometheus: Prometheus, host: str) -> None:
    """A cloud gives a node's credentials to whoever asks there."""
    with pytest.raises(MetricsUnavailableError, match="link-local"):
        await prometheus.ask(Access(f"http://{host}", foreign=True), SCOPE)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("/latest/meta-data?x=", "may not hold ?"),
        ("/admin#", "may not hold #"),
        ("", ""),
        ("/", ""),
        (":1", "does not allow"),
        ("/other", "does not allow"),
    ],
)
async def test_the_administrators_list_bounds_what_a_resource_may_name(
    prometheus: Prometheus, address: str, said: str
) -> None:
    """A base address from the list; anything else is told with whom to ask, and no request is made."""
    with answering(lambda handler: say(handler, EMPTY)) as (listed, asked):
        tuner = PrometheusTuner(prometheus, allowed=frozenset({listed}))
        outcome = await tuner(_subject(listed + address), now=datetime.now(UTC))
        assert said in (outcome.missing or "")
        assert bool(asked) == (said == "")
        assert all(path.startswith("/api/v1/query?") for path in asked)


def _subject(address: str) -> TuneSubject:
    start = KnobValues(max_in_flight=16)
    return TuneSubject(
        key=Key("shop", "orders"),
        spec=TuningSpec.model_validate({"prometheus": {"address": address}}),
        circumstances=Circumstances(
            mode=Mode.ASYNC, current=start, starts=start, ready_replicas=1, desired_replicas=1, applied=True
        ),
        profile={},
        memory=TuningStatus(),
        pods=frozenset({"orders-a"}),
    )
