"""The modes of the UI (one file each), and the dialogs over them.

How a mode is added:

1. A row in `MODES` of `tui.actions`: name, key, label, where its class is, one line of help. That alone gives it its
   key, its tab at the top, its entry in help and in the palette.
2. A class of that place: a `ModeScreen` (tui.screens.mode) with `NAME`, `WATCH` (what snapshots are to show of the
   layers while the mode is open, from fastnn.watch.KINDS) and `panes()`, which yields its widgets. Its style goes
   into `app.tcss`. A widget that draws is a `Plot` (tui.widgets.plot): `key(view)` says what it would show,
   `take(view)` keeps it, `draw(width, height)` returns `Cells`. The mode's beat does the rest, some plots a tick.
3. Its actions: rows in `ACTIONS` with `modes=(name,)`, and a method `action_<name>` of the class for each.
   `place="main"` shows them in the border of the mode's main pane:
   `pane.border_subtitle = pane.keys(self.placed("main"))`.
4. Numbers that snapshots do not have come from a probe: `session.probe(name, function)` has the training thread call
   `function(run)` again and again (with `run.network`, `run.trainer`, `run.data`), and `view.found[name]` has what it
   returned. A change of the network by hand is `session.do(function)`. Screens never touch a network themselves.
5. Tests: `tests/tui/test_actions.py` goes through all modes by itself; keys and screens are driven as in
   `test_keys.py`, on the doubles of `fake_training.py`; stored pictures as in `test_snapshots.py`, in dark, light and
   NO_COLOR, at 80x24 and 160x45.
"""
