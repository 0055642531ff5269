"""The Layers mode: outputs, gradients, weights and updates of every layer, now and over time."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content

from tui.layerlog import KINDS
from tui.screens.mode import ModeScreen
from tui.view import View
from tui.widgets.layers import FORMS, LEGEND, NAMES, LayerGrid, LayerPlot, WeightImages, first_weights, has_images


class LayersScreen(ModeScreen):
    """A grid of layers and kinds of numbers; beside it the first layer's weights where they are images."""

    NAME = "layers"
    WATCH = (*ModeScreen.WATCH, *KINDS)

    def panes(self) -> ComposeResult:
        """The grid in a frame with the keys."""
        with Horizontal(id="layers-main"):
            yield LayerGrid(id="layer-grid")
            yield WeightImages(id="weight-images")

    def on_mount(self) -> None:
        """The parts, looked up once."""
        self._frame_of_grid = self.query_one("#layers-main", Horizontal)
        self._grid, self._images = self.query_one(LayerGrid), self.query_one(WeightImages)

    def on_screen_resume(self) -> None:
        """Ask for the first layer's weights while this mode is open."""
        if self.is_current:
            self.session.probe(WeightImages.PROBE, first_weights(WeightImages.MOST))

    def on_screen_suspend(self) -> None:
        """Ask no more."""
        self.session.probe(WeightImages.PROBE, None)

    async def refresh_panes(self, view: View) -> None:
        """As many plots as fit, and what they show."""
        images = view.run is not None and has_images(view.run)
        self._frame_of_grid.set_class(images, "-with-images")
        if await self._grid.fit(max(0, len(view.sizes) - 1)):
            self.call_after_refresh(self.draw_now)
        self._retitle(view)

    def _retitle(self, view: View) -> None:
        grid, frame = self._grid, self._frame_of_grid
        left, right = grid.hidden
        first = "Layers" if not grid.whole else f"Layers: {NAMES[grid.kind]}"
        parts = [(first, "bold"), ("  " + ("all views" if grid.whole else grid.form), "$brand")]
        if "percentiles" in (form for _, form in grid.rows()[: grid.room()[0]]):
            parts += [(f"  {text}", f"${name}") for text, name in LEGEND]
        if self._shows_images_alone:
            parts = [("First layer", "bold")]
        elif left or right:
            parts.append((f"  ← {left} more" if left else "", "$text-muted"))
            parts.append((f"  {right} more →" if right else "", "$text-muted"))
        if self.ui.frozen is not None:
            parts.append(("   FROZEN ", "reverse bold $state-paused"))
        if view.snapshot is not None and view.snapshot.step == 0:
            parts.append((f"  {self.hint(view)}", "$text-muted"))
        frame.border_title = Content.assemble(*parts)
        if not frame.border_subtitle:
            frame.border_subtitle = self._images.keys(self.placed("main"))

    @property
    def _shows_images_alone(self) -> bool:
        return self._frame_of_grid.has_class("-images", "-with-images")

    # What is shown

    async def _show(self) -> None:
        """At once: a key does not wait for the turn of each plot, nor for a frame where no plot comes or goes."""
        view = self.view
        others = await self._grid.fit(len(view.sizes) - 1)
        self._retitle(view)
        if others:
            self.call_after_refresh(self.draw_now)
        else:
            self.draw_now()

    async def action_form(self) -> None:
        """Histograms now, heat maps over time, or percentiles."""
        self._grid.form = FORMS[(FORMS.index(self._grid.form) + 1) % len(FORMS)]
        await self._show()

    async def action_kind(self) -> None:
        """The next kind of numbers first."""
        self._grid.kind = KINDS[(KINDS.index(self._grid.kind) + 1) % len(KINDS)]
        await self._show()

    async def action_full(self) -> None:
        """One kind in all views, or one view of all kinds."""
        self._grid.whole = not self._grid.whole
        await self._show()

    async def action_images(self) -> None:
        """The first layer's weights as images, where there is no room for both or to have more room."""
        if not self._frame_of_grid.has_class("-with-images"):
            self.notify("the first layer sees no images")
            return
        self._frame_of_grid.toggle_class("-images")
        self.call_after_refresh(self._show)

    async def action_layers_left(self) -> None:
        """Layers further to the left."""
        self._grid.first -= 1
        await self._show()

    async def action_layers_right(self) -> None:
        """Layers further to the right."""
        self._grid.first += 1
        await self._show()

    @on(LayerPlot.Pressed)
    async def _pressed(self, event: LayerPlot.Pressed) -> None:
        self._grid.kind, self._grid.form = event.kind, event.form
        await self.action_full()

    @property
    def settled(self) -> bool:
        """Whether the plots are there, and everything shown is of the newest view."""
        if not super().settled:
            return False
        grid = self._grid
        rows, columns = grid.room()
        there = grid.depth == len(self.view.sizes) - 1 and len(grid.plots) == rows * columns
        asked = not self._frame_of_grid.has_class("-with-images") or WeightImages.PROBE in self.view.found
        return asked and (there or not grid.size.width)
