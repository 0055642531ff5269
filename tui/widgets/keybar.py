"""The bottom line: the keys of the table of actions, each of them clickable."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from tui.actions import Action


class KeyBar(Static):
    """Keys and what they do; the first one says Run or Pause as the state asks for."""

    auto_links = False
    _shown: tuple[object, ...] = ()

    def show(self, actions: tuple[Action, ...], *, running: bool) -> None:
        """Name the space key by what it would do now."""
        if (actions, running) == self._shown:
            return
        self._shown = (actions, running)
        parts: list[Content] = []
        for action in actions:
            label = ("Pause" if running else "Run  ") if action.name == "toggle_run" else action.label
            link = f"@click=screen.{action.call}"
            parts.append(Content.assemble((action.shown, f"bold $key {link}"), (f" {label}", f"$text-muted {link}")))
        self.update(Content.assemble(" ", Content("  ").join(parts)), layout=False)
