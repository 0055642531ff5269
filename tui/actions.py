"""The one table of actions: bindings, key bar, pane titles, help and command palette are all made from it.

An action is a method `action_<name>` of a screen: of every mode's when `modes` is empty (`tui.screens.commands`),
else of the modes that it names. To add one, add a row here and the method there. A mode is a row of MODES.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Mode:
    """A screen with a key of its own; `screen` is where its class is, imported when it is opened first."""

    name: str
    key: str
    label: str
    screen: str
    help: str


@dataclass(frozen=True)
class Action:
    """One thing that a user can do.

    `keys` are Textual key names, `label` is the short word beside them, `title` names the action in the command
    palette, and `help` is one sentence. `place` says where the action is shown all the time: "tabs" (the top line),
    "status" (the line below), "bar" (the bottom line), "main" (the border of a mode's main pane), or "" for help and
    palette alone. `argument` goes to the method. `plain` keys are written in ASCII.
    """

    name: str
    keys: str
    label: str
    title: str
    help: str
    group: str
    place: str = ""
    modes: tuple[str, ...] = ()
    argument: str = ""
    plain: bool = False

    @property
    def call(self) -> str:
        """The action as Textual writes it."""
        return f"{self.name}('{self.argument}')" if self.argument else f"{self.name}()"

    @property
    def id(self) -> str:
        """The action's name in a file of keys."""
        return f"{self.name}_{self.argument}" if self.argument else self.name

    @property
    def shown(self) -> str:
        """The first of the keys as it is written on screen."""
        return written(self.keys.split(",")[0], plain=self.plain)


_WRITTEN = {
    "left_square_bracket": "[", "right_square_bracket": "]", "left_curly_bracket": "{", "right_curly_bracket": "}",
    "question_mark": "?", "left": "←", "right": "→", "up": "↑", "down": "↓", "comma": ",", "full_stop": ".",
    "minus": "-", "plus": "+", "equals_sign": "=", "less_than_sign": "<", "greater_than_sign": ">", "escape": "esc",
    "slash": "/", "asterisk": "*", "number_sign": "#", "backspace": "⌫", "delete": "del", "enter": "⏎",
}  # fmt: skip


# Whose signs have no like in ASCII; < > ^ v are keys themselves.
_PLAIN = {"enter": "enter", "backspace": "bksp", "left": "<-", "right": "->", "up": "up", "down": "dn"}


def written(key: str, *, plain: bool = False) -> str:
    """A Textual key name as it is written on screen: ^s for ctrl+s, ⇧→ for shift+right; `plain` for ASCII."""
    if key.startswith("ctrl+"):
        return "^" + written(key[5:], plain=plain)
    if key.startswith("shift+"):
        return ("S-" if plain else "⇧") + written(key[6:], plain=plain)
    return (_PLAIN if plain else {}).get(key) or _WRITTEN.get(key, key)


def together(*keys: str, plain: bool) -> str:
    """Keys of one use, side by side; apart where their signs are words."""
    return (" " if plain else "").join(written(key, plain=plain) for key in keys)


MODES: tuple[Mode, ...] = (
    Mode("train", "1", "Train", "tui.screens.train:TrainScreen", "Run a network, watch it learn, change it."),
    Mode("layers", "2", "Layers", "tui.screens.layers:LayersScreen", "Each layer's numbers, now and over time."),
    Mode("predict", "3", "Predict", "tui.screens.predict:PredictScreen", "What it answers; a playground."),
    Mode("runs", "4", "Runs", "tui.screens.runs:RunsScreen", "Runs of before: compare them, go on with them."),
    Mode("learn", "5", "Learn", "tui.screens.learn:LearnScreen", "The lecture: read, predict, try."),
    Mode("log", "6", "Log", "tui.screens.log:LogScreen", "What happened, and what was printed."),
)


def _group(
    group: str, place: str, *rows: tuple[str, str, str, str, str], modes: tuple[str, ...] = ()
) -> tuple[Action, ...]:
    """Rows of name, keys, label, title and help that share the rest."""
    return tuple(Action(*row, group, place, modes) for row in rows)


# fmt: off
ACTIONS: tuple[Action, ...] = (
    *_group("Training", "bar",
        ("toggle_run", "space", "Run", "Run or pause", "Start training, pause it, go on."),
        ("step", "s", "Step", "One step", "Do exactly one update, then pause."),
        ("epoch", "e", "Epoch", "To the end of the epoch", "Train to the end of the epoch, then pause."),
        ("stop", "x", "Stop", "Stop the run", "End the run; space takes it up again."),
        ("reset", "r", "Reset", "Reset the network", "Start again from the seed, as configured."),
    ),
    *_group("Training", "status",
        ("slower", "minus", "", "Slower", "Train fewer steps a second, to watch."),
        ("faster", "plus,equals_sign", "", "Faster", "Train more steps a second, up to full speed."),
    ),
    *_group("Training", "",
        ("undo", "u", "", "Undo", "Go back to the moment before; a step is undone."),
        ("redo", "U", "", "On again", "After going back: on to the next moment."),
        ("gently", "g", "", "Go on with a tenth of the rate", "After a divergence: go on from the last good state."),
    ),
    *_group("Learning rate", "status",
        ("rate_tenth", "left_curly_bracket", "", "Learning rate / 10", "Divide the learning rate by 10."),
        ("rate_down", "left_square_bracket", "", "Learning rate / 1.25", "Divide the learning rate by 1.25."),
        ("rate_up", "right_square_bracket", "", "Learning rate x 1.25", "Multiply the learning rate by 1.25."),
        ("rate_tenfold", "right_curly_bracket", "", "Learning rate x 10", "Multiply the learning rate by 10."),
        ("type_rate", "l", "lr", "Type a learning rate", "Type a learning rate."),
    ),
    *_group("Train", "main",
        ("log_y", "y", "log", "Logarithmic axis", "Loss and gradients on a linear or a log axis."),
        ("smooth", "m", "smooth", "Smooth the curves", "Smooth; the values stay faint behind."),
        ("window", "w", "last", "Whole run or its latest part", "Show the whole run, or its latest tenth."),
        ("trend", "a", "trend", "Next trend", "Another trend in the large pane."),
        ("pin", "p", "pin", "Pin this run", "Keep the run as a ghost behind those to come."),
        ("full", "f", "full", "One pane full screen", "The trend over the whole screen, then the layers."),
        modes=("train",),
    ),
    *_group("Display", "main",
        ("freeze", "d", "freeze", "Freeze the display", "Hold the display still; training goes on."),
    ),
    *_group("Train", "main",
        ("cursor_left", "left", "", "Cursor to the left", "Read the curves further to the left."),
        ("cursor_right", "right", "read", "Cursor to the right", "Read the curves further to the right."),
        ("layers_left", "less_than_sign,comma", "", "Layers to the left", "Scroll the histograms to the left."),
        ("layers_right", "greater_than_sign,full_stop", "", "Layers to the right",
         "Scroll the histograms to the right."),
        ("layer_view", "v", "layers", "Outputs, gradients, weights or updates",
         "What the histograms show, in turn."),
        modes=("train",),
    ),
    *_group("Train", "",
        ("unpin", "P", "", "Unpin all runs", "Take the ghosts of pinned runs away."),
        ("rewind", "b", "", "Back to the cursor", "Rewind the run to the step at the cursor."),
        ("cursor_off", "escape", "", "Cursor off", "Take the cursor away."),
        modes=("train",),
    ),
    *_group("Layers", "main",
        ("form", "v", "view", "Now, over time or percentiles", "Histograms now, over time, or their percentiles."),
        ("kind", "a", "kind", "Outputs, gradients, weights or updates", "What is shown first, in turn."),
        ("full", "f", "full", "One kind in all views", "One kind of numbers, in all views below each other."),
        ("images", "i", "images", "Weights as images", "The weights of the first layer as images."),
        ("layers_left", "left,less_than_sign,comma", "", "Layers to the left", "Show the layers further to the left."),
        ("layers_right", "right,greater_than_sign,full_stop", "layers", "Layers to the right",
         "Show the layers further to the right."),
        modes=("layers",),
    ),
    *_group("Predict", "main",
        ("pane", "o", "pane", "Next pane", "Have the arrow keys go to the next pane."),
        ("move_left", "left", "", "To the left", "Move the cursor or selection of the pane to the left."),
        ("move_right", "right", "move", "To the right", "Move the cursor or selection of the pane to the right."),
        ("choose", "enter", "edit", "Choose or edit", "Type a weight; browse the rows of a cell of the matrix."),
        ("show", "v", "show", "Points, or the order of rows", "All points, those never trained on, or none."),
        modes=("predict",),
    ),
    *_group("Playground", "main",
        ("regenerate", "n", "new", "New points", "Other points (or another split) of the same data."),
        ("presets", "p", "preset", "Presets", "Runs to start from, good and bad, with what to watch."),
        ("layer_less", "less_than_sign", "", "One layer less", "Take the last hidden layer away."),
        ("layer_more", "greater_than_sign", "layer", "One layer more", "Add a hidden layer."),
        ("unit_less", "comma", "", "A unit less", "A unit less in the layer of the selected unit."),
        ("unit_more", "full_stop", "unit", "A unit more", "A unit more in the layer of the selected unit."),
        modes=("predict",),
    ),
    *_group("Predict", "",
        ("move_up", "up", "", "Up", "Move the cursor or selection of the pane up."),
        ("move_down", "down", "", "Down", "Move the cursor or selection of the pane down."),
        ("cursor_off", "escape", "", "Cursor off", "Take cursor and choice away."),
        modes=("predict",),
    ),
    *_group("Runs", "main",
        ("run_up", "up", "", "Run above", "Select the run above."),
        ("run_down", "down", "", "Run below", "Select the run below."),
        ("open_run", "enter", "open", "Open the run", "Take the run up again where it was left."),
        ("mark", "m", "mark", "Mark the run", "Mark the run: marked ones are overlaid and compared."),
        ("compare", "v", "compare", "Curves or configurations", "Curves or comparison where both do not fit."),
        ("sort", "o", "order", "Sort the runs", "By date, loss, accuracy, steps or data."),
        ("filter", "slash", "find", "Filter the runs", "Show runs that have some words."),
        ("metric", "a", "curve", "Next curve of the runs", "Validation or training, loss or accuracy."),
        ("delete", "backspace,delete", "del", "Delete the run", "Delete a kept run; asks first."),
        modes=("runs",),
    ),
    *_group("Runs", "",
        ("again", "n", "", "New run like this one", "Begin again with the configuration of the run."),
        ("unmark", "M", "", "Unmark all runs", "Take the marks of all runs away."),
        ("log_y", "y", "", "Logarithmic loss of the runs", "Losses of the runs on a linear or a log axis."),
        ("run_first", "home", "", "First run", "Select the first run of the list."),
        ("run_last", "end", "", "Last run", "Select the last run of the list."),
        modes=("runs",),
    ),
    *_group("Learn", "main",
        ("choose_up", "up", "", "Answer or value above", "Choose the answer, or the value, above."),
        ("choose_down", "down", "choose", "Answer or value below", "Choose the answer, or the value, below."),
        ("value_less", "left", "", "Value a step back", "The chosen value a step back."),
        ("value_more", "right", "change", "Value a step on", "The chosen value a step on."),
        ("take", "enter", "take", "Answer, or type a value", "Answer the question; then, type the chosen value."),
        ("parts", "v", "view", "Next view", "What does not fit on the screen."),
        ("text", "b", "text", "Text or numbers", "The lesson's text again, where both do not fit."),
        ("lesson_before", "p", "", "Lesson before", "The lesson before this one."),
        ("lesson_next", "n", "lesson", "Next lesson", "The lesson after this one."),
        ("try", "o", "try", "Open in Train", "Load a configuration that shows the lesson."),
        ("restore", "backspace,delete", "as before", "Values as at first", "All values of the lesson as they were."),
        modes=("learn",),
    ),
    *_group("Log", "main",
        ("line_up", "up", "", "Line up", "Scroll the log a line up."),
        ("line_down", "down", "lines", "Line down", "Scroll the log a line down."),
        ("search", "slash", "find", "Search the log", "Show the newest line that has some words."),
        ("search_older", "n", "older", "Next found above", "The next line above that has the words."),
        ("search_newer", "N", "newer", "Next found below", "The next line below that has the words."),
        ("level", "v", "level", "Levels of the log", "All lines, warnings and errors, or errors."),
        ("newest", "end", "follow", "Newest line", "Go to the end of the log and follow it."),
        modes=("log",),
    ),
    *_group("Log", "",
        ("page_up", "pageup", "", "Page up", "Scroll the log a page up."),
        ("page_down", "pagedown", "", "Page down", "Scroll the log a page down."),
        ("oldest", "home", "", "Oldest line", "Go to the beginning of the log."),
        ("text_left", "left", "", "Log to the left", "Long lines of the log from further left."),
        ("text_right", "right", "", "Log to the right", "Long lines of the log from further right."),
        modes=("log",),
    ),
    *_group("Display", "",
        ("export", "ctrl+s", "", "Export", "Write the screen (SVG), the curves (CSV) and the run (ZIP)."),
        ("markers", "k", "", "Next marker", "Draw curves in braille, in blocks or in ASCII."),
        ("theme", "t", "", "Next theme", "Switch between the dark and the light theme."),
    ),
    *(Action("mode", m.key, m.label, f"Screen: {m.label}", m.help, "Screens", "tabs", (), m.name) for m in MODES),
    *_group("Application", "bar",
        ("configure", "c", "Config", "Configuration", "Choose data, network and optimizer."),
        ("help", "question_mark", "Help", "Help", "Show every key."),
        ("quit", "q,ctrl+c", "Quit", "Quit", "Leave; asks first while training runs."),
        ("palette", "ctrl+p", "All", "Command palette", "Search all commands by name."),
    ),
)
# fmt: on


def of_mode(actions: tuple[Action, ...], mode: str) -> tuple[Action, ...]:
    """The actions that a mode has, in the order of the table."""
    return tuple(action for action in actions if not action.modes or mode in action.modes)


def in_ascii(actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """The actions with keys that a terminal without Unicode can show."""
    return tuple(replace(action, plain=True) for action in actions)


def remapped(actions: tuple[Action, ...], keys: Mapping[str, str]) -> tuple[Action, ...]:
    """The actions with other keys, by their `id`."""
    return tuple(replace(action, keys=keys.get(action.id, action.keys)) for action in actions)
