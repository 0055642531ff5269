"""The lines at the top: modes and state, the network and its learning rate, and the numbers, each in its place."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from tui import numbers
from tui.actions import Action
from tui.view import DOTS, View

WIDE = 120


def network(view: View, room: int) -> str:
    """The network and how it learns, such as 64-64-32-10 relu/he adam; widths are left out when room is short."""
    config = view.config
    sizes = [str(size) for size in view.sizes] or ["?", *(str(width) for width in config.layers), "?"]
    rest = f" {view.hidden}/{config.init} {config.optimizer}"
    text = "-".join(sizes)
    kept = len(sizes) - 2
    while len(text) + len(rest) > room and kept > 1:
        kept -= 1
        text = "-".join([*sizes[:kept], "…", sizes[-1]])
    return (text + rest)[: max(0, room)]


def tabs(actions: tuple[Action, ...], mode: str, *, wide: bool) -> Content:
    """The modes with their keys, the one that is open marked."""
    room = " " if wide else ""
    parts: list[Content] = []
    for action in actions:
        if action.place == "tabs":
            link = f"@click=screen.{action.call}"
            here = action.argument == mode
            style = "bold $brand reverse" if here else "$text-muted"
            parts.append(
                Content.assemble(
                    (f"{room}{action.shown} ", f"bold {'$brand reverse' if here else '$key'} {link}"),
                    (f"{action.label} ", f"{style} {link}"),
                )
            )
    return Content("").join(parts)


def state(view: View, *, wide: bool) -> Content:
    """What the run does, how far it is, and for how long it has trained."""
    snapshot, name = view.snapshot, view.state
    gap, epoch = ("  ", "epoch") if wide else (" ", "ep")
    clock = numbers.clock(snapshot.seconds) if snapshot else ""
    far = f"{gap}{epoch} {snapshot.epoch}/{snapshot.epochs}{gap}{clock}" if snapshot else ""
    return Content.assemble((f"{DOTS.get(name, '✖')} {name.upper()}", f"bold $state-{name}"), far)


def steering(view: View, actions: tuple[Action, ...], *, wide: bool) -> Content:
    """Learning rate and speed with their keys."""

    def keys(*names: str) -> Content:
        found = [action for name in names for action in actions if action.name == name]
        return Content(" ").join(
            [Content.styled(action.shown, f"bold $key @click=screen.{action.call}") for action in found]
        )

    limit = "full" if view.limit is None else f"{numbers.short(view.limit)}/s"
    return Content.assemble(
        keys("rate_tenth", "rate_down", "rate_up", "rate_tenfold", "type_rate"),
        (" learning rate " if wide else " lr ", "$text-muted"),
        (f"{numbers.rate(view.rate):<7}", "bold"),
        "  " if wide else " ",
        keys("slower", "faster"),
        (" speed ", "$text-muted"),
        f"{limit:<6}",
    )


def figures(view: View, *, wide: bool) -> Content:
    """Step, losses, accuracies, gradient norm and speed."""
    snapshot = view.snapshot
    trained = snapshot if snapshot and snapshot.step else None
    step = numbers.count(snapshot.step) if snapshot else "0"
    loss = numbers.loss(trained.loss if trained else None)
    held_loss = numbers.loss(snapshot.val_loss if snapshot else None)
    norm = "–" if snapshot is None or snapshot.gradient_norm is None else numbers.short(snapshot.gradient_norm)
    speed = numbers.short(snapshot.samples_per_second) if snapshot and snapshot.samples_per_second > 0 else "–"
    muted, train, held = "$text-muted", "$plot-train", "$plot-validation"
    if wide:
        return Content.assemble(
            ("step ", muted), f"{step:>9}",
            ("   loss ", muted), (loss, train), ("  validation ", muted), (held_loss, held),
            *_accuracies(view, wide=wide), ("   |g| ", muted), f"{norm:<8}", f" {speed:>6}", (" samples/s", muted),
        )  # fmt: skip
    return Content.assemble(
        ("step ", muted), f"{step:>7}",
        (" loss ", muted), (loss, train), (" val ", muted), (held_loss, held),
        *_accuracies(view, wide=wide), (" |g| ", muted), f"{norm:<7}", f" {speed:>5}", (" samp/s", muted),
    )  # fmt: skip


def _accuracies(view: View, *, wide: bool) -> list[tuple[str, str]]:
    """Of training and validation; nothing for a regression, which has none."""
    snapshot = view.snapshot
    trained = snapshot if snapshot and snapshot.step else None
    if view.regression:
        return []
    accuracy = numbers.percent(trained.accuracy if trained else None)
    validation = numbers.percent(snapshot.val_accuracy if snapshot else None)
    muted, train, held = "$text-muted", "$plot-train", "$plot-validation"
    if wide:
        return [("   accuracy ", muted), (accuracy, train), ("  validation ", muted), (validation, held)]
    return [("  acc ", muted), (accuracy.strip().rjust(5), train), ("/", muted), (validation.strip().ljust(5), held)]


def apart(left: Content, right: Content, width: int) -> Content:
    """Two texts at the two ends of a line."""
    return Content.assemble(left, " " * max(1, width - left.cell_length - right.cell_length), right)


class Status(Static):
    """Three lines made from a `View`; two where there is room."""

    auto_links = False

    def show(self, view: View, actions: tuple[Action, ...], mode: str) -> None:
        """Show this view."""
        width = self.size.width or self.app.size.width - 2
        wide = self.app.size.width >= WIDE
        name = view.config.data.rstrip("/").rsplit("/", 1)[-1][:20]
        modes, doing, steer = (
            tabs(actions, mode, wide=wide),
            state(view, wide=wide),
            steering(view, actions, wide=width >= 180),
        )
        room = width - len(name) - 3 - (modes.cell_length + doing.cell_length + 2 if wide else steer.cell_length)
        run = Content.assemble((name, "bold"), " ", (network(view, room), "$text-muted"))
        if wide:
            first = apart(Content.assemble(modes, "  ", run), doing, width)
            told = figures(view, wide=True)
            if told.cell_length + 2 + steer.cell_length > width:
                told = figures(view, wide=False)
            lines = [first, apart(told, steer, width)]
        else:
            lines = [apart(modes, doing, width), apart(run, steer, width), figures(view, wide=False)]
        self.update(Content("\n").join(lines), layout=False)
