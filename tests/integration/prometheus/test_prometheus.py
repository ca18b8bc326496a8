import asyncio
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import made_victoria
import pytest
from made_http import answering, pass_on
from made_pods import GROWTH, RATE, RETRIES, SERVICE, MadePod
from made_server import LONG_WINDOW, NAMESPACE, WINDOW, free_port, start_prometheus, wait_for

from benchmarks import tuning_cycles
from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator.errors import MetricsUnavailableError, NotFoundError
from parallel_consumer_operator.port import Key
from parallel_consumer_operator.prometheus import Access, Prometheus
from parallel_consumer_operator.resource.tuning import TuningSpec
from parallel_consumer_operator.resource.tuning_status import KnobValues, TuningStatus
from parallel_consumer_operator.tune import LOOKS_PER_WINDOW, PrometheusTuner
from parallel_consumer_operator.tune_seam import TuneSubject
from parallel_consumer_operator.tuning.observation import Circumstances, Measurement
from parallel_consumer_operator.tuning.queries import Scope, measurement, questions

SCOPE = Scope((NAMESPACE,), WINDOW, LONG_WINDOW)


@pytest.fixture
async def prometheus() -> AsyncIterator[Prometheus]:
    """A client of its own for each test: nothing is remembered from another."""
    client = Prometheus()
    yield client
    client.close()


async def measure(prometheus: Prometheus, address: str, resource: str, *pods: str) -> Measurement:
    """Ask as the tuner does."""
    answers = await prometheus.ask(Access(address), SCOPE)
    return measurement(answers.get((NAMESPACE, resource)), pods=pods, window=WINDOW)


def _is_straight(seen: Measurement) -> bool:
    """Whether both windows hold scrapes at even distances."""
    return all(rate == pytest.approx(4 * RATE, rel=0.05) for rate in (seen.rate, seen.rate_long))


async def test_figures_are_those_of_the_pods(prometheus: Prometheus, server: str) -> None:
    """Each figure that comes back through a real Prometheus is what the pods' series say, over both pods."""
    deadline = asyncio.get_running_loop().time() + 30
    seen = await measure(prometheus, server, "orders", "orders-a", "orders-b")
    # Scrapes that came late on a busy machine bend a window of six seconds; the next windows are straight again.
    while not _is_straight(seen) and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(3)
        seen = await measure(prometheus, server, "orders", "orders-a", "orders-b")
    assert seen.rate == pytest.approx(4 * RATE, rel=0.1)
    assert seen.rate_long == pytest.approx(4 * RATE, rel=0.1)
    assert seen.backlog_slope == pytest.approx(4 * GROWTH, rel=0.1)
    assert seen.arrivals == pytest.approx(4 * (RATE + GROWTH), rel=0.1)
    assert seen.backlog == pytest.approx(4 * GROWTH * 1_000, rel=0.1)
    assert seen.service_seconds == pytest.approx(SERVICE, rel=0.05)
    assert seen.latency_seconds_p99 == pytest.approx(0.025, rel=0.1)
    assert seen.limit_full == pytest.approx(0.75, rel=0.1)
    assert (seen.in_flight, seen.queued, seen.backpressure) == (28, 10, 1)
    assert seen.busy == pytest.approx(6.0, rel=0.1)
    assert seen.cpu_cores == pytest.approx(0.8, rel=0.1)
    assert (seen.cpu_limit_cores, seen.memory_ratio, seen.partitions, seen.pods) == (2, 0.25, 4, 2)
    assert seen.error_ratio == pytest.approx(2 * RETRIES / (4 * RATE + 2 * RETRIES), rel=0.1)
    assert seen.rebalances == 0
    assert seen.age_seconds < WINDOW / 2


async def test_one_answer_serves_every_resource_of_the_namespace(prometheus: Prometheus, server: str) -> None:
    """Cycles of many resources at one moment are one question to the server, not one each."""
    answers = await asyncio.gather(*(prometheus.ask(Access(server), SCOPE) for _ in range(100)))
    assert all(answer is answers[0] for answer in answers)
    assert {name for _, name in answers[0]} >= {"orders", "not-a-number"}


async def test_a_pod_without_series_is_missed(prometheus: Prometheus, server: str) -> None:
    """Figures of two pods are not taken for those of three."""
    with pytest.raises(MetricsUnavailableError, match="1 of 3 ready pods have no series, orders-c"):
        await measure(prometheus, server, "orders", "orders-a", "orders-b", "orders-c")


