"""The chart of the README: how many times faster fastnn is than the best of its peers, by the size of the network.

Written by `python -m benchmarks.report FILE --chart FILE.svg`. Its colors can be read on white and on black, for the
page that shows it may be either.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.report import best_peer, in_order, middle
from benchmarks.table import NETWORKS, Work
from fastnn.cpu.plan import flops, offsets

WIDTH, HEIGHT = 820, 420
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 60, 78
INK, GRID = "#7d8590", "#7d859055"
BEST = "best of the peers"
SERIES = {BEST: "#e8710a", "PyTorch eager": "#3b82f6"}
TICKS = (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
Ratios = dict[str, dict[str, float]]  # optimizer -> ratio, by network


def ratios(results: dict[str, Any]) -> dict[str, Ratios]:
    """A peer's time over fastnn's, by series, network and optimizer; networks by the work of a step."""
    found: dict[str, Ratios] = {series: {} for series in SERIES}
    for entry in sorted(in_order(results["steps"]), key=lambda entry: _flops(entry["network"])):
        times = entry["microseconds"]
        ours, best = statistics.median(times["fastnn"]), best_peer(times)
        peers = (best[1] if best else None, middle(times.get("PyTorch eager")))
        for series, peer in zip(SERIES, peers, strict=True):
            if peer:
                found[series].setdefault(entry["network"], {})[entry["optimizer"]] = peer / ours
    return found


def _flops(network: str) -> int:
    work = NETWORKS[network]
    return flops(work.sizes, work.batch)


def _number(value: float) -> str:
    """Two digits or so, with a thousand's letter."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.2g} {letter}" if value < 100 * limit else f"{value / limit:.0f} {letter}"
    return f"{value:.0f} "


def _text(x: float, y: float, words: str, anchor: str = "middle", size: int = 12, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" {more}>{words}</text>'


def _mark(optimizer: str, x: float, y: float, color: str) -> str:
    if optimizer == "adam":
        return f'<rect x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9" fill="{color}"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{color}"/>'


def _label(values: list[float]) -> str:
    words = sorted({f"{value:.0f}" if value >= 20 else f"{value:.1f}" for value in values}, key=float)
    return "–".join((words[0], words[-1]) if len(words) > 1 else words)


def _line(
    of: Ratios, color: str, across: Callable[[str], float], up: Callable[[float], float], above: bool
) -> list[str]:
    """A series: a line through the means of the two optimizers, a mark for each, their numbers above or below."""
    means = [(across(network), up(statistics.geometric_mean(each.values()))) for network, each in of.items()]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in means)
    parts = [f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="2" opacity="0.6"/>']
    for network, each in of.items():
        x = across(network)
        parts += [_mark(optimizer, x, up(ratio), color) for optimizer, ratio in each.items()]
        y = up(max(each.values())) - 9 if above else up(min(each.values())) + 19
        parts.append(_text(x + 8, y, _label(list(each.values())), "start", 12, f'style="fill:{color}"'))
    return parts


def _legend() -> list[str]:
    parts, x = [_text(LEFT, 22, "Time of a training step: a peer's / fastnn's", "start", 15, 'font-weight="600"')], LEFT
    for series, color in SERIES.items():
        parts += [f'<path d="M{x} 40h22" stroke="{color}" stroke-width="3"/>', _text(x + 28, 44, series, "start")]
        x += 28 + 7 * len(series) + 24
    for optimizer, name in (("sgd", "SGD"), ("adam", "Adam")):
        parts += [_mark(optimizer, x, 40, INK), _text(x + 10, 44, name, "start")]
        x += 62
    return parts


def svg(results: dict[str, Any]) -> str:
    """Ratios on a logarithmic scale, over the networks in the order of the work of a step."""
    found = ratios(results)
    networks = list(dict.fromkeys(network for of in found.values() for network in of))
    values = [ratio for of in found.values() for each in of.values() for ratio in each.values()]
    low, high = math.log(min(0.8, *values) * 0.75), math.log(max(2, *values) * 1.4)
    column, floor = (WIDTH - LEFT - RIGHT) / len(networks), HEIGHT - BOTTOM

    def across(network: str) -> float:
        return LEFT + (networks.index(network) + 0.5) * column

    def up(ratio: float) -> float:
        return floor - (math.log(ratio) - low) / (high - low) * (floor - TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="system-ui, sans-serif" fill="{INK}" role="img" '
        'aria-label="Time of a training step: a peer over fastnn, by size of the network">',
        *_legend(),
    ]
    for tick in TICKS:
        if low <= math.log(tick) <= high:
            stroke = f'stroke="{INK}" stroke-dasharray="5 4"' if tick == 1 else f'stroke="{GRID}"'
            parts.append(f'<path d="M{LEFT} {up(tick):.1f}H{WIDTH - RIGHT}" {stroke}/>')
            parts.append(_text(LEFT - 8, up(tick) + 4, f"{tick:g}", "end"))
    for network in networks:
        work: Work = NETWORKS[network]
        words = (network, f"batch {work.batch:,}", f"{_number(offsets(work.sizes)[2]).strip()} parameters")
        for line, word in enumerate((*words, f"{_number(_flops(network))}FLOP a step")):
            parts.append(_text(across(network), floor + 18 + 16 * line, word, size=12 if line == 0 else 11))
    for series, color in SERIES.items():
        if found[series]:
            parts += _line(found[series], color, across, up, above=series != BEST)
    return "\n".join([*parts, "</svg>"]) + "\n"
