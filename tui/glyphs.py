"""Terminals that cannot show Unicode: which they are, and the same screen in ASCII."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_TABLE = {
    **dict.fromkeys("\u2501\u2500\u2578\u2581\u2582\u2594\u2574\u2576\u257a", "-"),
    **dict.fromkeys("\u2502\u2503\u258f\u2595\u258e\u258a\u2590\u258c\u258d\u258b\u2589", "|"),
    **dict.fromkeys("\u250c\u2510\u2514\u2518\u256d\u256e\u2570\u256f\u251c\u2524\u252c\u2534\u253c", "+"),
    "\u25cf": "*", "\u25d0": "=", "\u25cb": "o", "\u25cc": ".", "\u25a0": "#", "\u2714": "+", "\u2716": "!",
    "\u2190": "<", "\u2192": ">", "\u2191": "^", "\u2193": "v",
    "\u25bc": "v", "\u25b2": "^", "\u25b6": ">", "\u25c0": "<",
    "\u03bc": "m", "\u03c3": "s", "\u2013": "-", "\u2026": "~", "\u00b7": ".", "\u23ce": " ", "\u00d7": "x",
    "\u00a0": " ", "\u2039": "<", "\u203a": ">", "\u2202": "d", "\u2211": "S", "\u03a3": "S", "\u221a": "V",
    "\u03b7": "n", "\u2248": "~", "\u207b": "-",
}  # fmt: skip
TO_ASCII = str.maketrans(_TABLE)


def wants_ascii(environment: Mapping[str, str]) -> bool:
    """Whether the locale says that the terminal has no Unicode.

    Only a locale that is set says so: containers and remote shells often have none, and a terminal that has.
    """
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        value = environment.get(name, "")
        if value:
            return "utf" not in value.lower()
    return False


def to_ascii(text: str) -> str:
    """The same number of cells in ASCII."""
    if text.isascii():
        return text
    return "".join(c if c.isascii() else _nearest(c) for c in text.translate(TO_ASCII))


def _nearest(char: str) -> str:
    """What Unicode has for small and raised letters and digits; # where that is no single one of ASCII."""
    plain = unicodedata.normalize("NFKC", char)
    return plain if len(plain) == 1 and plain.isascii() else "#"


class Ascii(LineFilter):
    """Replaces every character outside ASCII on its way to the terminal."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same segments in ASCII."""
        return [Segment(to_ascii(text), style, control) for text, style, control in segments]