async def test_not_a_number_is_no_figure(prometheus: Prometheus, server: str) -> None:
    """NaN from a pod holds, and names the figure."""
    with pytest.raises(MetricsUnavailableError, match="in_flight is nan"):
        await measure(prometheus, server, "not-a-number", "nan-a")


async def test_partitions_without_backlog_are_missed(prometheus: Prometheus, server: str) -> None:
    """Absent is not zero: assigned partitions whose backlog nobody reports hold."""
    with pytest.raises(MetricsUnavailableError, match="the backlog of 2 of 2 partitions is unknown"):
        await measure(prometheus, server, "partial", "partial-a")


async def test_a_resource_that_nobody_scrapes_is_missed(prometheus: Prometheus, server: str) -> None:
    """No series at all says where to look."""
    with pytest.raises(MetricsUnavailableError, match="PodMonitor"):
        await measure(prometheus, server, "unknown", "unknown-a")


async def test_a_pod_that_stops_answering_is_missed(
    prometheus: Prometheus, server: str, made_pods: dict[str, list[MadePod]]
) -> None:
    """After a failed scrape the last values do not live on."""
    await measure(prometheus, server, "vanishing", "vanishing-a")
    made_pods["vanishing"][0].stop()
    await asyncio.sleep(4)
    with pytest.raises(MetricsUnavailableError, match="no series"):
        await measure(prometheus, server, "vanishing", "vanishing-a")


async def test_an_unreachable_server_is_told(prometheus: Prometheus) -> None:
    """Nothing listens: the address and the reason, within the timeout, and no foreign exception."""
    with pytest.raises(MetricsUnavailableError, match="cannot be asked"):
        await prometheus.ask(Access(f"http://127.0.0.1:{free_port()}"), SCOPE)


async def test_a_wrong_path_is_told(prometheus: Prometheus, server: str) -> None:
    """A server that answers something else is named."""
    with pytest.raises(MetricsUnavailableError, match="refuses: HTTP Status Code 404"):
        await prometheus.ask(Access(f"{server}/elsewhere"), SCOPE)


async def test_a_query_that_fails_is_told(prometheus: Prometheus, server: str) -> None:
    """The server's own words about a query reach the reader."""
    with pytest.raises(MetricsUnavailableError, match="refuses"):
        await prometheus.ask(Access(server), Scope((NAMESPACE,), 0, LONG_WINDOW))


