"""A real headless Chromium that opens a page and says what it saw; Debian's package, installed when it is missing.

Speaks the browser's own protocol. For checks of reports; no part of the product.
"""

import asyncio
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed import debian
from testbed.errors import NotReadyError
from testbed.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import ClientWebSocketResponse

CHROMIUM: Mapping[str, str] = {"chromium": "chromium"}
READY_SECONDS = 60.0
ANSWER_SECONDS = 60.0
_LOOK_SECONDS = 0.1
_PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
_PICTURES = "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth, () => 0)))"
_COMPLAINTS = {"Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"}
_HARMLESS = {"info", "log", "verbose", "debug"}


@dataclass(frozen=True)
class Sight:
    """A page as a browser showed it."""

    title: str
    picture_widths: list[int]
    """Of every picture in its own pixels; 0 for one that did not load."""
    text: str
    background: str
    scroll_width: int
    """Of the whole page in CSS pixels: not above `window_width`, or a reader must scroll sideways."""
    window_width: int
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings of the console and the log, exceptions, what could not be loaded."""


def look(page: Path, *, dark: bool = False, phone: bool = False) -> Sight:
    """Open a file and return what is there.

    Raises:
        MissingToolError: Chromium is missing and cannot be installed here.
        NotReadyError: it did not start, or did not answer.
    """
    debian.ensure(CHROMIUM, Progress())
    with _browser() as port:
        return asyncio.run(asyncio.wait_for(_look(port, page.resolve(), dark=dark, phone=phone), ANSWER_SECONDS))


@contextmanager
def _browser() -> "Iterator[int]":
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = ["chromium", "--headless=new", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
                   f"--user-data-dir={folder}", "--remote-debugging-port=0", "about:blank"]  # fmt: skip
        if os.geteuid() == 0:
            command.insert(1, "--no-sandbox")
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield _port(Path(folder) / "DevToolsActivePort", process)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _port(file: Path, process: "subprocess.Popen[bytes]") -> int:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if file.exists() and (lines := file.read_text().split()):
            return int(lines[0])
        time.sleep(_LOOK_SECONDS)
    msg = f"chromium did not open its port within {READY_SECONDS:g} s (exit status {process.poll()})"
    raise NotReadyError(msg)


async def _look(port: int, page: Path, *, dark: bool, phone: bool) -> Sight:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            target = next(each for each in await answer.json() if each["type"] == "page")
        async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            tab = _Tab(socket)
            await tab.prepare(dark=dark, phone=phone)
            await tab.open(page.as_uri())
            return await tab.sight()


class _Tab:
    """One page of the browser."""

    def __init__(self, socket: "ClientWebSocketResponse") -> None:
        self._socket = socket
        self._number = 0
        self._complaints: list[str] = []
        self._is_loaded = False

    async def prepare(self, *, dark: bool, phone: bool) -> None:
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self._call(f"{domain}.enable")
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self._call("Emulation.setEmulatedMedia", features=[scheme])
        if phone:
            await self._call("Emulation.setDeviceMetricsOverride", **_PHONE)

    async def open(self, address: str) -> None:
        self._is_loaded = False
        await self._call("Page.navigate", url=address)
        while not self._is_loaded:
            self._hear(await self._socket.receive_json())

    async def sight(self) -> Sight:
        return Sight(
            picture_widths=await self._evaluate(_PICTURES),
            title=await self._evaluate("document.title"),
            text=await self._evaluate("document.body.innerText"),
            background=await self._evaluate("getComputedStyle(document.body).backgroundColor"),
            scroll_width=await self._evaluate("document.documentElement.scrollWidth"),
            window_width=await self._evaluate("window.innerWidth"),
            complaints=list(self._complaints),
        )

    async def _evaluate(self, expression: str) -> Any:
        found = await self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        return found["result"]["value"]

    async def _call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            answer = await self._socket.receive_json()
            if answer.get("id") == self._number:
                return answer.get("result", {})
            self._hear(answer)

    def _hear(self, event: Mapping[str, Any]) -> None:
        method, told = event.get("method"), event.get("params", {})
        self._is_loaded = self._is_loaded or method == "Page.loadEventFired"
        level = told.get("type") or told.get("entry", {}).get("level")
        if method == "Network.loadingFailed" or (method in _COMPLAINTS and level not in _HARMLESS):
            self._complaints.append(f"{method}: {told}")
