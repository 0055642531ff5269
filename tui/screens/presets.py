"""The dialog of presets: runs to start from, good and bad, each with a line of what to watch."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui.playground import PRESETS, Preset
from tui.screens.dialogs import Once


class PresetList(Once, ModalScreen["Preset | None"]):
    """Closes with the preset that was chosen, or with None."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,p", "cancel", "Cancel")]

    def compose(self) -> ComposeResult:
        """A line a preset, and below it what to watch."""
        with Vertical(classes="dialog", id="presets") as dialog:
            dialog.border_title = "Presets"
            dialog.border_subtitle = "enter takes it, esc leaves"
            yield OptionList(*(Option(_line(preset)) for preset in PRESETS))

    def on_mount(self) -> None:
        """The keys go to the list."""
        self.query_one(OptionList).focus()

    def action_cancel(self) -> None:
        """Choose none."""
        self.dismiss(None)

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(PRESETS[event.option_index])


def _line(preset: Preset) -> Content:
    sign = ("✔", "$state-running") if preset.good else ("✖", "$health-poor")
    return Content.assemble(sign, " ", (preset.name, "bold"), "\n  ", (preset.watch, "$text-muted"))
