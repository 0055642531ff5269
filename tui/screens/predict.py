"""The Predict mode: what a network makes of the plane, of a line, of images or of the rows of a table."""

from __future__ import annotations

from typing import Any

import numpy as np
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content

from tui.actions import Action
from tui.playground import option
from tui.predicting import KINDS, Window, judge, kind_of, line_probe, plane_probe, points_of, weights_probe
from tui.screens.play import Play
from tui.view import View
from tui.widgets.controls import Controls
from tui.widgets.curve import LinePlot, Scatter
from tui.widgets.judged import ORDERS, Browser, Confusion, ImageView, JudgedPlot, Selection, WorstRows
from tui.widgets.plane import SHOWN, SMALL, BoundaryMap, NeuronMaps
from tui.widgets.plot import Plot
from tui.widgets.weights import WeightList

MARGIN = 0.06  # of a line's length that is drawn beyond its points
LINE_POINTS = 400
# The panes that the arrow keys go to, by what is predicted: the main one, then those beside it.
PANES: dict[str, tuple[type[Plot], ...]] = {
    "plane": (BoundaryMap, NeuronMaps, WeightList, Controls),
    "line": (LinePlot, NeuronMaps, WeightList, Controls),
    "images": (Browser, Confusion, Controls),
    "table": (WorstRows, Confusion, Controls),
}


