"""Textual's compositor, made to render for a frame what has changed and nothing else, and to tell all of their size."""

from __future__ import annotations

from collections.abc import Iterable

from textual._compositor import ChopsUpdate, Compositor, CompositorMap, ReflowResult
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget


class Frames(Compositor):
    """Textual 8.2 asks all widgets for their lines that lie between the first thing that has changed and the last, and
    what is in front wins: with the status above and a plot below that is thirteen widgets, where two have changed.

    And it compares a layout with the places that it last gave to anyone: who asked for one after a drawer was closed,
    and before the layout for that, kept others from hearing of their new size.
    """

    _changed: frozenset[Region] = frozenset()
    _told: CompositorMap = {}  # noqa: RUF012 - replaced, never written to

    def reflow(self, parent: Widget, size: Size) -> ReflowResult:
        """Lay out all; what is hidden, shown and resized since the last time."""
        self._full_map = self._told
        result = super().reflow(parent, size)
        self._told = self._full_map
        return result

    def render_partial_update(self) -> ChopsUpdate | None:
        """An update of the regions that have changed."""
        self._changed = frozenset(getattr(self, "_dirty_regions", ()))  # of another version: as Textual does it
        try:
            return super().render_partial_update()
        finally:
            self._changed = frozenset()

    def _get_renders(self, crop: Region | None = None) -> Iterable[tuple[Region, Region, list[Strip]]]:
        """The lines of each widget that is seen in what has changed, from front to back; else of all."""
        if not self._changed:
            yield from super()._get_renders(crop)
            return
        hidden = self._changed
        for widget, (region, clip) in self.visible_widgets.items():
            seen = region.intersection(clip)
            if any(seen.overlaps(changed) for changed in hidden):
                yield region, clip, widget.render_lines(seen.translate(-region.offset))
                hidden = frozenset(changed for changed in hidden if not seen.contains_region(changed))
                if not hidden:
                    return
