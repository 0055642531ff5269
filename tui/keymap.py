"""A file of keys: TOML with a table `[keys]` that names other keys for actions.

[keys]
toggle_run = "p"          # one key, or several: "p,f5"
mode_train = "f1"
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tui.actions import ACTIONS, Action, of_mode, remapped

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class KeymapError(ValueError):
    """A file of keys that cannot be used; the message names the file and what is wrong in it."""


def default_path(environment: Mapping[str, str]) -> Path:
    """Where the file of keys is looked for: $FASTNN_KEYS, else keys.toml in the user's configuration folder."""
    if environment.get("FASTNN_KEYS"):
        return Path(environment["FASTNN_KEYS"])
    import platformdirs

    return Path(platformdirs.user_config_dir("fastnn")) / "keys.toml"


def load_keys(path: str | os.PathLike[str], *, missing_ok: bool = False) -> dict[str, str]:
    """The keys that a file gives, by the actions' ids; raises KeymapError."""
    try:
        table = tomllib.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError:
        if missing_ok:
            return {}
        raise KeymapError(f"keys: {os.fspath(path)}: no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as reason:
        raise KeymapError(f"keys: {os.fspath(path)}: {reason}") from None
    try:
        return check_keys(table.get("keys", {}), ACTIONS)
    except KeymapError as reason:
        raise KeymapError(f"keys: {os.fspath(path)}: {reason}") from None


def check_keys(keys: Any, actions: tuple[Action, ...]) -> dict[str, str]:
    """The keys, checked: known actions, texts, and no key for two actions of one mode."""
    if not isinstance(keys, Mapping):
        raise KeymapError(f"[keys] is {keys!r}; expected a table")
    known = {action.id for action in actions}
    checked = {}
    for name, value in keys.items():
        if name not in known:
            raise KeymapError(f"unknown action {name!r}; known: {', '.join(sorted(known))}")
        if not isinstance(value, str) or not all(part.strip() for part in value.split(",")):
            raise KeymapError(f'{name} = {value!r}; expected keys such as "p" or "p,f5"')
        checked[name] = ",".join(part.strip() for part in value.split(","))
    changed = remapped(actions, checked)
    modes = {mode for action in actions for mode in action.modes} | {""}
    for mode in sorted(modes):
        owners: dict[str, str] = {}
        for action in of_mode(changed, mode):
            for key in action.keys.split(","):
                if key in owners:
                    raise KeymapError(f"{key!r} is for both {owners[key]} and {action.id}")
                owners[key] = action.id
    return checked
