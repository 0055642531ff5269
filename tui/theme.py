"""Colors: one dark and one light theme, after Okabe and Ito's palette for every kind of color vision.

M. Okabe, K. Ito, "Color Universal Design", 2008. Both are RGB themes on purpose: an ANSI theme under NO_COLOR
comes out black on black.
"""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="fastnn-dark",
    dark=True,
    primary="#56b4e9",
    secondary="#2fb497",
    accent="#e69f00",
    warning="#e8c547",
    error="#ff7a5c",
    success="#2fb497",
    foreground="#d7dde5",
    background="#0e1318",
    surface="#151c23",
    panel="#1d262f",
    variables={
        "brand": "#56b4e9",
        "key": "#e8c547",
        "frame": "#36434f",
        "plot-train": "#56b4e9",
        "plot-validation": "#e69f00",
        "plot-bars": "#2fb497",
        "plot-tall": "#1c6b5b",
        "plot-faint": "#2b4a5e",
        "plot-axis": "#7d8a97",
        "plot-mark": "#8d6d1f",
        "plot-cursor": "#e8c547",
        "health-good": "#d7dde5",
        "health-fair": "#e8c547",
        "health-poor": "#ff7a5c",
        "state-running": "#2fb497",
        "state-paused": "#e8c547",
        "state-ready": "#56b4e9",
        "state-loading": "#8b98a5",
        "state-stopped": "#8b98a5",
        "state-finished": "#56b4e9",
        "state-diverged": "#ff7a5c",
        "state-failed": "#ff7a5c",
    },
)

LIGHT = Theme(
    name="fastnn-light",
    dark=False,
    primary="#0072b2",
    secondary="#00785a",
    accent="#b35900",
    warning="#8a6a00",
    error="#c03a00",
    success="#00785a",
    foreground="#1d242b",
    background="#fbfbf9",
    surface="#f1f2ef",
    panel="#e4e7e4",
    variables={
        "brand": "#0072b2",
        "key": "#8a5a00",
        "frame": "#b4bcc2",
        "plot-train": "#0072b2",
        "plot-validation": "#c46200",
        "plot-bars": "#009e73",
        "plot-tall": "#8fd3bf",
        "plot-faint": "#bcd8ea",
        "plot-axis": "#6a747d",
        "plot-mark": "#c9a13b",
        "plot-cursor": "#8a5a00",
        "health-good": "#1d242b",
        "health-fair": "#8a6a00",
        "health-poor": "#c03a00",
        "state-running": "#00785a",
        "state-paused": "#8a6a00",
        "state-ready": "#0072b2",
        "state-loading": "#6a747d",
        "state-stopped": "#6a747d",
        "state-finished": "#0072b2",
        "state-diverged": "#c03a00",
        "state-failed": "#c03a00",
    },
)

THEMES = (DARK, LIGHT)


def following(name: str) -> str:
    """The name of the theme after this one."""
    names = [theme.name for theme in THEMES]
    return names[(names.index(name) + 1) % len(names)] if name in names else names[0]
