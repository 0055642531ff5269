"""`fastnn --web`: the app over HTTP and its websocket, on the loopback address, for its own page alone.

No browser: the protocol of the page is spoken here, and what would be drawn is read from what the app sends.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tui import web
from tui.app import main

COMPILING, SOON = 300, 60
pytestmark = pytest.mark.xdist_group("terminal")


def test_without_textual_serve_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "textual_serve", None)
    monkeypatch.setitem(sys.modules, "textual_serve.server", None)
    assert main(["--web"]) == 2
    assert capsys.readouterr().err == "fastnn: --web needs the package textual-serve: pip install 'fastnn[web]'\n"


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind((web.HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["--web", "--port", str(port)]) == 2
        assert f"--port: {port} cannot be used" in capsys.readouterr().err
    assert web.free_port(None) > 0


def test_the_apps_get_the_other_options(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []
    monkeypatch.setattr("tui.app.serve", lambda arguments, port: given.append((arguments, port)) or 0)
    assert main(["--web", "--theme", "light", "--port", "8123", "--ascii"]) == 0
    assert given == [(["--theme", "light", "--ascii"], 8123)]


@pytest.fixture
def address(tmp_path: Path):
    """A server in a process of its own, and its address as it is printed."""
    pytest.importorskip("textual_serve")
    environment = os.environ | {"FASTNN_RUNS": str(tmp_path), "LANG": "C.UTF-8"}
    code = "import sys; from fastnn.cli import main; sys.exit(main(['--web', '--fps', '10']))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as process:
        line = process.stdout.readline()
        found = re.fullmatch(r"fastnn: (http://127\.0\.0\.1:\d+) \(Ctrl-C ends it\)\n", line)
        assert found, line
        yield found[1]
        process.send_signal(signal.SIGINT)
        assert process.wait(SOON) == 0


async def read_until(socket, pattern: str, limit: float) -> str:
    """What the app draws, until the pattern is in it."""
    text, end = "", time.monotonic() + limit
    while not re.search(pattern, text):
        message = await asyncio.wait_for(socket.receive(), max(0.1, end - time.monotonic()))
        if isinstance(message.data, bytes):
            text += re.sub(r"\x1b\[[0-9;:?]*[a-zA-Z]", " ", message.data.decode(errors="replace"))
    return text


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
async def test_the_page_and_the_app_behind_it(address: str) -> None:
    aiohttp = pytest.importorskip("aiohttp")
    where = address.replace("http:", "ws:") + "/ws?width=100&height=30"
    async with aiohttp.ClientSession() as session:
        async with session.get(address) as page:
            text = await page.text()
            assert page.status == 200 and where.partition("?")[0] in text and "textual.js" in text
        for headers in ({"Origin": "http://elsewhere.example"}, {"Host": "elsewhere.example"}):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(where, headers=headers)
            assert refused.value.status == 403
        async with session.ws_connect(where, headers={"Origin": address}) as app:
            await read_until(app, r"READY", COMPILING)
            await app.send_str(json.dumps(["stdin", " "]))
            await read_until(app, r"RUNNING|FINISHED", SOON)
            await app.send_str(json.dumps(["stdin", "4"]))
            await read_until(app, r"by +newest", SOON)
