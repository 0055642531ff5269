"""The two lines at the top: what runs, and its numbers, each in its place so that nothing jumps."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from tui import numbers
from tui.session import View

DOTS = {
    "running": "\u25cf",
    "paused": "\u25d0",
    "ready": "\u25cb",
    "loading": "\u25cc",
    "stopped": "\u25a0",
    "finished": "\u2714",
}


def network(view: View, room: int) -> str:
    """The network and how it learns, such as 64-64-32-10 relu/he adam; widths are left out when room is short."""
    config = view.config
    sizes = [str(size) for size in view.sizes] or ["?", *(str(width) for width in config.layers), "?"]
    rest = f" {config.activation}/{config.init} {config.optimizer}"
    text = "-".join(sizes)
    kept = len(sizes) - 2
    while len(text) + len(rest) > room and kept > 1:
        kept -= 1
        text = "-".join([*sizes[:kept], "\u2026", sizes[-1]])
    return (text + rest)[: max(0, room)]


def headline(view: View, width: int) -> Content:
    """Run state, data set and network on the left, epoch and time on the right."""
    snapshot = view.snapshot
    right = f"epoch {snapshot.epoch}/{snapshot.epochs}  {numbers.clock(snapshot.seconds)}" if snapshot else ""
    name = view.config.data.rstrip("/").rsplit("/", 1)[-1][:20]
    state = view.state
    dot = DOTS.get(state, "\u2716")
    room = width - 6 - 2 - 10 - 2 - len(name) - 2 - 2 - len(right) - 2
    body = network(view, room)
    gap = max(1, width - 24 - len(name) - len(body) - len(right))
    return Content.assemble(
        (" fastnn", "bold $brand"),
        "  ",
        (f"{dot} {state.upper():<9}"[:11], f"bold $state-{state}"),
        " ",
        (name, "bold"),
        "  ",
        (body, "$text-muted"),
        " " * gap,
        right,
    )


def figures(view: View, width: int) -> Content:
    """Step, losses, accuracies, learning rate and speed."""
    snapshot = view.snapshot
    step = numbers.count(snapshot.step) if snapshot else "0"
    loss = numbers.loss(snapshot.loss if snapshot and snapshot.step else None)
    validation = numbers.loss(snapshot.val_loss if snapshot else None)
    accuracy = numbers.percent(snapshot.accuracy if snapshot and snapshot.step else None)
    val_accuracy = numbers.percent(snapshot.val_accuracy if snapshot else None)
    speed = numbers.short(snapshot.samples_per_second) if snapshot and snapshot.samples_per_second > 0 else "\u2013"
    rate = numbers.rate(view.rate)
    muted, train, held = "$text-muted", "$plot-train", "$plot-validation"
    if width >= 132:
        return Content.assemble(
            (" step ", muted),
            f"{step:>9}",
            ("    loss ", muted),
            (loss, train),
            ("  validation ", muted),
            (validation, held),
            ("    accuracy ", muted),
            (accuracy, train),
            ("  validation ", muted),
            (val_accuracy, held),
            ("    learning rate ", muted),
            (f"{rate:<8}", "bold"),
            (f"  {speed:>6}", ""),
            (" samples/s", muted),
        )
    return Content.assemble(
        (" step ", muted),
        f"{step:>7}",
        ("  loss ", muted),
        (loss, train),
        (" val ", muted),
        (validation, held),
        ("  acc ", muted),
        (accuracy.strip().rjust(5), train),
        ("/", muted),
        (val_accuracy.strip().ljust(5), held),
        (" lr ", muted),
        (f"{rate:<7}", "bold"),
        f" {speed:>5}",
        (" samp/s", muted),
    )


class Status(Static):
    """Two lines made from a `View`."""

    def show(self, view: View) -> None:
        """Show this view."""
        width = self.size.width or self.app.size.width
        self.update(Content("\n").join([headline(view, width), figures(view, width)]), layout=False)