class PredictScreen(Play):
    """The main answer, the playground's settings, and beside them units and weights, or test part and confusion."""

    NAME = "predict"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.selection = Selection()
        self.unit = (0, 0)
        self._kind = ""
        self._at = 0
        self._asked: tuple[Any, ...] = ()
        self._keys: tuple[Action, ...] = ()

    def panes(self) -> ComposeResult:
        """All panes of all kinds; the style sheet shows those of the kind."""
        with Horizontal(id="predict-main"):
            yield Controls()
            with Vertical(id="answer"):
                yield BoundaryMap()
                yield LinePlot()
                yield ImageView(self.selection)
                yield Scatter()
            with Vertical(id="beside"):
                yield NeuronMaps()
                yield WeightList()
                yield Browser(self.selection)
                yield WorstRows(self.selection)
                yield Confusion(self.selection)

    def on_mount(self) -> None:
        """The frame, looked up once."""
        self._main = self.query_one("#predict-main", Horizontal)

    def on_screen_suspend(self) -> None:
        """Ask no more."""
        self._ask((), {})

    # What it asks for

    def _ask(self, wanted: tuple[Any, ...], probes: dict[str, Any]) -> None:
        if wanted == self._asked:
            return
        self._asked = wanted
        for name in (BoundaryMap.PROBE, LinePlot.PROBE, JudgedPlot.PROBE):
            self.session.probe(name, probes.get(name))
        self._ask_weights(probes)

    def _ask_weights(self, probes: dict[str, Any]) -> None:
        """The weights into the selected unit, where units are shown."""
        shown = BoundaryMap.PROBE in probes or LinePlot.PROBE in probes
        self.session.probe(WeightList.PROBE, weights_probe(*self.unit) if shown else None)

    def _probes(self, view: View) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What tells whether to ask anew, and the probes."""
        data = view.data
        if self._kind == "plane":
            pane = self.query_one(BoundaryMap)
            if not pane.size.width:
                return (), {}
            pane.data = data
            window, points = pane.wanted(), np.concatenate(points_of(data))
            small = Window.around(points, SMALL, SMALL)
            return (view.run, window.columns, window.rows), {BoundaryMap.PROBE: plane_probe(window, small)}
        if self._kind == "line" and data is not None:
            low, high = float(data.x_train.min()), float(data.x_train.max())
            room = (high - low) * MARGIN
            return (view.run,), {LinePlot.PROBE: line_probe(low - room, high + room, LINE_POINTS)}
        return (view.run,), {JudgedPlot.PROBE: judge}

    async def refresh_panes(self, view: View) -> None:
        """The panes of the data's kind, what they ask for, and the frame's title."""
        data = view.data
        kind = kind_of(data)
        if kind != self._kind:
            self._kind = kind
            for name in KINDS:
                self._main.set_class(name == kind, f"-{name}")
            self._main.set_class(data is not None and not data.classes, "-numbers")
            self._activate(0)
        self.query_one(BoundaryMap).hint = self.hint(view)
        self._ask(*self._probes(view))
        self.follow(view)
        self._retitle(view)

    @on(BoundaryMap.Resized)
    def _look_again(self) -> None:
        self._seen = -1

    @property
    def _shown_actions(self) -> tuple[Action, ...]:
        """The actions that do something now: no new points of data that comes as it is, nothing to choose in a pane."""
        config, pane = self.session.view.config, self.active
        left_out = set()
        if option(config, self.session.view.choices, "seed") is None:
            left_out.add("regenerate")
        if not isinstance(pane, (WeightList, Controls)):
            left_out.add("choose")
        return tuple(action for action in self.placed("main") if action.name not in left_out)

    def _retitle(self, view: View) -> None:
        parts: list[Any] = [("Predict", "bold"), (f"  {view.config.data}", "$brand")]
        found = next(iter(view.found.values()), None)
        if found is not None and found.error:
            parts.append((f"  {found.error}", "$health-poor"))
        if self.ui.frozen is not None:
            parts.append(("   FROZEN ", "reverse bold $state-paused"))
        self._main.border_title = Content.assemble(*parts)
        actions = self._shown_actions
        if actions != self._keys:
            self._keys = actions
            self._main.border_subtitle = self.query_one(BoundaryMap).keys(actions)

    @property
    def settled(self) -> bool:
        """Whether the probes have answered, and everything shown is of the newest view."""
        return bool(self._asked) and bool(self.view.found) and super().settled

    # The pane that the keys go to

    @property
    def active(self) -> Plot:
        """The pane that the arrow keys go to."""
        kinds = self._kinds()
        return self.query_one(kinds[self._at % len(kinds)])

    def _kinds(self) -> tuple[type[Plot], ...]:
        kinds = PANES[self._kind or "table"]
        regression = self._main.has_class("-numbers")
        return tuple(kind for kind in kinds if not (regression and kind is Confusion))

    def _activate(self, number: int) -> None:
        self._at = number % len(self._kinds())
        # Where there is room for one pane beside the answer, it is the active one.
        self._main.set_class(isinstance(self.active, (WeightList, Confusion)), "-second")
        self._main.set_class(isinstance(self.active, Controls), "-play")
        for pane in self.query(Plot):
            pane.set_class(pane is self.active, "-active")
            if isinstance(pane, (NeuronMaps, WeightList, JudgedPlot, Controls)):
                pane.active = pane is self.active
        self.active.take(self.view)  # keys in the same breath come before it is drawn
        self._show()

    def _show(self) -> None:
        self._retitle(self.view)
        self.call_after_refresh(self.draw_now)

    def action_pane(self) -> None:
        """The next pane."""
        self._activate(self._at + 1)

    def action_move_left(self) -> None:
        """To the left."""
        self._move(-1, 0)

    def action_move_right(self) -> None:
        """To the right."""
        self._move(1, 0)

    def action_move_up(self) -> None:
        """Up."""
        self._move(0, -1)

    def action_move_down(self) -> None:
        """Down."""
        self._move(0, 1)

    def _move(self, across: int, down: int) -> None:
        pane = self.active
        if isinstance(pane, (BoundaryMap, Confusion)):
            pane.move(across, down)
        elif isinstance(pane, LinePlot):
            pane.move(across)
        elif isinstance(pane, NeuronMaps):
            self._select_unit(*pane.stepped(across, down))
        elif isinstance(pane, WeightList):
            pane.move(down)
            self.nudge(pane, across)
        elif isinstance(pane, Controls):
            pane.move(down)
            pane.change(across) if across else None
        elif isinstance(pane, Browser):
            side = pane.sheet.side if pane.sheet is not None else 1
            self._browse(self.selection.at + across + down * side, pane)
        elif isinstance(pane, WorstRows):
            self._browse(self.selection.at + across + down, pane)
        self._retitle(self.view)
        self.draw_now()  # nothing is laid out anew

    def _browse(self, at: int, pane: JudgedPlot) -> None:
        self.selection.at = min(max(at, 0), max(0, len(pane.rows) - 1))

    def _select_unit(self, layer: int, unit: int) -> None:
        self.unit = (layer, unit)
        self.query_one(NeuronMaps).selected = self.unit
        self.query_one(WeightList).selected = self.unit
        self.session.probe(WeightList.PROBE, weights_probe(layer, unit))

    def action_choose(self) -> None:
        """What enter does in the active pane: the rows of a cell of the confusion matrix, and all rows again."""
        pane = self.active
        if isinstance(pane, Confusion):
            self._choose_cell(pane.at)
        elif isinstance(pane, JudgedPlot):
            self._choose_cell(None)
        elif isinstance(pane, (BoundaryMap, LinePlot)):
            pane.cursor = None
            self._show()
        elif isinstance(pane, WeightList):
            self.type_weight(pane)
        elif isinstance(pane, Controls):
            pane.change(1)
        else:
            self._activate(self._at + 1)

    def _choose_cell(self, cell: tuple[int, int] | None) -> None:
        self.selection.cell = None if cell == self.selection.cell else cell
        self.selection.at = 0
        self._activate(0)

    def action_show(self) -> None:
        """The points of the plane or the order of the rows, in turn."""
        if self._kind in ("plane", "line"):
            for pane in (self.query_one(BoundaryMap), self.query_one(LinePlot)):
                pane.shown = SHOWN[(SHOWN.index(pane.shown) + 1) % len(SHOWN)]
        else:
            self.selection.order = ORDERS[(ORDERS.index(self.selection.order) + 1) % len(ORDERS)]
            self.selection.at = 0
        self._show()

    def action_cursor_off(self) -> None:
        """No cursor, no chosen cell, and the keys go to the first pane."""
        self.query_one(BoundaryMap).cursor = self.query_one(LinePlot).cursor = None
        self.selection.cell = None
        self._activate(0)

    # The mouse

    @on(BoundaryMap.Pointed)
    def _pointed(self, event: BoundaryMap.Pointed) -> None:
        self.query_one(BoundaryMap).cursor = (event.x, event.y)
        self._activate(0)

    @on(LinePlot.Pointed)
    def _pointed_at_line(self, event: LinePlot.Pointed) -> None:
        self.query_one(LinePlot).cursor = event.x
        self._activate(0)

    @on(NeuronMaps.Pressed)
    def _unit_pressed(self, event: NeuronMaps.Pressed) -> None:
        self._select_unit(event.layer, event.unit)
        self._activate(1)

    @on(WeightList.Pressed)
    def _weight_pressed(self, event: WeightList.Pressed) -> None:
        self.query_one(WeightList).at = event.at
        self._activate(2)

    @on(Browser.Pressed)
    def _row_pressed(self, event: Browser.Pressed) -> None:
        self.selection.at = event.at
        self._activate(0)

    @on(Confusion.Pressed)
    def _cell_pressed(self, event: Confusion.Pressed) -> None:
        self.query_one(Confusion).at = event.cell
        self._choose_cell(event.cell)
