"""Pages as a real browser makes them."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import aiohttp
import pytest

__all__ = ["HOSTILE", "Seen", "looked_at", "rendered", "without_scripts"]

HOSTILE = "<img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script>"
"""What a model, a file or a server may have written."""

DRAWN = "[...document.querySelectorAll('.plot')].every(one => one.classList.contains('js-plotly-plot'))"
PATIENCE_S = 20.0


def without_scripts(text: str) -> str:
    """Return a page without what its scripts hold."""
    return re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)


def _browser() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    pytest.skip("no browser: install chromium to run this test")


def rendered(text: str, folder: Path) -> str:
    """Return what a browser makes of a page, without scripts."""
    page = folder / "page.html"
    page.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [
            _browser(),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={folder / 'profile'}",
            "--virtual-time-budget=8000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return without_scripts(done.stdout)


# --- a browser that is asked questions -------------------------------------------------------------------------------


@dataclass
class Seen:
    """What was seen of a page."""

    answers: list[Any] = field(default_factory=list)
    """Of the questions, in their order."""
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings of the console, and exceptions."""
    requests: list[str] = field(default_factory=list)
    """Addresses that were asked for."""
    first_paint_ms: float = 0.0
    """From the start of the navigation to the first content on the screen."""


def looked_at(
    text: str,
    folder: Path,
    questions: Sequence[str],
    *,
    width: int = 1280,
    tabs: int = 0,
    scripts: bool = True,
    is_dark: bool = False,
) -> Seen:
    """Open a page in a browser, wait for its plots, and ask.

    Args:
        text: The page.
        folder: Where it is put, and what the browser keeps.
        questions: JavaScript expressions, asked after each other.
        width: Of the window; below 700 it is a phone.
        tabs: How often the tab key is pressed before the questions.
        scripts: Whether the page may run any.
        is_dark: Whether the user prefers dark pages.
    """
    page = folder / "page.html"
    page.write_text(text, encoding="utf-8")
    with _devtools(folder) as port:
        return asyncio.run(_look(port, page, questions, width, tabs, scripts, is_dark))


@contextmanager
def _devtools(folder: Path) -> Iterator[int]:
    profile = Path(
        mkdtemp(dir=folder)
    )  # a new one each time: an old one tells the port of a browser that has ended
    command = [_browser(), "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    with (folder / "browser.log").open("w") as log:
        process = subprocess.Popen(
            [*command, f"--user-data-dir={profile}", "about:blank"], stdout=log, stderr=log
        )
        try:
            yield _port(profile / "DevToolsActivePort", process)
        finally:
            process.terminate()
            process.wait(timeout=20)


def _port(file: Path, process: subprocess.Popen[bytes]) -> int:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and process.poll() is None:
        if file.exists() and (lines := file.read_text().split()):
            return int(lines[0])
        time.sleep(0.05)
    raise AssertionError("the browser did not start")


class _Tab:
    """One tab, by the protocol of the developer tools."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, seen: Seen) -> None:
        self._socket, self._seen, self._n = socket, seen, 0

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._n += 1
        await self._socket.send_json({"id": self._n, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json()
            if message.get("id") == self._n:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    async def ask(self, question: str) -> Any:
        told = await self.call("Runtime.evaluate", expression=question, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def _note(self, message: dict[str, Any]) -> None:
        kind, params = message.get("method"), message.get("params", {})
        if kind == "Network.requestWillBeSent":
            self._seen.requests.append(params["request"]["url"])
        elif kind == "Runtime.exceptionThrown":
            self._seen.complaints.append(json.dumps(params["exceptionDetails"])[:500])
        elif kind == "Runtime.consoleAPICalled" and params["type"] in {"error", "warning", "assert"}:
            self._seen.complaints.append(json.dumps(params["args"])[:500])
        elif kind == "Log.entryAdded" and params["entry"]["level"] in {"error", "warning"}:
            self._seen.complaints.append(params["entry"]["text"])


async def _look(
    port: int, page: Path, questions: Sequence[str], width: int, tabs: int, scripts: bool, is_dark: bool
) -> Seen:
    seen = Seen()
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json") as reply:
            address = next(one["webSocketDebuggerUrl"] for one in await reply.json() if one["type"] == "page")
        async with session.ws_connect(address, max_msg_size=0) as socket:
            tab = _Tab(socket, seen)
            for domain in ("Network", "Runtime", "Log", "Page"):
                await tab.call(f"{domain}.enable")
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 700}
            await tab.call("Emulation.setDeviceMetricsOverride", **size)
            await tab.call("Emulation.setScriptExecutionDisabled", value=not scripts)
            scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
            await tab.call("Emulation.setEmulatedMedia", features=[scheme])
            await tab.call("Page.navigate", url=page.as_uri())
            await _settled(tab, "document.readyState === 'complete'" + (f" && {DRAWN}" if scripts else ""))
            for _ in range(tabs):
                for kind in ("keyDown", "keyUp"):
                    key = {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
                    await tab.call("Input.dispatchKeyEvent", type=kind, **key)
            seen.answers = [await tab.ask(question) for question in questions]
            paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
            seen.first_paint_ms = float(await tab.ask(paint))
    return seen


async def _settled(tab: _Tab, question: str) -> None:
    for _ in range(int(PATIENCE_S / 0.1)):
        await asyncio.sleep(0.1)
        if await tab.ask(f"location.protocol === 'file:' && {question}"):
            return
    raise AssertionError(f"not so after {PATIENCE_S:g} s: {question}")
