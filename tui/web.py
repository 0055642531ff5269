"""`fastnn --web`: the same app in a browser, through textual-serve, for this machine alone.

Each page that is opened has an app of its own, a process that ends with the page. Pages of other sites cannot reach it
(their scripts may connect to this machine, but they say where they come from), and the page itself asks nobody else:
textual-serve's own would fetch a font.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

HOST = "127.0.0.1"
PORT = 8000
CLOSING_SECONDS = 10.0  # for the apps to write their last checkpoints
# textual-serve's page takes keys only after a click.
FOCUS = "<script>addEventListener('load', () => document.querySelector('.xterm-helper-textarea').focus())</script>"
MISSING = "--web needs the package textual-serve: pip install 'fastnn[web]'"


class WebError(ValueError):
    """Why nothing is served."""


def free_port(wanted: int | None) -> int:
    """The port to serve on: `wanted`, or PORT, or any that is free; raises WebError for a wanted one that is taken."""
    for port in (PORT, 0) if wanted is None else (wanted,):
        with socket.socket() as probe:
            if os.name == "posix":  # elsewhere this would let two servers have one port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as reason:
                if wanted is not None:
                    raise WebError(f"--port: {wanted} cannot be used ({reason.strerror})") from None
            else:
                return int(probe.getsockname()[1])
    raise WebError(f"--web: no port of {HOST} is free")


def command(arguments: Sequence[str]) -> str:
    """The command line of one app, as a shell takes it."""
    line = [sys.executable, "-m", "tui", *arguments]
    return shlex.join(line) if os.name == "posix" else subprocess.list2cmdline(line)


def make_app(arguments: Sequence[str], port: int) -> Any:
    """The web application that serves the app with these arguments, as a coroutine; raises WebError without
    textual-serve."""
    try:
        from aiohttp import web
        from textual_serve.server import Server
    except ImportError:
        raise WebError(MISSING) from None
    names = {f"{host}:{port}" for host in (HOST, "localhost")}
    sources = f"'self' 'unsafe-inline' data: blob: {' '.join(f'ws://{name}' for name in sorted(names))}"
    handling: set[asyncio.Task[Any]] = set()

    @web.middleware
    async def local_only(request: Any, handler: Any) -> Any:
        origin = request.headers.get("Origin")
        if request.host not in names or (origin is not None and origin not in {f"http://{name}" for name in names}):
            raise web.HTTPForbidden(text="fastnn answers to its own page alone")
        task = asyncio.current_task()
        assert task is not None
        handling.add(task)
        try:
            return await handler(request)
        finally:
            handling.discard(task)

    async def own_sources(request: Any, response: Any) -> None:
        response.headers["Content-Security-Policy"] = f"default-src {sources}"

    class LocalServer(Server):  # type: ignore[misc, unused-ignore]
        async def handle_index(self, request: Any) -> Any:
            """Its page, ready for keys."""
            page: Any = await super().handle_index(request)
            page.text = page.text.replace("</body>", f"{FOCUS}</body>")
            return page

        async def on_startup(self, app: Any) -> None:
            """Nobody listens yet: `serve` prints the address when somebody does."""

        async def on_shutdown(self, app: Any) -> None:
            """Have each open page's app quit: aiohttp itself would wait a minute for the pages to be closed."""
            waiting = {task for task in handling if task is not asyncio.current_task()}
            for task in waiting:
                task.cancel()
            if waiting:
                await asyncio.wait(waiting, timeout=CLOSING_SECONDS)

    async def make() -> Any:
        server = LocalServer(command(arguments), HOST, port, title="fastnn", public_url=f"http://{HOST}:{port}")
        app = await server._make_app()
        app.middlewares.append(local_only)
        app.on_response_prepare.append(own_sources)
        return app

    return make()


def serve(arguments: Sequence[str], port: int | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM; returns the exit code."""
    try:
        port = free_port(port)
        app = make_app(arguments, port)
    except WebError as reason:
        sys.stderr.write(f"fastnn: {reason}\n")
        return 2
    from aiohttp import web

    def announce(_banner: str) -> None:
        sys.stdout.write(f"fastnn: http://{HOST}:{port} (Ctrl-C ends it)\n")
        sys.stdout.flush()

    web.run_app(app, host=HOST, port=port, print=announce, access_log=None, shutdown_timeout=1.0)
    return 0
