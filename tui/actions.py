"""The one table of actions: bindings, key bar, pane titles, help and command palette are all made from it.

An action is a method `action_<name>` of the Train screen. To add one, add a row here and the method there.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Action:
    """One thing that a user can do.

    `keys` are Textual key names, `shown` is how they are written on screen, `label` is the short word beside
    them, `title` names the action in the command palette, and `help` is one sentence. `place` says where the
    action is shown all the time: "bar" (the bottom line) or "loss" (the border of the loss plot).
    """

    name: str
    keys: str
    shown: str
    label: str
    title: str
    help: str
    group: str
    place: str = "bar"


ACTIONS: tuple[Action, ...] = (
    Action("toggle_run", "space", "space", "Run", "Run or pause", "Start training, pause it, go on.", "Training"),
    Action("step", "s", "s", "Step", "One step", "Do exactly one update, then pause.", "Training"),
    Action(
        "epoch", "e", "e", "Epoch", "To the end of the epoch", "Train to the end of the epoch, then pause.", "Training"
    ),
    Action("stop", "x", "x", "Stop", "Stop the run", "End the run; space takes it up again.", "Training"),
    Action("reset", "r", "r", "Reset", "Reset the network", "Start again from the seed, as configured.", "Training"),
    Action(
        "rate_down",
        "left_square_bracket",
        "[",
        "",
        "Learning rate / 1.25",
        "Divide the learning rate by 1.25.",
        "Learning rate",
        "loss",
    ),
    Action(
        "rate_up",
        "right_square_bracket",
        "]",
        "",
        "Learning rate x 1.25",
        "Multiply the learning rate by 1.25.",
        "Learning rate",
        "loss",
    ),
    Action(
        "rate_tenth",
        "left_curly_bracket",
        "{",
        "",
        "Learning rate / 10",
        "Divide the learning rate by 10.",
        "Learning rate",
        "loss",
    ),
    Action(
        "rate_tenfold",
        "right_curly_bracket",
        "}",
        "",
        "Learning rate x 10",
        "Multiply the learning rate by 10.",
        "Learning rate",
        "loss",
    ),
    Action("type_rate", "l", "l", "lr", "Type a learning rate", "Type a learning rate.", "Learning rate", "loss"),
    Action(
        "log_y",
        "y",
        "y",
        "log",
        "Logarithmic loss axis",
        "Switch the loss axis between linear and log.",
        "Display",
        "loss",
    ),
    Action(
        "freeze",
        "d",
        "d",
        "freeze",
        "Freeze the display",
        "Hold the display still; training goes on.",
        "Display",
        "loss",
    ),
    Action("theme", "t", "t", "theme", "Next theme", "Switch between the dark and the light theme.", "Display", "loss"),
    Action(
        "layers_left",
        "left",
        "\u2190",
        "",
        "Layers to the left",
        "Scroll the histograms left when not all fit.",
        "Display",
        "loss",
    ),
    Action(
        "layers_right",
        "right",
        "\u2192",
        "layers",
        "Layers to the right",
        "Scroll the histograms right when not all fit.",
        "Display",
        "loss",
    ),
    Action("configure", "c", "c", "Config", "Configuration", "Choose data, network and optimizer.", "Application"),
    Action("help", "question_mark", "?", "Help", "Help", "Show every key.", "Application"),
    Action("quit", "q,ctrl+c", "q", "Quit", "Quit", "Leave; asks first while training runs.", "Application"),
    Action("palette", "ctrl+p", "^p", "All", "Command palette", "Search all commands by name.", "Application"),
)

BY_NAME = {action.name: action for action in ACTIONS}


def placed(place: str) -> tuple[Action, ...]:
    """The actions shown at `place`, in the order of the table."""
    return tuple(action for action in ACTIONS if action.place == place)
