"""Textual's compositor, made to render for a frame what has changed and nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from textual._compositor import ChopsUpdate, Compositor
from textual.geometry import Region
from textual.strip import Strip


class Frames(Compositor):
    """Textual 8.2 asks all widgets for their lines that lie between the first thing that has changed and the last, and
    what is in front wins: with the status above and a plot below that is thirteen widgets, where two have changed."""

    _changed: frozenset[Region] = frozenset()

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
