"""The training thread: it loads fastnn, trains, evaluates and bins, and knows no widget.

One thread trains, evaluates and bins, so nothing that it shares with the engine needs a lock. The screen never waits
for it: commands go into a queue and take effect between two chunks of training (50 ms; 100 on a GPU), and a beat of the
screen reads the newest `View`, one reference to a frozen object.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import replace
from typing import Any

from tui import numbers
from tui.config import RATE_HIGH, RATE_LOW, RunConfig
from tui.course import Course
from tui.journal import Journal
from tui.probes import SECONDS, ProbeFunction, Probes
from tui.record import Record
from tui.travel import Travel
from tui.view import Backend, Run, View, explain, state_of

WATCH_SECONDS = 0.2  # between two looks at the layers while training runs
GENTLER = 0.1  # of the learning rate, after a divergence


class Session:
    """A training thread and its mailbox. Every method may be called from the screen's thread and returns at once."""

    def __init__(self, backend: Backend, config: RunConfig | None = None) -> None:
        config = config or RunConfig()
        self.record = Record()
        self.journal = Journal()
        self._backend = backend
        self._commands: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._view = View(config, rate=config.learning_rate, busy="loading fastnn")
        self._asked = 0
        self.away = (0.0, 0.0)  # from when to when (time.monotonic) a chunk should train, or be waited for
        self._rate = config.learning_rate  # as the screen asked for it last
        self._thread = threading.Thread(target=self._work, name="fastnn-training", daemon=True)
        # The rest belongs to the training thread.
        self._run: Run | None = None
        self._course: Course | None = None
        self._edits = 0
        self._took, self._trained = 0.0, 0.0  # seconds that the latest chunk trained, and all of them
        self._watched: tuple[str, ...] = ("activations",)
        self._probes = Probes()
        self._travel = Travel(self.record)

    # What the screen calls

    def start(self) -> None:
        """Start the thread; it loads fastnn and builds the first network."""
        self._thread.start()

    def close(self, timeout: float = 5.0) -> bool:
        """End the thread and wait for it; False when it is still busy (compiling) after `timeout` seconds."""
        self._commands.put(("close", None))
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def view(self) -> View:
        """The newest view."""
        return self._view

    def toggle(self) -> None:
        """Run, or pause when running."""
        self._commands.put(("toggle", None))

    def step(self) -> None:
        """Do one update, then pause."""
        self._commands.put(("step", None))

    def finish_epoch(self) -> None:
        """Train to the end of the epoch, then pause."""
        self._commands.put(("epoch", None))

    def stop(self) -> None:
        """End the run."""
        self._commands.put(("stop", None))

    def set_rate(self, rate: float) -> None:
        """Use another learning rate from the next chunk on; kept within the limits of `tui.config`."""
        self._rate = rate = min(max(rate, RATE_LOW), RATE_HIGH)
        self._change(rate=rate)
        self._commands.put(("rate", rate))

    def set_limit(self, steps: float | None) -> None:
        """Train this many steps a second at most; None: as fast as it goes."""
        self._change(limit=steps)
        self._commands.put(("limit", steps))

    def go_on_gently(self) -> None:
        """After a divergence: a tenth of the learning rate, and on from the last good state that was kept."""
        self._commands.put(("gently", None))

    def undo(self) -> None:
        """Pause, and go back to the moment kept before this one (a single step is undone exactly)."""
        self._commands.put(("travel", "before"))

    def redo(self) -> None:
        """After going back: on to the next moment kept."""
        self._commands.put(("travel", "after"))

    def rewind(self, step: float) -> None:
        """Pause, and go to the latest moment kept at `step` or before; what came after stays until training goes on."""
        self._commands.put(("travel", step))

    def apply(self, config: RunConfig, *, start: bool | None = False) -> int:
        """Try a new configuration; the running network stays as it is unless it works.

        `start`: train it at once; None: if the network before it is in training then. Returns a number that
        `View.answered` reaches when it was tried.
        """
        self._asked += 1
        self._commands.put(("apply", (self._asked, config, start)))
        return self._asked

    def reset(self) -> int:
        """Start again from the seed, with the configuration as it was applied."""
        self._asked += 1
        self._commands.put(("apply", (self._asked, None, False)))
        return self._asked

    def watch(self, kinds: tuple[str, ...]) -> None:
        """What snapshots are to show of the layers, from fastnn.watch.KINDS; ask for no more than is shown."""
        self._commands.put(("watch", kinds))

    def probe(
        self, name: str, function: ProbeFunction | None, *, share: float = 0.02, seconds: float = SECONDS
    ) -> None:
        """Have `function(run)` called on the training thread again and again; its result comes as `view.found[name]`.

        It is called whenever the network has changed, at most every `seconds`, and takes `share` of the time at most.
        What it returns must not be changed later, by either thread. None ends it.
        """
        self._commands.put(("probe", (name, function, share, seconds)))

    def do(self, function: ProbeFunction) -> None:
        """Have `function(run)` called once on the training thread, between two chunks, to change the network."""
        self._commands.put(("do", function))

    # The training thread

    def _change(self, **changes: Any) -> None:
        with self._lock:
            self._view = replace(self._view, version=self._view.version + 1, **changes)

    def _note(self, text: str, level: str = "info") -> None:
        self.journal.add(text, level)
        if self._run is not None:
            self._run.keeper.note(text, level)

    def _compile_notice(self, message: str | None) -> None:
        self.journal.add(message or "compiled")
        self._change(compiling=message or "")

    def _work(self) -> None:
        try:
            self._change(choices=self._backend.load(self._compile_notice))
        except Exception as error:  # noqa: BLE001 - the screen stays and says why
            self._change(state="failed", busy="", message=explain(error))
        else:
            self._apply(0, self._view.config, False)
        while True:
            self._look_around()
            try:
                name, value = self._next_command()
            except queue.Empty:
                self._advance()
                continue
            if name == "close":
                break
            try:
                self._obey(name, value)
            except Exception as error:  # noqa: BLE001 - the thread outlives a failed run
                self._fail(error)
        self._drop_run()

    @property
    def _moving(self) -> bool:
        return self._course is not None and self._course.moving

    def _next_command(self) -> tuple[str, Any]:
        """The next command; raises queue.Empty when it is time for a chunk of training."""
        if self._course is None or not self._course.moving:
            return self._commands.get()
        now, due = time.monotonic(), self._course.due
        if due <= now:
            return self._commands.get_nowait()
        self.away = (now, due)
        return self._commands.get(timeout=due - now)

    def _obey(self, name: str, value: Any) -> None:
        if name == "apply":
            self._apply(*value)
            return
        if name == "watch":
            self._watched = value
        elif name == "probe":
            self._set_probe(*value)
        if self._run is None or self._course is None:
            return
        trainer, course = self._run.trainer, self._course
        if name in ("toggle", "epoch", "step", "stop", "rate", "do"):
            self._settle()
        if name == "watch":
            trainer.watch(*value, seconds=WATCH_SECONDS)
            self._look_again()
        elif name == "rate":
            trainer.set_learning_rate(value)
            self._change(rate=self._rate)  # a configuration that came before it has put its own there
            self._note(f"learning rate {numbers.rate(value)} from step {self._view.snapshot.step}")
            self._look_again()
        elif name == "limit":
            course.limit(value)
        elif name == "do":
            value(self._run)
            self._note(f"the network was changed by hand at step {self._view.snapshot.step}", "warning")
            self._edits += 1
            self._look_again(again=True)
        elif name == "travel":
            self._go(value)
        elif name == "gently":
            self._go_on_gently()
        elif name == "stop":
            if not course.ended and (course.moving or self._view.state != "ready"):
                course.move(trainer.stop)
                self._come_to_rest()
        elif name == "toggle" and course.moving:
            trainer.pause()
            self._come_to_rest()
        elif name in ("toggle", "epoch", "step"):
            self._open()
            self._travel.keep(trainer)
            course.move({"toggle": trainer.resume, "epoch": trainer.finish_epoch, "step": trainer.step}[name])
            if name == "step":
                self._come_to_rest()

    def _come_to_rest(self) -> None:
        """Until what was asked for has come about, which is with the next chunk, or without one for stop and pause: the
        command after it, pressed in the same breath, finds it so."""
        while self._moving:
            self._advance()

    def _open(self) -> None:
        """Take the run up again when it had ended."""
        if self._course is not None and self._course.ended:
            self._change(message="")
            self._course.begin(self._remaining())

    def _remaining(self) -> int:
        """Epochs to go: the rest of a run that was cut short, or as many again after a finished one."""
        view = self._view
        if view.snapshot is None or view.state == "finished" or self._run is None:
            return view.config.epochs
        return max(1, int(view.snapshot.epochs - self._run.trainer.epoch))

    def _advance(self) -> None:
        """Train one chunk and publish its snapshot."""
        assert self._run is not None and self._course is not None
        began = time.monotonic()
        self.away = (began, began + self._took)
        try:
            snapshot = self._course.advance(self._view.snapshot.step)
        except Exception as error:  # noqa: BLE001 - the thread outlives a failed run
            self._fail(error)
            return
        if snapshot is not None:
            self._took = max(0.0, snapshot.seconds - self._trained)  # without what comes after training
            self._trained = snapshot.seconds
            self._publish(snapshot)
            if self._travel.timeline.due() and snapshot.state == "running":
                self._travel.keep(self._run.trainer)

    def _publish(self, snapshot: Any) -> None:
        self.record.add(snapshot)
        if self._run is not None:
            self._run.keeper.follow(snapshot)
        if snapshot.state != self._view.state:
            level = "error" if snapshot.state == "diverged" else "info"
            self._note(snapshot.message or f"{snapshot.state} at step {snapshot.step}", level)
        self._change(snapshot=snapshot, state=state_of(snapshot), message=snapshot.message)

    def _apply(self, number: int, config: RunConfig | None, start: bool | None) -> None:
        """Build a run and, only when that worked, let go of the old one."""
        wanted = config or self._view.config
        self._change(busy=f"loading {wanted.data}")
        try:
            run = self._backend.build(wanted)
            course = Course(run.trainer)
            run.trainer.watch(*self._watched, seconds=WATCH_SECONDS)
            left = wanted.epochs - run.trainer.epoch
            first = course.begin(left if left > 0 else wanted.epochs)
        except Exception as error:  # noqa: BLE001 - the old run goes on, the drawer says why
            failed = {"state": "failed", "message": explain(error)} if self._run is None else {}
            self._change(busy="", answered=number, answer=explain(error), **failed)
            self.journal.add(explain(error), "error")
            return
        start = self._moving if start is None else start
        self._drop_run()
        self._run, self._course, self._trained = run, course, first.seconds
        course.limit(self._view.limit)
        self.record.clear()
        self._travel.clear()
        self.record.load(run.curves)
        self.record.add(first)
        self._note(f"{wanted.data} {'-'.join(map(str, run.sizes))} is ready at step {first.step}")
        wanted = replace(wanted, folder="")  # a reset begins again, in a folder of its own
        new = {"config": wanted, "run": run, "sizes": run.sizes, "rate": first.learning_rate, "found": {}}
        shown = {"snapshot": first, "state": state_of(first), "message": "", "moments": ()}
        self._change(busy="", answered=number, answer="", **new, **shown)
        if start:
            self._obey("toggle", None)

    def _fail(self, error: Exception) -> None:
        self._note(explain(error), "error")
        self._drop_run()
        self._change(state="failed", message=explain(error))

    def _drop_run(self) -> None:
        if self._course is not None:
            self._course.close()
        if self._run is not None and self._view.snapshot is not None:
            self._run.keeper.close(self._travel.newest(self._run.trainer) or self._view.snapshot)

    def _go(self, where: str | float) -> None:
        """Pause, and take the run to a kept moment, as `Travel.find` finds it."""
        assert self._run is not None and self._course is not None
        trainer = self._run.trainer
        if self._moving:
            trainer.pause()
            self._come_to_rest()
        now, broken = self._view.snapshot.step, self._view.state == "diverged"
        if not broken:
            self._travel.keep(trainer)
        state = self._travel.find(where, now)
        if state is None or (state.step == now and not broken):
            return
        self._travel.go(trainer, state, now)
        if self._course.ended:
            self._course.begin(max(1, self._view.snapshot.epochs - trainer.epoch))
        self._edits += 1
        snapshot = replace(trainer.look(), state="paused")
        self._trained = snapshot.seconds
        shown = {"state": state_of(snapshot), "rate": snapshot.learning_rate, "moments": self._travel.moments}
        self._change(snapshot=snapshot, message="", **shown)

    def _settle(self) -> None:
        """Before the run is changed at an earlier moment: what came after it is forgotten."""
        if self._run is not None and self._travel.settle(self._view.snapshot.step):
            self._run.keeper.back(self._view.snapshot)
            self.journal.add(f"went back to step {self._view.snapshot.step}")
            self._change(moments=())

    def _go_on_gently(self) -> None:
        """A second press finds the run on its way."""
        if self._view.state == "diverged" and self._run is not None:
            rate = max(self._view.rate * GENTLER, RATE_LOW)
            self._go("good")
            self._change(rate=rate)
            self._run.trainer.set_learning_rate(rate)
            self._obey("toggle", None)

    # Looking

    def _look_again(self, *, again: bool = False) -> None:
        """While training rests: the newest snapshot with what is watched now; `again` when the network was changed."""
        view = self._view
        if self._run is None or self._moving or view.snapshot is None or view.state in ("diverged", "failed"):
            return
        looked = self._run.trainer.look(again=again)
        if looked.layers is not view.snapshot.layers or looked.gradient_norm != view.snapshot.gradient_norm:
            if not self._travel.back:
                self.record.add(looked)
            self._change(snapshot=replace(looked, state=view.snapshot.state))

    def _set_probe(self, name: str, function: ProbeFunction | None, share: float, seconds: float) -> None:
        self._probes.set(name, function, share, seconds)
        self._change(found={key: value for key, value in self._view.found.items() if key != name})

    def _look_around(self) -> None:
        """Answer the probes that are due."""
        view = self._view
        if self._run is None or view.snapshot is None:
            return
        state = (self._edits, view.snapshot.learning_rate)
        for name, found in self._probes.answers(self._run, view.snapshot.step, state, moving=self._moving):
            self._change(found={**self._view.found, name: found})
