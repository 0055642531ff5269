"""`fastnn --web`: the same app in a browser, through textual-serve, for this machine alone."""

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


def make_server(arguments: Sequence[str], port: int) -> Any:
    """A server of the app with these arguments; raises WebError without textual-serve.

    Each page that is opened has an app of its own. Pages of other sites cannot reach it: their scripts may connect to
    this machine, but they say where they come from.
    """
    try:
        from aiohttp import web
        from textual_serve.server import Server
    except ImportError:
        raise WebError(MISSING) from None
    names = {f"{host}:{port}" for host in (HOST, "localhost")}

    @web.middleware
    async def local_only(request: Any, handler: Any) -> Any:
        origin = request.headers.get("Origin")
        if request.host not in names or (origin is not None and origin not in {f"http://{name}" for name in names}):
            raise web.HTTPForbidden(text="fastnn answers to its own page alone")
        return await handler(request)

    class LocalServer(Server):
        async def _make_app(self) -> Any:
            app = await super()._make_app()
            app.middlewares.append(local_only)
            return app

        async def on_startup(self, app: Any) -> None:
            sys.stdout.write(f"fastnn: {self.public_url} (Ctrl-C ends it)\n")
            sys.stdout.flush()

        def initialize_logging(self) -> None:
            """Requests are not logged."""

    return LocalServer(command(arguments), HOST, port, title="fastnn", public_url=f"http://{HOST}:{port}")


def serve(arguments: Sequence[str], port: int | None = None) -> int:
    """Serve until Ctrl-C; returns the exit code."""
    try:
        server = make_server(arguments, free_port(port))
    except WebError as reason:
        sys.stderr.write(f"fastnn: {reason}\n")
        return 2
    asyncio.set_event_loop(asyncio.new_event_loop())
    server.serve()
    return 0
