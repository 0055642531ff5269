"""Keys in one breath, which Textual 8.2.8 takes in another order, for another key, loses, or fails at."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from textual.app import App
from textual.dom import DOMNode
from textual.events import Event, Key, Paste
from textual.widgets import OptionList

PATIENCE = 1.0  # seconds that a key may take; then the next is given, too: it may be the one that ends a stuck app

_move_page = OptionList._move_page


def _move_page_when_laid_out(options: OptionList, direction: Any) -> None:
    """Page keys fail (KeyError) before a list is laid out, or as it closes. Textual itself makes the lists of the
    palette and of a Select, so that no class of ours can stand in for them."""
    if (options.highlighted or 0) in options._index_to_line:
        _move_page(options, direction)


class Keystrokes(App[None]):
    """An app that takes one key at a time: the next is given when the one before has come up through all widgets and
    what it opened or closed is there or gone. Textual gives each key at once to the widget that has the keys then: a
    letter came before the dialog that a key before it opened had its field, and backspace after the tab behind it.

    But for Esc right before a sign, a space or enter, of which Textual's parser leaves the second.
    """

    def __init__(self) -> None:
        super().__init__()
        OptionList._move_page = _move_page_when_laid_out  # type: ignore[method-assign, assignment]
        self._typed: deque[Key | Paste] = deque()
        self._given = 0.0
        self.typing = False  # a key is on its way

    @property
    def message_queue_size(self) -> int:
        """What waits, keys with it."""
        return super().message_queue_size + len(self._typed)

    async def on_event(self, event: Event) -> None:
        """Keys and what is pasted wait for those before them."""
        if not isinstance(event, (Key, Paste)) or event.is_forwarded:
            await super().on_event(event)
            return
        self._typed.append(event)
        if not self.typing or time.monotonic() - self._given > PATIENCE:
            await self._give()

    @property
    def _taker(self) -> DOMNode | None:
        """What has the keys now. None once the app is to end, when its screens go before its keys: a key in one breath
        with q would open another."""
        return None if self._exit or not self.screen_stack else self.focused or self.screen

    async def _give(self) -> None:
        """Give the next key to what has the keys now."""
        taker = self._taker
        self.typing = bool(self._typed) and taker is not None
        if self.typing:
            self._given = time.monotonic()
            await super().on_event(self._next())
            self._come_up(taker, partial(self._come_up_again, self._given))

    def _come_up_again(self, given: float) -> None:
        """What the key did may have sent a message that closes a dialog, or opened a screen."""
        self._come_up(self._taker, partial(self._give_after, given))

    async def _give_after(self, given: float) -> None:
        """Give the next key, unless one was given since because this one took too long: that one goes on."""
        if given == self._given:
            await self._give()

    def _next(self) -> Key | Paste:
        """Esc and a letter in one breath, which terminals send (and tmux makes) of the letter with alt, too: alt is for
        nothing here, unless a person has bound it."""
        event = self._typed.popleft()
        if isinstance(event, Key) and event.key.startswith("alt+") and event.key not in self.active_bindings:
            letter = event.character
            if letter:
                self._typed.appendleft(Key(letter, letter))
                return Key("escape", "\x1b")
        return event

    def _come_up(self, node: DOMNode | None, then: Callable[[], Any]) -> None:
        """Call `then` once all is done that waits in the queues of a widget and of those around it, up to the app."""
        if node is None or node is self:
            self.call_later(self.call_next, then)  # after the callback of a dialog that was closed
        elif not node.call_later(self._come_up, node.parent, then):
            self._come_up(node.parent, then)  # it is closing
