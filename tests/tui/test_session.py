"""The training thread, without a screen."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from driving import reach
from fake_training import FakeBackend

from tui.config import RunConfig
from tui.session import Session


@pytest.fixture
def make():
    """Sessions that are closed when the test ends."""
    sessions = []

    def make_one(config=None, **options):
        session = Session(FakeBackend(**options), config)
        sessions.append(session)
        session.start()
        reach(session, lambda v: v.state != "loading")
        return session

    yield make_one
    for session in sessions:
        assert session.close(30)


def at_rest(state):
    return lambda view: view.state == state


def test_starts_ready_with_choices_and_the_first_histograms(make):
    view = make().view
    assert view.state == "ready" and view.sizes == (64, 64, 32, 10)
    assert len(view.snapshot.layers) == 3 and view.snapshot.step == 0
    assert "relu" in view.choices.activations


def test_runs_to_the_end_and_then_goes_on(make):
    session = make(RunConfig(epochs=3))
    session.toggle()
    view = reach(session, at_rest("finished"))
    assert view.snapshot.step == 120 and view.snapshot.epoch == 3
    session.toggle()
    assert reach(session, lambda v: v.state == "finished" and v.snapshot.step > 120).snapshot.step == 240


def test_pause_holds_the_step(make):
    session = make(pace=0.001)
    session.toggle()
    reach(session, lambda v: v.snapshot.step > 50)
    session.toggle()
    step = reach(session, at_rest("paused")).snapshot.step
    time.sleep(0.05)
    assert session.view.snapshot.step == step


def test_steps_are_counted_exactly_even_in_quick_succession(make):
    session = make()
    for _ in range(7):
        session.step()
    reach(session, lambda v: v.snapshot.step == 7 and v.state == "paused")
    session.finish_epoch()
    assert reach(session, lambda v: v.snapshot.step > 7 and v.state == "paused").snapshot.step == 40


def test_the_screen_can_tell_when_training_needs_no_lock(make):
    session = make(RunConfig(epochs=100_000), pace=0.01)
    session.toggle()
    reach(session, lambda v: v.snapshot.step > 20)
    began, ends = session.away
    assert began <= time.monotonic() and ends - began >= 0.01, "as long as a chunk takes"
    session.set_limit(10)  # a step every 0.1 s
    reach(session, lambda v: v.limit == 10)
    step = session.view.snapshot.step
    reach(session, lambda v: v.snapshot.step > step + 1)
    while session._course.due != session.away[1]:  # it waits for the next step
        time.sleep(0.001)
    assert session.away[0] < session.away[1] <= time.monotonic() + 0.1


def test_stop_then_run_finishes_the_epochs_that_were_left(make):
    session = make(RunConfig(epochs=5), hold_at=70)
    session.toggle()
    reach(session, lambda v: v.snapshot.step == 70)
    session.stop()
    reach(session, at_rest("stopped"))
    session._run.trainer.hold_at = None
    session.toggle()
    assert reach(session, at_rest("finished")).snapshot.step == 200


@pytest.mark.parametrize("keys", [("stop", "toggle"), ("toggle", "toggle"), ("toggle", "stop", "toggle")])
def test_commands_within_one_chunk_take_effect_one_after_the_other(make, keys):
    session = make(RunConfig(epochs=100_000), pace=0.005)
    session.toggle()
    step = reach(session, lambda v: v.snapshot.step > 20).snapshot.step
    for key in keys:
        getattr(session, key)()
    reach(session, lambda v: v.snapshot.step > step + 30 and v.state == "running")


def test_stop_before_the_first_chunk_stops(make):
    session = make(RunConfig(epochs=100_000), pace=0.005)
    session.toggle()
    session.stop()
    assert reach(session, at_rest("stopped")).snapshot.step <= 10


def test_a_new_configuration_starts_where_it_is_asked_to_or_where_the_run_before_did(make):
    session = make(RunConfig(epochs=100_000), pace=0.005)
    for start, runs in ((None, False), (True, True), (None, True), (False, False), (None, False)):
        number = session.apply(RunConfig(epochs=100_000), start=start)
        reach(session, lambda v, number=number: v.answered == number)
        reach(session, lambda v, runs=runs: (v.state == "running") is runs)
    session.toggle()
    reach(session, lambda v: v.snapshot.step > 0)
    for start in (None, None):  # both before the first of them has trained
        number = session.apply(RunConfig(epochs=100_000), start=start)
    reach(session, lambda v: v.answered == number and v.snapshot.step > 0)


def test_a_rate_in_one_breath_with_a_configuration_counts(make):
    session = make()
    number = session.apply(RunConfig(learning_rate=0.25))
    session.set_rate(0.5)
    reach(session, lambda v: v.answered == number)
    session.step()
    view = reach(session, lambda v: v.snapshot.step == 1)
    assert view.rate == view.snapshot.learning_rate == 0.5


def test_stop_before_the_start_changes_nothing(make):
    session = make()
    session.stop()
    session.step()
    assert reach(session, lambda v: v.snapshot.step == 1).state == "paused"


def test_reset_restores_network_rate_and_curves(make):
    session = make()
    session.finish_epoch()
    reach(session, at_rest("paused"))
    session.set_rate(0.5)
    number = session.reset()
    view = reach(session, lambda v: v.answered == number)
    assert view.state == "ready" and view.rate == RunConfig().learning_rate and view.snapshot.step == 0
    assert session.record.curve("loss")[0].size == session.record.curve("val_loss")[0].size == 0


def test_configuration_that_fails_leaves_the_run_as_it_is(make):
    session = make(pace=0.001, config=RunConfig(epochs=1000))
    session.toggle()
    before = reach(session, lambda v: v.snapshot.step > 20)
    number = session.apply(RunConfig(batch_size=5000))
    view = reach(session, lambda v: v.answered == number)
    assert "5000" in view.answer
    assert view.config == before.config and view.state == "running"
    reach(session, lambda v: v.snapshot.step > view.snapshot.step)


def test_divergence_is_told_and_reset_recovers(make):
    session = make()
    session.set_rate(1e6)
    session.toggle()
    view = reach(session, at_rest("diverged"))
    assert "diverged" in view.message
    number = session.apply(RunConfig())
    assert reach(session, lambda v: v.answered == number).state == "ready"


def test_a_crash_in_the_trainer_is_told_and_survived(make):
    session = make()

    def broken(self):
        raise RuntimeError("a fault of ours")

    session._run.trainer.layers = broken.__get__(session._run.trainer)
    session.toggle()
    view = reach(session, at_rest("failed"))
    assert view.message == "RuntimeError: a fault of ours"
    number = session.reset()
    assert reach(session, lambda v: v.answered == number).state == "ready"


def test_loading_that_fails_is_told():
    backend = FakeBackend()
    backend.load = lambda on_compile: (_ for _ in ()).throw(OSError("no such library"))
    session = Session(backend)
    session.start()
    assert reach(session, at_rest("failed")).message == "OSError: no such library"
    assert session.close(30)


def test_curves_grow_while_training(make):
    session = make(RunConfig(epochs=4))
    session.toggle()
    reach(session, at_rest("finished"))
    x, y = session.record.curve("loss")
    assert x[-1] == 160 and np.all(np.diff(y[-8:]) < 0.05)
    assert session.record.curve("val_loss")[0].tolist() == [40, 80, 120, 160]


def test_everything_runs_on_one_thread(make):
    session = make(RunConfig(epochs=2))
    session.toggle()
    reach(session, at_rest("finished"))
    session.reset()
    session.step()
    reach(session, lambda v: v.snapshot.step == 1)
    names = set().union(*(trainer.names for trainer in session._backend.trainers))
    assert names == {"fastnn-training"}


def test_close_joins_within_a_chunk_and_twice_is_harmless():
    session = Session(FakeBackend(pace=0.01, hold_at=10))
    session.start()
    session.toggle()
    reach(session, at_rest("running"))
    assert session.close(30)
    assert session.close(30)
    assert not any(thread is session._thread for thread in threading.enumerate())


def test_a_probe_is_answered_while_it_trains_and_at_rest(make):
    session = make(pace=0.001, config=RunConfig(epochs=1000))
    session.probe("sizes", lambda run: run.sizes, seconds=0.0)
    found = reach(session, lambda v: "sizes" in v.found).found["sizes"]
    assert (found.step, found.value, found.error) == (0, (64, 64, 32, 10), "")
    session.step()
    reach(session, lambda v: v.found["sizes"].step == 1)
    session.toggle()
    reach(session, lambda v: v.found["sizes"].step > 20)
    session.probe("sizes", None)
    reach(session, lambda v: "sizes" not in v.found)


def test_a_probe_that_fails_says_so_and_training_goes_on(make):
    session = make(pace=0.001, config=RunConfig(epochs=1000))
    session.probe("broken", lambda run: 1 / 0)
    assert reach(session, lambda v: "broken" in v.found).found["broken"].error == "ZeroDivisionError: division by zero"
    session.toggle()
    reach(session, lambda v: v.snapshot.step > 20)


def test_probes_take_their_share_of_the_time_at_most(make):
    calls = []

    def slow(run):
        calls.append(run.trainer.done)
        time.sleep(0.02)

    session = make(pace=0.001, config=RunConfig(epochs=1000))
    session.toggle()
    began = time.monotonic()
    session.probe("slow", slow, share=0.1, seconds=0.0)
    reach(session, lambda v: len(calls) >= 3)
    assert time.monotonic() - began >= 0.4, "two rests of ten times 20 ms"


def test_a_new_run_answers_probes_anew(make):
    session = make()
    session.probe("config", lambda run: run.network.config)
    reach(session, lambda v: "config" in v.found)
    number = session.apply(RunConfig(layers=(5,)))
    reach(session, lambda v: v.answered == number and "config" in v.found and v.found["config"].value.layers == (5,))


def test_do_changes_the_network_on_the_training_thread(make):
    session, names = make(), []
    before = session.view.snapshot

    def edit(run):
        names.append(threading.current_thread().name)
        run.trainer.learning_rate = 0.5

    session.do(edit)
    view = reach(session, lambda v: v.snapshot is not before)
    assert names == ["fastnn-training"] and view.snapshot.learning_rate == 0.5 and view.state == "ready"


def test_what_is_watched_is_looked_at_at_once_and_after_a_reset(make):
    session = make()
    assert session.view.snapshot.layers[0].gradients is None
    session.watch(("activations", "gradients"))
    assert reach(session, lambda v: v.snapshot.layers[0].gradients is not None).state == "ready"
    number = session.reset()
    assert reach(session, lambda v: v.answered == number).snapshot.layers[0].gradients is not None


def test_a_limit_of_steps_a_second_is_kept_and_commands_do_not_wait_for_it(make):
    session = make(config=RunConfig(epochs=1000), chunk=50)
    session.set_limit(0.001)  # a step in a quarter of an hour
    session.toggle()
    reach(session, lambda v: v.snapshot.step == 1)
    session.toggle()
    reach(session, lambda v: v.state == "paused")
    session.step()
    reach(session, lambda v: v.snapshot.step == 2 and v.state == "paused")
    session.set_limit(100.0)
    began = time.monotonic()
    session.toggle()
    view = reach(session, lambda v: v.snapshot.step >= 30)
    assert view.snapshot.step - 2 <= 100 * (time.monotonic() - began) + 5, "faster than the limit"
    session.set_limit(None)
    reach(session, lambda v: v.snapshot.step > 500)


def test_the_record_has_curves_and_marks_where_the_rate_changed(make):
    session = make(RunConfig(epochs=2), hold_at=40)
    session.watch(("activations", "gradient_norm"))
    session.toggle()
    reach(session, lambda v: v.snapshot.step == 40)
    session.set_rate(0.01)
    session._run.trainer.hold_at = None
    reach(session, at_rest("finished"))
    record = session.record
    assert [rate for _, rate in record.marks] == [0.01] and 40 <= record.marks[0][0] <= 60
    assert set(record.curve("learning_rate")[1]) <= {0.001, 0.01}
    assert record.curve("accuracy")[0].tolist() == record.curve("loss")[0].tolist()
    assert np.all(np.diff(record.curve("gradient_norm")[1]) < 0)
    record.cut(40)
    assert record.curve("loss")[0].max() == 40 and record.marks == []


def test_going_on_gently_after_a_divergence(make):
    session = make(RunConfig(epochs=2))
    session.go_on_gently()
    session.set_rate(5e3)
    session.toggle()
    reach(session, at_rest("diverged"))
    session.go_on_gently()
    assert reach(session, at_rest("finished")).rate == pytest.approx(500)


def test_undo_takes_steps_back_one_by_one_and_redo_takes_them_again(make):
    session = make()
    for _ in range(3):
        session.step()
    reach(session, lambda v: v.snapshot.step == 3)
    for step in (2, 1, 0):
        session.undo()
        view = reach(session, lambda v, step=step: v.snapshot.step == step)
        assert view.state == ("paused" if step else "ready") and view.moments == (0, 1, 2, 3)
    session.undo()
    for step in (1, 2, 3):
        session.redo()
        view = reach(session, lambda v, step=step: v.snapshot.step == step)
        assert view.moments == ((0, 1, 2, 3) if step < 3 else ())
    assert session.record.curve("loss")[0].tolist() == [1, 2, 3], "nothing is forgotten while one only looks"
    session.rewind(0)
    session.step()
    assert reach(session, lambda v: v.snapshot.step == 1).moments == ()
    assert session.record.curve("loss")[0].tolist() == [1]


def test_rewind_goes_to_a_kept_moment_and_training_goes_on_from_there(make):
    session = make(RunConfig(epochs=20), pace=0.01, hold_at=410)
    session.toggle()
    reach(session, lambda v: v.snapshot.step == 410)
    session.set_rate(0.5)
    session._run.trainer.hold_at = None
    end = reach(session, at_rest("finished")).snapshot.step
    session.rewind(300.0)
    view = reach(session, at_rest("paused"))
    assert 0 <= view.snapshot.step <= 300 and view.rate == 0.001 and view.moments[-1] == end
    assert session.record.curve("loss")[0].max() > 400 and session.record.marks
    session.set_rate(0.25)
    view = reach(session, lambda v: v.moments == ())
    assert session.record.curve("loss")[0].max() <= view.snapshot.step and session.record.marks == []
    session.toggle()
    assert reach(session, at_rest("finished")).snapshot.step == 800


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_run_that_was_only_looked_back_at_is_kept_to_its_end(make, leave):
    session = make()
    for _ in range(3):
        session.step()
    run = reach(session, lambda v: v.snapshot.step == 3).run
    session.rewind(1)
    reach(session, lambda v: v.snapshot.step == 1)
    kept = []
    run.keeper.close = kept.append
    getattr(session, leave)()
    reach(session, lambda v: bool(kept))
    assert [snapshot.step for snapshot in kept] == [3] and run.trainer.done == 3


def test_undo_while_it_runs_pauses(make):
    session = make(RunConfig(epochs=1000), pace=0.001)
    session._travel.timeline.due = lambda: False
    session.toggle()
    reach(session, lambda v: v.snapshot.step > 100)
    session.undo()
    reach(session, lambda v: v.state == "ready" and v.snapshot.step == 0)
    time.sleep(0.02)
    assert session.view.snapshot.step == 0


def test_a_hundred_stops_resets_and_changes_of_data_leave_one_thread(make):
    session = make(pace=0.0005)
    before = set(threading.enumerate())
    for number in range(100):
        session.toggle()
        (session.stop, session.reset, lambda: session.apply(RunConfig(data="moons", layers=(4,))))[number % 3]()
    last = session.apply(RunConfig())
    view = reach(session, lambda v: v.answered == last)
    assert view.state == "ready" and view.answer == "" and set(threading.enumerate()) <= before
    session.step()
    assert reach(session, lambda v: v.snapshot.step == 1).state == "paused"


def test_the_session_knows_no_widget():
    code = (
        "import sys, tui.session, tui.engine\n"
        "print([m for m in sys.modules if m.split('.')[0] in {'textual', 'rich', 'numba', 'fastnn'}])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
