"""The API server goes away, refuses, answers late, or changes the definition under load; many resources come and go.

`Any` stands for the fixtures' types: a conftest cannot be imported from.
"""

import asyncio
import dataclasses
import json
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

pytestmark = pytest.mark.cluster
MANY = 200
SHARE = 0.3
"""Of requests that the proxy refuses."""


def is_there(lab: Any, name: str = "orders", **execution: Any) -> bool:
    """Whether the settings hold these values and the status tells of the present spec."""
    found, resource = lab.get("configmap", f"{name}-settings"), lab.get("pcon", name)
    if not found or not lab.get("deployment", name) or not resource:
        return False
    settings = yaml.safe_load(found["data"]["runtime.yaml"])["execution"]
    observed = resource.get("status", {}).get("observedGeneration") == resource["metadata"]["generation"]
    return observed and execution.items() <= settings.items()


def restart_api_server(lab: Any, *, away_seconds: float) -> None:
    """Kill the API server with 9, and start it again over the same data."""
    lab.cluster.kill("kube-apiserver")
    time.sleep(away_seconds)
    lab.cluster.start()


def test_the_operator_outlives_an_api_server_that_is_killed(lab: Any, operator: Any) -> None:
    """Away for 20 s: the same process goes on, its watches of the resource and of the children tell again."""
    lab.apply(lab.consumer(execution={"maxInFlight": 16}))
    lab.eventually(lambda: is_there(lab, max_in_flight=16))
    restart_api_server(lab, away_seconds=20)
    assert operator.process.poll() is None
    lab.apply(lab.consumer(execution={"maxInFlight": 32}))
    lab.eventually(lambda: is_there(lab, max_in_flight=32), seconds=60)
    lab.done("delete", "configmap", "orders-settings")
    lab.eventually(lambda: is_there(lab, max_in_flight=32), seconds=60)
    assert operator.process.poll() is None


def test_the_definition_is_replaced_while_resources_change(lab: Any, operator: Any) -> None:
    """An older definition without a field, then ours again, with an edit at each: every edit is followed, none lost."""
    lab.apply(lab.consumer(execution={"maxInFlight": 16}))
    lab.eventually(lambda: is_there(lab, max_in_flight=16))
    definition = "crd/parallelconsumers.parallelconsumer.dev"
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/suspend"
    schema = json.loads(lab.done("get", definition, "-o", "json"))
    kept = schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["suspend"]
    for turn in range(1, 4):
        lab.done("patch", definition, "--type=json", "-p", json.dumps([{"op": "remove", "path": path}]))
        lab.apply(lab.consumer(execution={"maxInFlight": 16 + turn}))
        lab.done("patch", definition, "--type=json", "-p", json.dumps([{"op": "add", "path": path, "value": kept}]))
        lab.eventually(lambda turn=turn: is_there(lab, max_in_flight=16 + turn), seconds=60)
    assert operator.process.poll() is None


def test_two_hundred_resources_come_and_go_at_once(lab: Any, operator: Any) -> None:
    """Each gets its children; after the deletion nothing of them is left, and the operator's loops have ended."""
    off = {"podMonitor": {"enabled": False}, "prometheusRule": {"enabled": False}}
    made = [
        lab.consumer(f"many-{number}", suspend=True, tuning={"mode": "Off"}, monitoring=off) for number in range(MANY)
    ]
    listed = {"apiVersion": "v1", "kind": "List", "items": made}
    lab.done("create", "-f", "-", stdin=listed)

    def count(kind: str) -> int:
        label = "app.kubernetes.io/managed-by=parallel-consumer-operator"
        return len(lab.done("get", kind, "-l", label, "-o", "name").splitlines())

    lab.eventually(lambda: count("deployment") == count("configmap") == MANY, seconds=240)
    lab.done("delete", "pcon", "--all", "--wait=false")
    lab.eventually(lambda: count("deployment") == count("configmap") == count("serviceaccount") == 0, seconds=240)
    assert lab.done("get", "pcon", "-o", "name") == ""
    assert operator.process.poll() is None
    lab.apply(lab.consumer(execution={"maxInFlight": 7}))
    lab.eventually(lambda: is_there(lab, max_in_flight=7), seconds=60)


