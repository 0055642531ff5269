"""The playground's part of the Predict mode: other data, inputs, layers and weights, tried at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from textual import on

from tui.config import RunConfig
from tui.playground import Preset, regenerated, resized, rows, with_one_less, with_one_more
from tui.predicting import set_weight
from tui.screens.dialogs import TextInput
from tui.screens.mode import ModeScreen
from tui.screens.presets import PresetList
from tui.view import View
from tui.widgets.controls import Controls
from tui.widgets.weights import WeightList

STEP = 0.1  # by which an arrow key changes a weight, or a tenth of it where that is more
PRESET_SPEED = 500.0  # steps a second at which a preset begins: at full speed it is learned before it is seen


class Play(ModeScreen):
    """Changes of the configuration that take effect at once; training goes on when it ran."""

    unit = (0, 0)  # the unit that is selected: its layer, from 0, and its number
    preset: Preset | None = None
    _tried: int = 0  # the number of the configuration that waits for an answer
    _wanted: RunConfig | None = None

    @property
    def config(self) -> RunConfig:
        """The configuration as it was asked for last."""
        return self._wanted or self.session.view.config

    def play(self, config: RunConfig | None, *, start: bool | None = None) -> None:
        """Try this configuration; nothing for None, where there is no further choice. `start` as `Session.apply`."""
        if config is None:
            return
        self.ui.frozen = None
        # A rate that was changed meanwhile is kept, unless the change brings its own.
        if (config.learning_rate, config.optimizer) == (self.config.learning_rate, self.config.optimizer):
            config = replace(config, learning_rate=self.session.view.rate)
        self._wanted, self._tried = config, self.session.apply(config, start=start)
        self.query_one(Controls).config = config
        self.draw_now()

    def follow(self, view: View) -> None:
        """Once the configuration was tried: say why not, where it was not taken."""
        now = self.session.view
        if self.preset is not None and not self._tried and now.config != self.preset.config:
            self.preset = None
        if not self._tried or now.answered < self._tried:
            return
        self._tried, self._wanted = 0, None
        self.query_one(Controls).config = None
        if now.answer:
            self.notify(now.answer, severity="error", markup=False)
        self._seen = -1

    def message(self, view: View) -> str:
        """What to watch in a preset, where nothing else is to be said."""
        told = super().message(view)
        return told or (f"{self.preset.name}: {self.preset.watch}" if self.preset is not None else "")

    @on(Controls.Changed)
    def _changed(self, event: Controls.Changed) -> None:
        """A row's next choice, beside the configuration as it was asked for last: another key may have come since."""
        view = self.session.view
        found = {row.name: row for row in rows(self.config, view.choices, view.run)}.get(event.row)
        if found is not None:
            self.play(found.right if event.direction > 0 else found.left)

    # Keys

    def action_regenerate(self) -> None:
        """Other points."""
        config = regenerated(self.config, self.session.view.choices)
        if config is None:
            self.notify("this data set comes as it is: it has no seed")
        self.play(config)

    def action_layer_less(self) -> None:
        """One hidden layer less."""
        self.play(with_one_less(self.config))

    def action_layer_more(self) -> None:
        """One hidden layer more."""
        self.play(with_one_more(self.config))

    def action_unit_less(self) -> None:
        """A unit less in the selected layer."""
        self.play(resized(self.config, self._layer, -1))

    def action_unit_more(self) -> None:
        """A unit more in the selected layer."""
        self.play(resized(self.config, self._layer, 1))

    @property
    def _layer(self) -> int:
        return max(0, min(self.unit[0], len(self.config.layers) - 1))

    def action_presets(self) -> None:
        """Runs to start from."""
        self.app.push_screen(PresetList(), self._take_preset)

    def _take_preset(self, preset: Preset | None) -> None:
        if preset is not None:
            self.preset = preset
            if self.session.view.limit is None:
                self.session.set_limit(PRESET_SPEED)
            self.session.set_rate(preset.config.learning_rate)
            self.play(preset.config, start=True)

    # Weights by hand

    def nudge(self, pane: WeightList, direction: int) -> None:
        """Change the selected weight by a step."""
        if direction and pane.value is not None:
            self._give(pane, lambda value: value + direction * max(STEP, abs(value) * STEP))

    def type_weight(self, pane: WeightList) -> None:
        """Ask for the selected weight's value."""
        value = pane.value
        if value is None:
            return
        name = f"{pane.source(pane.at)} into L{pane.selected[0] + 1}.{pane.selected[1] + 1}"

        def take(text: str | None) -> None:
            if text is None:
                return
            try:
                number = float(text)
                if not abs(number) < 1e30:
                    raise ValueError
            except ValueError:
                self.notify(f"{text!r} is no weight; expected a number", severity="error", markup=False)
            else:
                self._give(pane, lambda _: number)

        self.app.push_screen(TextInput(name, f"{value:.6g}", "enter takes it, esc leaves it"), take)

    def _give(self, pane: WeightList, change: Callable[[float], float]) -> None:
        layer, unit = pane.selected
        self.session.do(set_weight(layer, unit, None if pane.at == 0 else pane.at - 1, change))
