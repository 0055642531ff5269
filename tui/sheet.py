"""A style sheet that parses each source once for all screens and themes that use it."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet


class Sheet(Stylesheet):
    """Textual's style sheet, which parses all of its sources again, in 0.1 s, whenever a screen is opened first.

    Rules are kept by their source and the variables that they were parsed with, for every app of this process.
    """

    _parsed: ClassVar[dict[tuple[Any, ...], list[RuleSet]]] = {}

    def reparse(self) -> None:
        """Take the rules for the variables as they are now."""
        self.parse()

    def _parse_rules(self, *source: Any, **options: Any) -> list[RuleSet]:
        key = (*source, *options.items(), *self._variables.items())
        if key not in self._parsed:
            self._parse_cache.clear()  # which knows no variables
            self._parsed[key] = super()._parse_rules(*source, **options)
        return self._parsed[key]