class Troublemaker:
    """A proxy before the API server that refuses a share of the requests, and cuts watches off."""

    def __init__(self, upstream: str) -> None:
        self.upstream, self.refused, self.port = upstream, 0, 0
        self.trouble = threading.Event()
        self._draw = random.Random(7)
        self._loop = asyncio.new_event_loop()
        self._ready, self._ended = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Serve from a thread of its own."""
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        """End the server and what it passes on, so that no half-run call is left to the collector of cycles."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        application = web.Application(client_max_size=2**24)
        application.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(application, handle_signals=False, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        async with aiohttp.ClientSession(self.upstream, timeout=aiohttp.ClientTimeout(total=None)) as self._session:
            self._ready.set()
            await self._ended.wait()
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self.trouble.is_set() and self._draw.random() < SHARE:
            self.refused += 1
            code = self._draw.choice([409, 429, 500, 502, 503, 504])
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "made", "code": code}
            return web.json_response(status, status=code, headers={"Retry-After": "1"} if code == 429 else {})
        headers = {key: value for key, value in request.headers.items() if key not in {"Host", "Content-Length"}}
        async with self._session.request(
            request.method, request.rel_url, headers=headers, data=await request.read() or None
        ) as answer:
            response = web.StreamResponse(
                status=answer.status, headers={"Content-Type": answer.headers.get("Content-Type", "text/plain")}
            )
            await response.prepare(request)
            await self._pass_on(request, answer, response)
            return response

    async def _pass_on(
        self, request: web.Request, answer: aiohttp.ClientResponse, response: web.StreamResponse
    ) -> None:
        """A watch is cut off after two seconds while there is trouble."""
        watching = "watch" in request.query
        began = self._loop.time()
        while True:
            try:
                async with asyncio.timeout(0.5 if watching else None):
                    chunk = await answer.content.readany()
            except TimeoutError:
                chunk = None
            if chunk == b"" or (watching and self.trouble.is_set() and self._loop.time() - began > 2):
                return
            if chunk:
                await response.write(chunk)


@pytest.fixture
def troubled(lab: Any, operator: Any, tmp_path: Path) -> Iterator[tuple[Any, Troublemaker]]:
    """An operator that reaches the API server through the troublemaker alone."""
    operator.end()
    proxy = _kubectl_proxy(lab)
    maker = Troublemaker(proxy[1])
    maker.start()
    config = tmp_path / "kubeconfig"
    entry = {"name": "it", "cluster": {"server": f"http://127.0.0.1:{maker.port}"}}
    context = {"name": "it", "context": {"cluster": "it", "user": "it"}}
    users = [{"name": "it", "user": {}}]
    config.write_text(
        yaml.safe_dump(
            {"apiVersion": "v1", "kind": "Config", "current-context": "it", "clusters": [entry], "contexts": [context],
             "users": users}
        )
    )  # fmt: skip
    environment = {**os.environ, **lab.cluster.environment, "KUBECONFIG": str(config)}
    process = dataclasses.replace(operator, environment=environment, log=tmp_path / "troubled.log", process=None)
    process.start()
    yield process, maker
    if process.process.poll() is None:
        process.end(9)
    maker.stop()
    proxy[0].terminate()
    proxy[0].wait(10)


def _kubectl_proxy(lab: Any) -> tuple[Any, str]:
    command = [str(lab.cluster.kubectl), "proxy", "--port=0"]
    process = subprocess.Popen(command, env=lab.cluster.environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, "http://" + process.stdout.readline().rsplit(" ", 1)[1].strip()


def test_refusals_and_lost_watches_delay_and_break_nothing(lab: Any, troubled: tuple[Any, Troublemaker]) -> None:
    """30 % of the answers are 409, 429 or 5xx, watches are cut off: each edit and each drift is still followed."""
    operator, maker = troubled
    lab.apply(lab.consumer(execution={"maxInFlight": 16}))
    lab.eventually(lambda: is_there(lab, max_in_flight=16), seconds=60)
    maker.trouble.set()
    for value in (17, 18, 19):
        lab.apply(lab.consumer(execution={"maxInFlight": value}))
        lab.eventually(lambda value=value: is_there(lab, max_in_flight=value), seconds=90)
    lab.done("delete", "configmap", "orders-settings")
    lab.eventually(lambda: is_there(lab, max_in_flight=19), seconds=90)
    maker.trouble.clear()
    lab.apply(lab.consumer(execution={"maxInFlight": 20}))
    lab.eventually(lambda: is_there(lab, max_in_flight=20), seconds=60)
    assert maker.refused >= 5
    assert operator.process.poll() is None, operator.log.read_text()[-3000:]
