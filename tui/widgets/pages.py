"""Page keys in Textual's lists: 8.2.8 fails (KeyError) where one comes before a list is laid out, or as it closes.

The lists of the palette and of a Select are made by Textual itself, so that no class of ours can stand in for them.
"""

from __future__ import annotations

from typing import Any

from textual.widgets import OptionList

_move_page = OptionList._move_page


def _move_page_when_laid_out(options: OptionList, direction: Any) -> None:
    if (options.highlighted or 0) in options._index_to_line:
        _move_page(options, direction)


def mend() -> None:
    """Have a page key do nothing then; for all lists, once or again."""
    OptionList._move_page = _move_page_when_laid_out  # type: ignore[method-assign, assignment]
