"""Small dialogs over a mode: a question, and a learning rate to type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import BindingType
from textual.command import CommandPalette
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Static

from tui import numbers
from tui.config import FieldError, read_rate

if TYPE_CHECKING:
    Base = ModalScreen[Any]
else:
    Base = object  # a Textual class here would hide the style of the one after it


class Once(Base):
    """A dialog that closes once: two clicks in one breath would close what lies under it, too."""

    _answered = False
    _early: tuple[Any, ...] = ()

    def dismiss(self, result: Any = None) -> AwaitComplete:
        """Close with this result, the first time; while another dialog is over it, once that is gone: Textual would
        close the other one."""
        if self._answered or not self.is_active:
            self._early = self._early or (result,)
            nothing: AwaitComplete = AwaitComplete.nothing()  # type: ignore[no-untyped-call]
            return nothing
        self._answered = True
        return super().dismiss(result)

    def on_screen_resume(self) -> None:
        """Close with a result that was there before."""
        if self._early:
            self.dismiss(*self._early)


class Palette(Once, CommandPalette):
    """The command palette."""

    def dismiss(self, result: Any = None) -> AwaitComplete:
        """Close, and stop the search, which fails once its list is gone."""
        self.workers.cancel_node(self)
        return super().dismiss(result)


class Confirm(Once, ModalScreen[bool]):
    """Asks a question; `again` is the key that asked, and pressing it twice means yes."""

    BINDINGS: ClassVar[list[BindingType]] = [("y", "answer(True)", "Yes"), ("n,escape", "answer(False)", "No")]

    def __init__(self, question: str, yes: str, no: str, again: str) -> None:
        super().__init__()
        self._question, self._yes, self._no = question, yes, no
        self._bindings.bind(again, "answer(True)")

    def compose(self) -> ComposeResult:
        """The question and two buttons."""
        with Vertical(classes="dialog"):
            yield Label(self._question, markup=False)
            with Horizontal(classes="buttons"):
                yield Button(f"y {self._yes}", id="yes", variant="primary", compact=True)
                yield Button(f"n {self._no}", id="no", compact=True)

    def action_answer(self, yes: bool) -> None:
        """Close with the answer."""
        self.dismiss(yes)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")


class RateInput(Once, ModalScreen["float | None"]):
    """Asks for a learning rate; closes with it, or with None."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "cancel", "Cancel")]

    def __init__(self, rate: float) -> None:
        super().__init__()
        self._rate = rate

    def compose(self) -> ComposeResult:
        """One field and room for what is wrong with it."""
        with Vertical(classes="dialog"):
            yield Label("Learning rate")
            yield Input(numbers.rate(self._rate), id="rate", compact=True, select_on_focus=True)
            yield Static("enter takes it, esc leaves it", id="rate-note", markup=False)

    def action_cancel(self) -> None:
        """Leave the rate as it is."""
        self.dismiss(None)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        try:
            rate = read_rate(event.value)
        except FieldError as error:
            note = self.query_one("#rate-note", Static)
            note.update(str(error))
            note.add_class("-wrong")
        else:
            self.dismiss(rate)


class TextInput(Once, ModalScreen["str | None"]):
    """Asks for a text; closes with it, or with None."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "cancel", "Cancel")]

    def __init__(self, title: str, text: str, note: str) -> None:
        super().__init__()
        self._title, self._text, self._note = title, text, note

    def compose(self) -> ComposeResult:
        """One field."""
        with Vertical(classes="dialog"):
            yield Label(self._title, markup=False)
            yield Input(self._text, id="text", compact=True, select_on_focus=True)
            yield Static(self._note, classes="note", markup=False)

    def action_cancel(self) -> None:
        """Leave it as it is."""
        self.dismiss(None)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)
