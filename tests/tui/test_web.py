"""`fastnn --web`: a browser shows the app and sends it keys, on the loopback address, for its own page alone."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tui import web
from tui.app import main

aiohttp = pytest.importorskip("aiohttp")
pytest.importorskip("textual_serve")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
COMPILING, SOON = 300, 60
pytestmark = pytest.mark.xdist_group("terminal")


def test_without_textual_serve_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "textual_serve.server", None)
    assert main(["--web"]) == 2
    assert capsys.readouterr().err == "fastnn: --web needs the package textual-serve: pip install 'fastnn[web]'\n"


def test_a_port_that_is_taken(capsys):
    with socket.socket() as other:
        other.bind((web.HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["--web", "--port", str(port)]) == 2
        assert f"--port: {port} cannot be used" in capsys.readouterr().err
    assert web.free_port(None) > 0


def test_the_apps_get_the_other_options(monkeypatch):
    given = []
    monkeypatch.setattr("tui.app.serve", lambda arguments, port: given.append((arguments, port)) or 0)
    assert main(["--web", "--theme", "light", "--port", "8123", "--ascii"]) == 0
    assert given == [(["--theme", "light", "--ascii"], 8123)]


# ---- a server, and a browser -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process in a group of its own, of which nothing is left in the end."""
    process = subprocess.Popen(command, text=True, start_new_session=True, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(SOON)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


async def line_with(pipe: Any, pattern: str) -> str:
    """What the pattern found in the first line that has it."""

    def read() -> str:
        for line in pipe:
            if found := re.search(pattern, line):
                return found[1]
        raise AssertionError(f"ended without {pattern!r}")

    return await asyncio.wait_for(asyncio.to_thread(read), SOON)


@contextlib.asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[str, subprocess.Popen[str]]]:
    """A server in a process of its own, and its address as it is printed."""
    environment = os.environ | {"FASTNN_RUNS": str(folder), "LANG": "C.UTF-8"}
    code = "import sys; from fastnn.cli import main; sys.exit(main(['--web', '--fps', '10']))"
    with running([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as process:
        yield await line_with(process.stdout, r"^fastnn: (http://127\.0\.0\.1:\d+) \(Ctrl-C ends it\)$"), process


class Page:
    """One page of a Chromium, driven by its DevTools protocol."""

    def __init__(self, connection: Any) -> None:
        self.connection, self.number, self.drawn, self.asked = connection, 0, "", []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command, and wait for its answer."""
        self.number += 1
        await self.connection.send_json({"id": self.number, "method": method, "params": parameters})
        while (answer := await self.hear(SOON)).get("id") != self.number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    async def hear(self, limit: float) -> dict[str, Any]:
        """The next message; what the app draws and where the page connects to is kept."""
        message = await self.connection.receive_json(timeout=limit)
        parameters = message.get("params", {})
        if message.get("method") == "Network.webSocketFrameReceived":
            frame = parameters["response"]
            if frame["opcode"] == 2:
                text = base64.b64decode(frame["payloadData"]).decode(errors="replace")
                self.drawn += re.sub(r"\x1b\[[0-9;:?$]*[a-zA-Z]", "", text)
        elif message.get("method") == "Network.responseReceived":
            self.asked.append(parameters["response"]["url"])
        return message

    async def until(self, pattern: str, limit: float = SOON) -> list[str]:
        """Listen until the app has drawn what the pattern says; all of it."""

        async def listen() -> list[str]:
            while not (found := re.findall(pattern, self.drawn)):
                await self.hear(limit)
            return found

        return await asyncio.wait_for(listen(), limit)

    async def press(self, key: str) -> None:
        """A key of a letter, as a person presses it."""
        self.drawn = ""
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, text=key if kind == "keyDown" else "")

    async def step_after(self, step: int) -> int:
        """Listen until a higher step number is on the page."""
        while (seen := int((await self.until(r"step +([\d,]+)"))[-1].replace(",", ""))) <= step:
            self.drawn = ""
        return seen


@contextlib.asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Page]:
    """A page in a headless Chromium that keeps all it writes in `folder`."""
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    options += ["--remote-debugging-port=0", f"--user-data-dir={folder}", "--window-size=1400,900", "about:blank"]
    with running([CHROMIUM, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        port = await line_with(process.stderr, r"DevTools listening on ws://127\.0\.0\.1:(\d+)/")
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=COMPILING + SOON)) as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                where = next(p["webSocketDebuggerUrl"] for p in await answer.json() if p["type"] == "page")
            async with session.ws_connect(where, max_msg_size=0) as connection:
                yield Page(connection)


@pytest.mark.skipif(os.name != "posix", reason="ends a process group")
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
async def test_a_browser_presses_space_and_sees_the_steps_rise(tmp_path):
    async with served(tmp_path / "runs") as (address, server), browser(tmp_path / "profile") as page:
        for domain in ("Network", "Page"):
            await page.call(f"{domain}.enable")
        await page.call("Page.navigate", url=address)
        await page.until("READY", COMPILING)
        blank = await page.call("Page.captureScreenshot")
        await page.press(" ")
        await page.until("RUNNING|FINISHED")
        second = await page.step_after(await page.step_after(0))
        await page.press("4")
        await page.until(r"by +newest")
        assert (await page.call("Page.captureScreenshot"))["data"] != blank["data"]
        assert page.asked and all(url.startswith((address, "data:", "about:")) for url in page.asked), page.asked
        server.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(server.wait, SOON) == 0
    kept = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/run.json")]
    assert [run["step"] >= second for run in kept] == [True], "the run is kept, for its app was told to quit"


@pytest.mark.skipif(os.name != "posix", reason="ends a process group")
async def test_other_pages_are_refused(tmp_path):
    async with served(tmp_path) as (address, server):
        where = address.replace("http:", "ws:") + "/ws"
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SOON)) as session:
            async with session.get(address) as page:
                assert page.status == 200 and where in await page.text()
            for headers in ({"Origin": "http://elsewhere.example"}, {"Host": "elsewhere.example"}):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await session.ws_connect(where, headers=headers)
                assert refused.value.status == 403
        server.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait, SOON) == 0
