"""A plot as cached Textual strips: built once for its data and size, then painted from memory line by line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from textual.color import Color
from textual.content import Content
from textual.filter import ANSIToTruecolor, LineFilter
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.actions import Action
from tui.colors import COOL, GRAYS, WARM
from tui.view import View
from tui.widgets.cells import RGB, Cells

if TYPE_CHECKING:
    from tui.app import FastnnApp


class Plot(Widget):
    """A widget that paints the cells of `draw(width, height)`; a mode's beat draws its plots, some a tick.

    A plot says what it would show (`key`), takes it from a view (`take`), and draws it. Drawing happens in `show`,
    at most once a turn, and when the size or the theme changes, from what was taken last.
    """

    DEFAULT_CSS = "Plot { width: 1fr; height: 1fr; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._strips: list[Strip] | None = None
        self._drawn_size = (0, 0)

    # What a plot is made of

    def key(self, view: View) -> tuple[Any, ...]:
        """What `show` would draw for this view, compared item by item: by identity, or as text and numbers."""
        return (view.snapshot,)

    def take(self, view: View) -> None:
        """Keep what is to be drawn, and write title and caption."""

    def draw(self, width: int, height: int) -> Cells | None:
        """The plot in this size; None for nothing."""
        raise NotImplementedError

    # Drawing

    def show(self, view: View) -> None:
        """Take what this view has for the plot, and draw it."""
        self.take(view)
        self.redraw()

    def redraw(self) -> None:
        """Build the strips now, so that the caller can measure what it cost, and paint them."""
        self._build()
        self.refresh()

    def redraw_when_painted(self) -> None:
        """Build the strips when the screen is painted: once for all the keys of a breath."""
        self._strips = None
        self.refresh()

    def _build(self) -> None:
        width, height = self._drawn_size = self.size
        cells = self.draw(width, height) if width > 0 and height > 0 else None
        self._strips = cells.strips(self.rich_style) if cells is not None else []

    def notify_style_update(self) -> None:
        """Colors come from the theme, so a change of theme draws again."""
        super().notify_style_update()
        self._strips = None

    def render_lines(self, crop: Region) -> list[Strip]:
        """Lines of the plot, with its border."""
        if self._drawn_size != self.size:  # once, not for each line: it is looked up on the screen
            self._build()
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """One line of the plot, from the cache."""
        if self._strips is None:
            self._build()
        strips = self._strips or ()
        return strips[y] if y < len(strips) else Strip.blank(self._drawn_size[0], self.rich_style)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Without the one that gives colors of the terminal fixed values: here are none, and it copies every line."""
        return [found for found in super().get_line_filters() if not isinstance(found, ANSIToTruecolor)]

    # What drawing may ask for

    @property
    def ui(self) -> FastnnApp:
        """The application, with its session and options."""
        return cast("FastnnApp", self.app)

    @property
    def plain(self) -> bool:
        """Whether the terminal shows ASCII only."""
        return self.ui.ascii_only

    @property
    def gray(self) -> bool:
        """Whether colors are shown by their lightness alone (NO_COLOR)."""
        return self.app.no_color

    @property
    def signs(self) -> tuple[RGB, RGB, RGB]:
        """The colors of numbers below, at and above zero."""
        return GRAYS if self.gray else (COOL, self.color("background"), WARM)

    @property
    def marker(self) -> str:
        """How dots are drawn: "braille", "block" or "ascii"."""
        return self.ui.marker

    def color(self, name: str) -> RGB:
        """A color of the theme, as (red, green, blue)."""
        return Color.parse(self.app.theme_variables[name]).rgb

    def title_of(self, parts: Sequence[Any]) -> Content:
        """As many of these parts of a title, from the first on, as the border has room for."""
        title = Content("")
        for part in parts:
            longer = Content.assemble(title, part)
            if title and longer.cell_length > self.size.width - 4:
                break
            title = longer
        return title

    def keys(self, actions: tuple[Action, ...]) -> Content:
        """Keys for a border, each of them clickable."""
        parts = [
            Content.assemble(
                Content.styled(action.shown, f"bold $key @click=screen.{action.call}"),
                Content.styled(f" {action.label}" if action.label else "", "$text-muted"),
            )
            for action in actions
        ]
        return Content(" ").join(parts)