@pytest.fixture(scope="module")
def guarded(made_pods: dict[str, list[MadePod]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A server with TLS and basic auth (user ann, password secret): its address, and its certificate."""
    folder = tmp_path_factory.mktemp("guarded")
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *name]
    subprocess.run([*made, "-keyout", folder / "key.pem", "-out", folder / "ca.pem"], check=True, capture_output=True)
    # bcrypt of "secret", cost 4
    hashed = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
    web = f"tls_server_config: {{cert_file: ca.pem, key_file: key.pem}}\nbasic_auth_users: {{ann: '{hashed}'}}\n"
    (folder / "web.yml").write_text(web)
    process, address = start_prometheus(folder, made_pods, f"--web.config.file={folder}/web.yml")
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    url = f"https://localhost:{address.rsplit(':', 1)[1]}"
    try:
        wait_for(lambda: _answers(url, context), 30, "guarded prometheus answered")
        yield url, (folder / "ca.pem").read_text()
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str, context: ssl.SSLContext) -> bool:
    try:
        urllib.request.urlopen(f"{url}/-/ready", timeout=1, context=context).close()  # noqa: S310 - ours
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False
    return True


async def test_basic_auth_and_a_ca_of_ones_own(prometheus: Prometheus, guarded: tuple[str, str]) -> None:
    """With the right user and CA it answers; without either it says what is wrong."""
    address, ca = guarded
    assert isinstance(await prometheus.ask(Access(address, basic_auth=("ann", "secret"), ca_pem=ca), SCOPE), dict)
    with pytest.raises(MetricsUnavailableError, match="401"):
        await prometheus.ask(Access(address, basic_auth=("ann", "wrong"), ca_pem=ca), SCOPE)
    with pytest.raises(MetricsUnavailableError, match=r"(?i)certificate"):
        await prometheus.ask(Access(address, basic_auth=("ann", "secret")), SCOPE)


async def test_a_ca_that_is_none(prometheus: Prometheus) -> None:
    """A Secret with something else in it is named, not a traceback."""
    with pytest.raises(MetricsUnavailableError, match="no PEM certificate"):
        await prometheus.ask(Access("https://localhost", ca_pem="rubbish"), SCOPE)


@pytest.fixture
def token_wanted(server: str) -> Iterator[str]:
    """A proxy in front of the real server that lets nobody in without the token `open-sesame`: its address."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        if handler.headers.get("Authorization") != "Bearer open-sesame":
            handler.send_error(403)
            return
        pass_on(handler, server + handler.path)

    with answering(reply) as (address, _):
        yield address


async def test_bearer_token(prometheus: Prometheus, token_wanted: str) -> None:
    """A token goes with every question: a server that wants it lets us in with it only."""
    answers = await prometheus.ask(Access(token_wanted, bearer_token="open-sesame"), SCOPE)  # noqa: S106 - made up
    assert (NAMESPACE, "orders") in answers
    with pytest.raises(MetricsUnavailableError, match="403"):
        await prometheus.ask(Access(token_wanted), SCOPE)


async def test_victoria_metrics_is_asked_in_its_own_words_and_for_the_present(
    prometheus: Prometheus, server: str
) -> None:
    """Every question is one that it takes, and the figures are of now, not of its latency offset ago."""
    with made_victoria.in_front_of(server) as (address, asked):
        seen = await measure(prometheus, address, "orders", "orders-a", "orders-b")
    assert sorted(asked) == sorted(questions(SCOPE))
    beside = await measure(prometheus, server, "orders", "orders-a", "orders-b")
    assert seen.backlog == pytest.approx(beside.backlog, abs=4 * GROWTH * made_victoria.LATE / 2)
    assert seen.rate == pytest.approx(beside.rate, rel=0.2)


async def test_the_operators_own_token_is_read_at_each_look_and_goes_nowhere_else(
    prometheus: Prometheus, token_wanted: str, tmp_path: Path
) -> None:
    """A rotated token is taken at once; a resource's own address never gets the operator's."""
    token = tmp_path / "token"
    tuner = PrometheusTuner(prometheus, default_address=token_wanted, token_file=str(token))
    assert "cannot be read" in (await tuner(subject({}), now=datetime.now(UTC))).missing
    token.write_text("yesterday's")
    assert "403" in (await tuner(subject({}), now=datetime.now(UTC))).missing
    token.write_text("open-sesame\n")
    assert (await tuner(subject({}), now=datetime.now(UTC))).measured
    assert "403" in (await tuner(subject({"address": token_wanted}), now=datetime.now(UTC))).missing


def test_secrets_are_not_printed() -> None:
    """A repr in a log line shows neither token nor password nor CA."""
    shown = repr(Access("http://x", bearer_token="t0ken", basic_auth=("ann", "pa55"), ca_pem="PEM"))  # noqa: S106 - made up
    assert "t0ken" not in shown
    assert "pa55" not in shown


async def test_a_window_of_which_only_the_end_was_scraped_is_no_window(prometheus: Prometheus, server: str) -> None:
    """Rates over a part of it would be too low, and a decision from them wrong: it is waited for, and said so."""
    longer = Scope((NAMESPACE,), 3_600, 7_200)
    answers = await prometheus.ask(Access(server), longer)
    with pytest.raises(MetricsUnavailableError, match="0 of 2 pods have been scraped for the whole window of 3600 s"):
        measurement(answers[NAMESPACE, "orders"], pods=["orders-a", "orders-b"], window=3_600)


@pytest.mark.parametrize(
    "namespace", ['x"} or up{job=~".+', "x|.*", ".*", "x\\", 'y",namespace=~".*', "x\n"], ids=range(6)
)
async def test_a_namespace_that_is_a_query_stays_a_name(prometheus: Prometheus, server: str, namespace: str) -> None:
    """Quotes, backslashes, newlines and regular expressions in a label's value match no other series; alone or not."""
    for namespaces in ((namespace,), (namespace, "nowhere")):
        assert await prometheus.ask(Access(server), Scope(namespaces, WINDOW, LONG_WINDOW)) == {}
    both = await prometheus.ask(Access(server), Scope((namespace, NAMESPACE), WINDOW, LONG_WINDOW))
    assert {found for found, _ in both} == {NAMESPACE}


async def test_an_operator_of_all_namespaces_asks_once_for_all(prometheus: Prometheus, server: str) -> None:
    """Without a namespace, or with more than fit into a query, everything comes back."""
    for namespaces in ((), tuple(f"namespace-{number}" for number in range(100))):
        answers = await prometheus.ask(Access(server), Scope(namespaces, WINDOW, LONG_WINDOW))
        assert (NAMESPACE, "orders") in answers


async def test_an_answer_is_shared_for_as_long_as_it_is_fresh_enough(server: str) -> None:
    """Whoever may see an older one gets it; whoever needs a newer one lets ask again; a failure is shared as well."""
    told: list[str] = []
    prometheus = Prometheus(told.append)
    try:
        first = await prometheus.ask(Access(server), SCOPE, fresh_seconds=60)
        once = len(told)
        assert await prometheus.ask(Access(server), SCOPE, fresh_seconds=60) is first
        assert len(told) == once
        await asyncio.sleep(0.1)
        assert await prometheus.ask(Access(server), SCOPE, fresh_seconds=0.05) is not first
        assert told == ["Done"] * 2 * once
        for _ in range(3):
            with pytest.raises(MetricsUnavailableError):
                await prometheus.ask(Access(f"{server}/elsewhere"), SCOPE)
        assert told.count("Failed") <= once
    finally:
        prometheus.close()


async def test_a_server_that_hangs_is_given_up(prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the connection and never answers: the loop that asked goes on after the timeout."""
    monkeypatch.setattr("parallel_consumer_operator.prometheus.TIMEOUT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = asyncio.get_running_loop().time()
        with pytest.raises(MetricsUnavailableError, match=r"(?i)timed? ?out"):
            await prometheus.ask(Access(f"http://127.0.0.1:{silent.getsockname()[1]}"), SCOPE)
        assert asyncio.get_running_loop().time() - begun < 20


def test_two_hundred_resources_cost_as_many_queries_as_one() -> None:
    """Ten namespaces, all in Recommend, each looking at times of its own: one round of questions for each look."""
    cost = tuning_cycles.measure(200, 6, window_seconds=8)
    rounds = cost.seconds / (8 / LOOKS_PER_WINDOW) + 1
    assert cost.cycles >= 200
    assert cost.measured >= cost.cycles / 2  # on a busy machine some scrapes come late
    assert cost.queries <= len(questions(Scope((), 8, 32))) * rounds


SECRETS = {"login": {"username": "ann", "password": "secret"}, "half": {"username": "ann"}}


def subject(source: dict[str, object]) -> TuneSubject:
    """Return the resource `orders` with a Prometheus of its own."""
    windows = {"windowSeconds": WINDOW, "longWindowSeconds": LONG_WINDOW}
    start = KnobValues(max_in_flight=16)
    known = Circumstances(
        mode=Mode.ASYNC, current=start, starts=start, ready_replicas=2, desired_replicas=2, applied=True
    )
    return TuneSubject(
        key=Key(NAMESPACE, "orders"),
        spec=TuningSpec.model_validate({"prometheus": source, "behavior": windows}),
        circumstances=known,
        profile={},
        memory=TuningStatus(),
        pods=frozenset({"orders-a", "orders-b"}),
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"basicAuthSecretRef": None}, "401"),
        ({"basicAuthSecretRef": {"name": "half"}}, "Secret half has no key 'password'"),
        ({"basicAuthSecretRef": {"name": "gone"}}, "no Secret gone"),
        ({"caSecretRef": None}, "ertificate"),
        ({"address": None}, ""),
    ],
    ids=["all of it", "no login", "half a login", "no Secret", "no CA", "the operator's address"],
)
async def test_a_resource_brings_its_own_server_and_credentials(
    prometheus: Prometheus, guarded: tuple[str, str], changes: dict[str, object], said: str
) -> None:
    """Address, login and CA from the resource's spec and Secrets; what is missing is said in the tuner's status."""
    address, ca = guarded

    async def secrets(_key: Key, name: str) -> Mapping[str, str]:
        if name not in {*SECRETS, "authority"}:
            raise NotFoundError(f"there is no Secret {name}")
        return {"ca.crt": ca} if name == "authority" else SECRETS[name]

    whole = {"address": address, "basicAuthSecretRef": {"name": "login"}, "caSecretRef": {"name": "authority"}}
    tuner = PrometheusTuner(prometheus, default_address=address, secrets=secrets)
    deadline = asyncio.get_running_loop().time() + 60
    outcome = await tuner(subject({**whole, **changes}), now=datetime.now(UTC))
    # The guarded server has begun to scrape only now; until then it says that its window is not whole.
    while not said and not outcome.measured and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(1)
        outcome = await tuner(subject({**whole, **changes}), now=datetime.now(UTC))
    assert outcome.measured is not bool(said), outcome.missing
    assert said in outcome.missing
