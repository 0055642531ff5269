"""The help screen: every action of the table, and how to read the screen."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.actions import Action, together, written
from tui.screens.dialogs import Once

READING = (
    "A network learns by small steps against the gradient of its loss. The plot shows the loss on the samples it "
    "trains on (solid) and, once an epoch, on samples it never trains on (dashed): when the second rises while the "
    "first falls, the network memorizes. Each histogram shows what one layer puts out on the last batch, in 30 bins: "
    "\u03bc is the mean, \u03c3 the standard deviation; zeros (=0) are silent relu units, saturated units sit at the "
    "flat ends of a sigmoid or tanh and pass no gradient; ! marks what is bad for learning. One bin that towers "
    "over the others is cut and drawn in another shade."
)


class Help(Once, ModalScreen[None]):
    """All keys by group, in the order of the actions; those of one mode alone say which."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,q,question_mark,enter,space", "dismiss(None)", "Close")]

    def __init__(self, actions: tuple[Action, ...]) -> None:
        super().__init__()
        self._actions = actions

    def compose(self) -> ComposeResult:
        """The table, then how to read the screen."""
        with Vertical(classes="dialog", id="help"), VerticalScroll():
            yield Static(self._table())
            yield Static(READING, id="reading", markup=False)

    def on_mount(self) -> None:
        """Title, and how to leave."""
        box = self.query_one("#help")
        box.border_title = "Help"
        arrows = together("up", "down", plain=self._actions[0].plain)
        box.border_subtitle = f"{arrows} scroll   esc close"
        self.query_one(VerticalScroll).focus()

    def _table(self) -> Content:
        groups: dict[str, list[Action]] = {}
        for action in self._actions:
            groups.setdefault(action.group, []).append(action)
        lines: list[Content] = []
        for group, actions in groups.items():
            modes = {action.modes for action in actions}
            shared = modes.pop() if len(modes) == 1 else ()
            lines += [Content("")] if lines else []
            lines.append(Content.assemble((group, "bold $brand"), (_where(group, shared), "$text-muted")))
            for action in actions:
                keys = " ".join(written(key, plain=action.plain) for key in action.keys.split(","))
                where = "" if shared else _where(group, action.modes)
                parts = ((f"{keys:>9}", "bold $key"), "  ", action.help, (where, "$text-muted"))
                lines.append(Content.assemble(*parts))
        return Content("\n").join(lines)


def _where(group: str, modes: tuple[str, ...]) -> str:
    """The modes, unless the group is named after one."""
    return "" if not modes or group.lower() in modes else f"  ({', '.join(modes)})"
