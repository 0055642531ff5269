"""`fastnn lab`: the experiments of the lecture, as text, as JSON, or drawn into a file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastnn.errors import FastnnError, unknown
from fastnn.experiments.entry import Experiment, plain
from fastnn.experiments.parts import Checks
from fastnn.options import Parser, fail

ALL = "all"


def main(arguments: Sequence[str]) -> int:
    """Run `fastnn lab` with what follows it on the command line, and return the exit code."""
    from fastnn.experiments import EXPERIMENTS

    words = list(arguments)
    names = (*EXPERIMENTS, ALL)
    if words and not words[0].startswith("-") and words[0] not in names:
        return fail(unknown("lab", words[0], names))
    joined = _joined(words, EXPERIMENTS.get(words[0]) if words else None)
    options, rest = _parser(EXPERIMENTS).parse_known_args(joined)
    if rest:
        return fail(f"unknown argument {rest[0]!r} (`fastnn lab {options.name or ''} --help` lists what there is)")
    if options.name is None:
        from rich.console import Console

        from fastnn.experiments import terminal

        terminal.listed(EXPERIMENTS, Console())
        return 0
    try:
        chosen = dict(EXPERIMENTS) if options.name == ALL else {options.name: EXPERIMENTS[options.name]}
        _run(chosen, options)
    except (FastnnError, ValueError, TypeError) as reason:
        return fail(reason)
    except MemoryError as reason:
        return fail(f"{options.name}: too large for this machine's memory ({reason})")
    return 0


def _joined(words: list[str], experiment: Experiment | None) -> list[str]:
    """The words with `--logits -5,1` as `--logits=-5,1`: argparse takes what begins with a minus for an option."""
    options = {f"--{parameter.name}" for parameter in experiment.parameters} if experiment else set()
    out: list[str] = []
    for word in words:
        if out and out[-1] in options:
            out[-1] += f"={word}"
        else:
            out.append(word)
    return out


def _parser(experiments: Mapping[str, Experiment]) -> argparse.ArgumentParser:
    parser = Parser(
        prog="fastnn lab",
        description="The computations of the lecture. Without a name it lists them.",
        allow_abbrev=False,
    )
    shared = Parser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    names = parser.add_subparsers(dest="name", metavar="NAME", parser_class=Parser)
    for entry in experiments.values():
        one = names.add_parser(
            entry.name, help=entry.title, description=entry.text, parents=[shared], allow_abbrev=False
        )
        one.add_argument("--plot", metavar="FILE", help="draw it into this file (PNG, SVG, PDF ...)")
        for parameter in entry.parameters:
            among = f": {', '.join(parameter.choices)}" if parameter.choices else ""
            text = f"{parameter.help}{among} (default: {parameter.written(parameter.default)})".replace("%", "%%")
            one.add_argument(f"--{parameter.name}", metavar="VALUE", help=text)
    names.add_parser(ALL, help="every one of them", parents=[shared], allow_abbrev=False)
    return parser


def _run(chosen: Mapping[str, Experiment], options: argparse.Namespace) -> None:
    picture = getattr(options, "plot", None)
    if picture is not None:
        from fastnn.experiments import picture as drawing

        drawing.check(picture)
    given = [(entry, _given(entry, options)) for entry in chosen.values()]
    found: dict[str, Any] = {}
    for entry, values in given:
        result = entry.run(**values)
        if options.json:
            found[entry.name] = described(entry, values, result)
        elif picture is None:
            from rich.console import Console

            from fastnn.experiments import terminal

            terminal.show(entry, entry.report(result), Console(soft_wrap=False))
        if picture is not None:
            drawing.write(picture, entry, entry.report(result))
    if options.json:
        print(json.dumps(found if options.name == ALL else found[options.name], allow_nan=False))
    elif picture is not None:
        print(f"{picture} is written")


def _given(entry: Experiment, options: argparse.Namespace) -> dict[str, Any]:
    """The parameters that the command line gives, read."""
    texts = {parameter: getattr(options, parameter.name, None) for parameter in entry.parameters}
    return {parameter.name: parameter.read(text) for parameter, text in texts.items() if text is not None}


def described(entry: Experiment, values: Mapping[str, Any], result: Any) -> dict[str, Any]:
    """What `--json` prints: what was asked, every number of the result, and which statements it bears out."""
    statements = [row for part in entry.report(result) if isinstance(part, Checks) for row in part.rows]
    return {
        "title": entry.title,
        "slide": entry.slide,
        "parameters": plain({**entry.defaults, **values}),
        "result": plain(result),
        "checks": dict(statements),
    }
