"""The configuration drawer: what to train on, which network, and how."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Button, Input, Label, Select, Static

from tui import numbers
from tui.config import BY_DATA, TABLE, TASKS, Choices, FieldError, RunConfig, read_config

OTHER = "file or folder\u2026"
LABELS = {
    "data": "data",
    "path": "",
    "label": "label column",
    "task": "task",
    "standardize": "standardize",
    "layers": "layers",
    "cell": "cell",
    "activation": "activation",
    "init": "initializer",
    "optimizer": "optimizer",
    "learning_rate": "learning rate",
    "batch_size": "batch size",
    "epochs": "epochs",
    "seed": "seed",
    "device": "device",
    "precision": "precision",
}
# What fastnn calls an argument that a field is for, where it is another word.
ARGUMENTS = {"name_or_path": "data", "lr": "learning_rate", "rate": "learning_rate"}
OF_A_FILE = ("path", *TABLE)
SELECTS = ("data", "task", "standardize", "cell", "activation", "init", "optimizer", "device", "precision")


class Drawer(Vertical):
    """A form for a `RunConfig`. It posts `Applied` for one that can be read, and shows what is wrong otherwise."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "close", "Close")]

    class Applied(Message):
        """A configuration to try."""

        def __init__(self, config: RunConfig) -> None:
            super().__init__()
            self.config = config

    class Closed(Message):
        """The drawer is to be closed and nothing changed."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._choices = Choices()
        self._offered = ""
        self._filled = RunConfig()
        self._built = False

    def compose(self) -> ComposeResult:
        """One row a field, then the message and the buttons; nothing before it is opened first: these are half of a
        screen's widgets, and each of them is styled again and again while a mode is opened."""
        if not self._built:
            return
        with VerticalScroll(can_focus=False, id="fields"):
            for name, label in LABELS.items():
                with Horizontal(classes="field", id=f"row-{name}"):
                    yield Label(label)
                    if name in SELECTS:
                        yield Select[str]((("", ""),), id=f"field-{name}", compact=True, allow_blank=False)
                    else:
                        yield Input(id=f"field-{name}", compact=True, select_on_focus=True)
        yield Static(id="wrong", markup=False)
        with Horizontal(id="buttons"):
            yield Button("Apply and reset", id="apply", variant="primary", compact=True)
            yield Button("Close", id="close", compact=True)

    def on_mount(self) -> None:
        """Say what it is, and its keys."""
        self.border_title = "Configuration"
        self.border_subtitle = "tab next   enter apply   esc close"

    def on_show(self) -> None:
        """Take the keys again: a terminal that was too small for it has taken them away."""
        if self.screen.focused is None:
            self.query_one("#field-data").focus()

    # Filling

    async def open(self, choices: Choices, config: RunConfig) -> None:
        """Show this configuration, with these names to choose from, and put the cursor in the first field."""
        if not self._built:
            self._built = True
            await self.recompose()
            self.query_one("#field-layers", Input).placeholder = "none"
            self.query_one("#field-path", Input).placeholder = "CSV NPY TXT or IDX"
            self.query_one("#field-label", Input).placeholder = "the last one"
        self.fill(choices, config)
        self.add_class("-open")
        self.query_one("#field-data").focus()

    def fill(self, choices: Choices, config: RunConfig) -> None:
        self._choices, self._filled = choices, config
        own = config.data not in choices.data
        table = dict(config.loader) if own else {}
        self._select("data", [*choices.data, OTHER], OTHER if own else config.data)
        self._select("task", [BY_DATA, *TASKS], table.get("task") or BY_DATA)
        self._select("standardize", ["no", "yes"], "yes" if table.get("standardize") else "no")
        self._select("cell", [BY_DATA, *choices.cells], config.cell or BY_DATA)
        self._select("device", choices.devices, config.device)
        self._select("precision", choices.precisions, config.precision)
        self._select("activation", choices.activations, config.activation)
        self._select("init", choices.initializers, config.init)
        self._select("optimizer", choices.optimizers, config.optimizer)
        self._offered = numbers.exponent(f"{config.learning_rate:.6g}")
        texts = {
            "path": config.data if own else "",
            "label": str(table.get("label", "")),
            "layers": " ".join(str(width) for width in config.layers),
            "learning_rate": self._offered,
            "batch_size": str(config.batch_size),
            "epochs": str(config.epochs),
            "seed": str(config.seed),
        }
        for name, text in texts.items():
            self.query_one(f"#field-{name}", Input).value = text
        self._show_file(own)
        self.complain("")

    def _show_file(self, own: bool) -> None:
        """The rows that are about a file, or not."""
        for name in OF_A_FILE:
            self.query_one(f"#row-{name}").display = own

    def _select(self, name: str, options: Iterable[str], value: str) -> None:
        names = list(options)
        select = self.query_one(f"#field-{name}", Select)
        with self.prevent(Select.Changed):
            select.set_options((option, option) for option in names)
            if value in names:
                select.value = value

    def complain(self, message: str, field: str = "") -> None:
        """Show what is wrong, and put the cursor in the field that it is about."""
        wrong = self.query_one("#wrong", Static)
        wrong.update(message)
        wrong.display = bool(message)
        if message and not field:
            field = message.partition(":")[0].strip().replace(" ", "_")
            field = ARGUMENTS.get(field, field)
        if field == "data" and self._text("data") == OTHER:
            field = "path"
        if message and field in LABELS:
            self.query_one(f"#field-{field}").focus()

    # Reading

    def _text(self, name: str) -> str:
        if name in SELECTS:
            value = self.query_one(f"#field-{name}", Select).value
            return value if isinstance(value, str) else ""
        return self.query_one(f"#field-{name}", Input).value

    def texts(self) -> dict[str, str]:
        """What the fields hold, by the names of `RunConfig`; of a file also those of `TABLE`."""
        texts = {name: self._text(name) for name in LABELS}
        of_a_file = {name: texts.pop(name) for name in OF_A_FILE}
        if texts["data"] == OTHER:
            texts |= {"data": of_a_file.pop("path"), **of_a_file}
        return texts

    def action_apply(self) -> None:
        """Read the fields; post what they say, or show what is wrong."""
        try:
            config = read_config(self.texts()).with_rest_of(self._filled)
        except FieldError as error:
            self.complain(str(error), error.name)
            return
        self.complain("")
        self.post_message(self.Applied(config))

    def action_close(self) -> None:
        """Close without a change."""
        self.post_message(self.Closed())

    @on(Button.Pressed, "#apply")
    @on(Input.Submitted)
    def _apply(self, event: Message) -> None:
        event.stop()
        self.action_apply()

    @on(Button.Pressed, "#close")
    def _close(self, event: Button.Pressed) -> None:
        event.stop()
        self.action_close()

    @on(Select.Changed, "#field-data")
    def _data_changed(self, event: Select.Changed) -> None:
        event.stop()
        self._show_file(event.value == OTHER)
        if event.value == OTHER:
            self.query_one("#field-path").focus()

    @on(Select.Changed, "#field-optimizer")
    def _optimizer_changed(self, event: Select.Changed) -> None:
        """A rate that nobody typed follows the optimizer."""
        event.stop()
        name, config = event.value, self._filled
        field = self.query_one("#field-learning_rate", Input)
        if isinstance(name, str) and name in self._choices.optimizers and field.value == self._offered:
            rate = config.learning_rate if name == config.optimizer else self._choices.optimizers[name]
            field.value = self._offered = numbers.exponent(f"{rate:.6g}")
