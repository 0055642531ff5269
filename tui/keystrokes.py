"""Keys in one breath, which Textual 8.2.8 takes in another order, for another key, or fails at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from textual.actions import ActionParseResult, SkipAction
from textual.app import App
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.events import Event, Key
from textual.widgets import OptionList

_move_page = OptionList._move_page


def _move_page_when_laid_out(options: OptionList, direction: Any) -> None:
    """Page keys fail (KeyError) before a list is laid out, or as it closes. Textual itself makes the lists of the
    palette and of a Select, so that no class of ours can stand in for them."""
    if (options.highlighted or 0) in options._index_to_line:
        _move_page(options, direction)


class Keystrokes(App[None]):
    """An app that keeps what is typed in one breath apart, but for keys with a binding (backspace, enter) right before
    a tab: Textual looks for their field only when they have come up to the app; and for Esc right before a sign, a
    space or enter, of which Textual's parser leaves the second."""

    # Before the field that has the keys sees them: letters in the same breath go to the next one.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "leave('next')", show=False, priority=True),
        Binding("shift+tab", "leave('previous')", show=False, priority=True),
    ]

    def __init__(self) -> None:
        super().__init__()
        OptionList._move_page = _move_page_when_laid_out  # type: ignore[method-assign, assignment]

    async def on_event(self, event: Event) -> None:
        """Esc and a letter in one breath, which terminals send (and tmux makes) of the letter with alt, too: alt is for
        nothing here, unless a person has bound it."""
        if isinstance(event, Key) and not event.is_forwarded and event.key.startswith("alt+"):
            letter = event.character if event.key not in self.active_bindings else None
            if letter:
                await super().on_event(Key("escape", "\x1b"))
                event = Key(letter, letter)
        await super().on_event(event)

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Nothing more once the app is to end: a key in one breath with q would open a screen that is taken down."""
        return not self._exit and await super().run_action(action, default_namespace, namespaces)

    def action_leave(self, direction: str) -> None:
        """Go from the field that has the keys to the next or the previous one."""
        if self.focused is None:
            raise SkipAction  # after the keys before it, as any other key: they may open what has fields
        {"next": self.screen.focus_next, "previous": self.screen.focus_previous}[direction]()
