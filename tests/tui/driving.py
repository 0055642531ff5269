"""Opening the app under Textual's Pilot, and waiting for what should happen instead of for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fake_training import FakeBackend
from textual.events import Resize
from textual.geometry import Size
from textual.pilot import Pilot

from tui.app import FastnnApp
from tui.config import RunConfig
from tui.session import Session
from tui.view import View

LIMIT = 60.0


def told(view: View) -> str:
    """A view without its arrays."""
    snapshot = view.snapshot and (view.snapshot.step, view.snapshot.state)
    return f"{view.state} {snapshot} busy={view.busy!r} message={view.message!r} answer={view.answer!r}"


async def until(pilot: Pilot, condition: Callable[[], bool], what: str = "") -> None:
    """Let the app run until `condition()`; fails after a minute, which only a hang needs.

    Pilot's own pause asks every widget each time: half of what these tests cost, and it times out beside other work.
    """
    end = time.monotonic() + LIMIT
    while not condition():
        assert pilot.app._exception is None, "the app has ended"
        assert time.monotonic() < end, f"waited {LIMIT} s for {what or condition}: {told(pilot.app.session.view)}"
        await asyncio.sleep(0.01)


def reach(session: Session, condition: Callable[[View], bool]) -> View:
    """Wait, without a screen, until the view satisfies the condition."""
    end = time.monotonic() + LIMIT
    while not condition(session.view):
        assert time.monotonic() < end, told(session.view)
        time.sleep(0.001)
    return session.view


async def obeyed(pilot: Pilot) -> None:
    """Until the session has obeyed what it was told so far, and answered the probes: it answers one more, the last."""
    session = pilot.app.session
    if session.view.run is not None:
        session.probe("last", lambda run: None)
        await until(pilot, lambda: "last" in session.view.found, "the session")
        session.probe("last", None)
        await until(pilot, lambda: "last" not in session.view.found, "the session")


async def settle(pilot: Pilot) -> None:
    """Until the session waits for a command (or holds) and everything shown is of its newest view."""
    app = pilot.app
    await until(pilot, lambda: app.session.view.state != "loading" and not app.session.view.busy, "loading")
    await obeyed(pilot)
    for _ in range(2):  # what came to rest may have been laid out anew since
        await until(pilot, lambda: app.base.settled, "a settled screen")
        await pilot.pause()


@asynccontextmanager
async def opened(
    size: tuple[int, int] = (80, 24), config: RunConfig | None = None, **options: object
) -> AsyncIterator[tuple[Pilot, FastnnApp]]:
    """The app on a fake trainer, its first network built and drawn."""
    app = FastnnApp(FakeBackend(**options), config)
    async with opened_with(app, size) as pilot:
        yield pilot, app


@asynccontextmanager
async def opened_with(app: FastnnApp, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Pilot]:
    """This app, its first network built and drawn."""
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        yield pilot


async def press(pilot: Pilot, *keys: str) -> None:
    """Press keys without Pilot's wait for an idle process, which lasts a second a key while training runs."""
    for key in keys:
        pilot.app.simulate_key(key)
        await _taken(pilot)
    await pilot.pause(0.01)  # it is painted


async def press_in_one_breath(pilot: Pilot, *keys: str) -> None:
    """Press keys without waiting for what any of them does, and then for what they all do."""
    for key in keys:
        pilot.app.simulate_key(key)
    await _taken(pilot)


async def resize(pilot: Pilot, width: int, height: int) -> None:
    """Resize the terminal, again without that wait."""
    size = Size(width, height)
    pilot.app._driver._size = size
    pilot.app.post_message(Resize(size, size))
    await _taken(pilot)


async def _taken(pilot: Pilot) -> None:
    """Until the app has dealt with what it was sent, and all widgets with the key."""
    done = asyncio.Event()
    if pilot.app.call_later(done.set):
        await until(pilot, lambda: (done.is_set() and not pilot.app.typing) or pilot.app._exit, "an answer")


async def press_until(pilot: Pilot, key: str, condition: Callable[[], bool]) -> None:
    """Press once, then wait."""
    await press(pilot, key)
    await until(pilot, condition, f"the effect of {key}")


def text_of(app: FastnnApp) -> str:
    """What is on the screen, as lines of text."""
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips)
