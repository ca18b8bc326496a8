"""A proxy before the API server that refuses, cuts off, silences or holds what passes through it. Not a test."""

import asyncio
import random
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

SHARE = 0.3
"""Of requests that are refused while there is trouble."""
CUT_SECONDS = 2.0
"""After which a watch is cut off while there is trouble."""


@dataclass
class Refusal:
    """Requests to be refused: by verb, by a part of their path, and with which code."""

    method: str
    part: str
    code: int
    left: int
    """How many are still to be refused."""
    watches: bool = False
    """Whether it is about watches alone."""

    def takes(self, request: web.Request) -> bool:
        """Whether this request is one of them; then there is one less to come."""
        mine = self.left > 0 and request.method == self.method and self.part in request.path
        mine = mine and (not self.watches or "watch" in request.query)
        self.left -= mine
        return mine


class Troublemaker:
    """Behaves until told otherwise; kubectl's proxy behind it has the administrator's rights."""

    def __init__(self, upstream: str) -> None:
        self.upstream, self.refused, self.port = upstream, 0, 0
        self.trouble = threading.Event()
        """While it is set a share of all requests is refused, and watches are cut off."""
        self.deaf = threading.Event()
        """While it is set, new watches too tell nothing."""
        self.held = threading.Event()
        """While it is set, writes wait."""
        self.refusals: list[Refusal] = []
        self.written: list[str] = []
        """Verb and path of each write that was let through."""
        self._silenced = 0
        """Watches up to this number tell nothing any more."""
        self._watches = 0
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
        self.held.clear()
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def silence(self) -> int:
        """Leave every watch that there is open, and pass nothing on; return how many those are."""
        self._silenced = self._watches
        return self._silenced

    def refuse(self, method: str, part: str, code: int, *, times: int) -> Refusal:
        """Refuse the next requests of a kind, and only those."""
        self.refusals.append(Refusal(method, part, code, times))
        return self.refusals[-1]

    def refuse_watches(self, part: str, code: int, *, times: int) -> Refusal:
        """Refuse the next watches of a kind."""
        self.refusals.append(Refusal("GET", part, code, times, watches=True))
        return self.refusals[-1]

    def write_kubeconfig(self, path: Path) -> None:
        """Write a kubeconfig that leads here."""
        entry = {"name": "it", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}
        context = {"name": "it", "context": {"cluster": "it", "user": "it"}}
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "it", "clusters": [entry]}
        path.write_text(yaml.safe_dump({**config, "contexts": [context], "users": [{"name": "it", "user": {}}]}))

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
        code = self._code_of_refusal(request)
        if code:
            self.refused += 1
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "made", "code": code}
            return web.json_response(status, status=code, headers={"Retry-After": "1"} if code == 429 else {})
        if request.method != "GET":
            await self._let_through(request)
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

    async def _let_through(self, request: web.Request) -> None:
        while self.held.is_set():  # noqa: ASYNC110 - it is set in another thread
            await asyncio.sleep(0.05)
        self.written.append(f"{request.method} {request.path}")

    def _code_of_refusal(self, request: web.Request) -> int:
        asked_for = next((each.code for each in self.refusals if each.takes(request)), 0)
        if asked_for or not self.trouble.is_set() or self._draw.random() >= SHARE:
            return asked_for
        # An API server answers only a write with a conflict; to a watch that would be a fault that nobody retries.
        conflicts = [] if request.method == "GET" else [409]
        return self._draw.choice([*conflicts, 429, 500, 502, 503, 504])

    async def _pass_on(
        self, request: web.Request, answer: aiohttp.ClientResponse, response: web.StreamResponse
    ) -> None:
        watching = "watch" in request.query
        self._watches += watching
        number, began = self._watches, self._loop.time()
        while True:
            chunk = await _chunk(answer, seconds=0.5 if watching else None)
            is_left = request.transport is None or request.transport.is_closing()
            if chunk == b"" or is_left or (watching and self._is_cut(began)):
                return
            if chunk and not (watching and self._is_silent(number)):
                await response.write(chunk)

    def _is_cut(self, began: float) -> bool:
        return self.trouble.is_set() and self._loop.time() - began > CUT_SECONDS

    def _is_silent(self, number: int) -> bool:
        return self.deaf.is_set() or number <= self._silenced


async def _chunk(answer: aiohttp.ClientResponse, *, seconds: float | None) -> bytes | None:
    """Return the next part of an answer, empty at its end, None when there is none in time."""
    try:
        async with asyncio.timeout(seconds):
            return await answer.content.readany()
    except TimeoutError:
        return None


def kubectl_proxy(lab: Any) -> tuple[subprocess.Popen[str], str]:
    """Start kubectl's proxy; return its process and address."""
    command = [str(lab.cluster.kubectl), "proxy", "--port=0"]
    process = subprocess.Popen(command, env=lab.cluster.environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, "http://" + process.stdout.readline().rsplit(" ", 1)[1].strip()
