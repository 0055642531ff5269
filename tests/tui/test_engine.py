"""The UI on the real engine: digits are learned, names come from the registries, bad input leaves the run as it is."""

import json
from functools import partial

import numpy as np
import pytest
from driving import press, press_until, reach, text_of, until

from fastnn.activations import ACTIVATIONS
from fastnn.datasets import DATASETS
from fastnn.initializers import INITIALIZERS
from fastnn.optimizers import OPTIMIZERS
from tui.app import FastnnApp
from tui.config import RunConfig
from tui.engine import Engine
from tui.history import Recent
from tui.keeping import curves
from tui.predicting import judge
from tui.session import Session


@pytest.fixture(scope="module")
def session():
    """One session on the real engine; every test applies a configuration of its own."""
    session = Session(Engine())
    session.start()
    reach(session, lambda v: v.state != "loading")
    yield session
    assert session.close(60)


def apply(session, config):
    """Try a configuration and return the view that answers."""
    number = session.apply(config)
    return reach(session, lambda v: v.answered == number)


def test_choices_are_the_registries(session):
    choices = session.view.choices
    assert choices.data == tuple(DATASETS)
    assert choices.activations == tuple(ACTIVATIONS)
    assert choices.initializers == tuple(INITIALIZERS)
    assert set(choices.optimizers) == set(OPTIMIZERS) and choices.optimizers["adam"] == 1e-3


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_choice_can_be_trained(session, activation, optimizer):
    view = apply(session, RunConfig("blobs", (8, 8), activation, "xavier", optimizer, 0.01, 16, 2, 1))
    assert view.answer == "" and view.state == "ready"
    session.toggle()
    view = reach(session, lambda v: v.state == "finished")
    assert np.isfinite(view.snapshot.loss) and len(view.snapshot.layers) == 3
    assert all(layer.activations.counts.size == 30 for layer in view.snapshot.layers)


@pytest.mark.parametrize("init", INITIALIZERS)
def test_every_initializer_can_be_chosen(session, init):
    assert apply(session, RunConfig("xor", (4,), "tanh", init, "sgd", 0.1)).answer == ""


@pytest.mark.parametrize("data", [name for name in DATASETS if name != "mnist"])
def test_every_data_set_can_be_chosen(session, data):
    view = apply(session, RunConfig(data, (8,)))
    assert view.answer == "" and view.config.data == data
    session.step()
    assert reach(session, lambda v: v.snapshot.step == 1).state == "paused"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (RunConfig("digit"), ["name_or_path", "'digits'"]),
        (RunConfig("nowhere/data.csv"), ["nowhere/data.csv", "no such file"]),
        (RunConfig(batch_size=5000), ["batch_size", "5000"]),
        (RunConfig(activation="rely"), ["activation", "'relu'"]),
    ],
)
def test_bad_input_is_named_and_the_network_stays(session, config, said):
    before = apply(session, RunConfig("moons", (8,)))
    view = apply(session, config)
    assert all(word in view.answer for word in said)
    assert view.config == before.config and view.snapshot is before.snapshot


def test_a_device_that_is_not_there_is_named_and_the_network_stays(session, monkeypatch):
    monkeypatch.setattr("fastnn.cuda.find_spec", lambda name: None)
    before = apply(session, RunConfig("moons", (8,)))
    view = apply(session, RunConfig("moons", (8,), device="cuda"))
    assert view.answer.startswith("device: 'cuda' needs the package numba-cuda") and view.snapshot is before.snapshot


def test_rows_of_sequences_are_judged(session):
    session.probe("judged", judge)
    apply(session, RunConfig("adding", (8,)))
    found = reach(session, lambda v: "judged" in v.found).found["judged"]
    assert found.error == "" and len(found.value.truth) == len(found.value.losses) == len(found.value.shares)
    session.probe("judged", None)


def test_a_long_run_remembers_its_latest_epochs_and_keeps_them_all(session, monkeypatch):
    monkeypatch.setattr("tui.engine.Recent", partial(Recent, most=8))
    apply(session, RunConfig("moons", (8,), epochs=100))
    session.toggle()
    run = reach(session, lambda v: v.state == "finished").run
    history = run.trainer.history
    assert len(history.loss) == 100 and len(history.loss._values) <= 16
    path = run.keeper.path
    session.undo()
    reach(session, lambda v: v.state in ("ready", "paused"))
    session.toggle()
    assert reach(session, lambda v: v.state == "finished").snapshot.epoch == 100
    session.reset()
    reach(session, lambda v: v.run is not run)
    assert curves(path)["step"].size == 100


def test_a_csv_file_of_numbers_is_a_regression(session, tmp_path):
    path = tmp_path / "line.csv"
    path.write_text("x,y\n" + "\n".join(f"{i / 10},{i / 5 + 0.25}" for i in range(60)))
    view = apply(session, RunConfig(str(path), (8,), epochs=3, batch_size=8, learning_rate=0.01))
    assert view.answer == "" and view.sizes == (1, 8, 1)
    session.toggle()
    view = reach(session, lambda v: v.state == "finished")
    assert view.snapshot.accuracy is None and view.snapshot.val_loss is not None


def test_layers_are_looked_at_as_the_screen_asks(session):
    apply(session, RunConfig("digits", (16,), "tanh", optimizer="adam", epochs=200))
    session.watch(("activations", "gradient_norm", "gradients", "weights", "updates"))
    view = reach(session, lambda v: v.snapshot.layers[0].updates is not None)
    assert view.state == "ready" and all(0 < layer.ratio < 1 for layer in view.snapshot.layers)
    session.toggle()
    reach(session, lambda v: v.state == "finished")
    steps, norms = session.record.curve("gradient_norm")
    assert steps.size >= 2 and (norms > 0).all()
    session.watch(("activations",))


def test_a_probe_sees_the_network_and_do_changes_it(session):
    apply(session, RunConfig("moons", (8,)))
    session.probe("outputs", lambda run: run.network(run.data.x_test).shape)
    view = reach(session, lambda v: "outputs" in v.found)
    assert view.found["outputs"].value == (len(view.run.data.x_test), 2)
    before = view.snapshot

    def silence(run):
        run.network.layers[0].weight[:] = 0.0

    session.watch(("activations", "weights"))
    session.do(silence)
    view = reach(session, lambda v: v.snapshot is not before and v.snapshot.layers[0].weights is not None)
    reach(session, lambda v: v.snapshot.layers[0].weights.std == 0 and v.snapshot.layers[0].std == 0)
    session.probe("outputs", None)
    session.watch(("activations",))


def test_going_back_and_on_again_ends_with_the_same_bits(session):
    ends = []
    for detour in (False, True):
        apply(session, RunConfig("spirals", (16,), "tanh", optimizer="adam", learning_rate=0.01, epochs=30))
        if detour:
            session.finish_epoch()
            reach(session, lambda v: v.state == "paused")
            for _ in range(3):
                session.step()
            step = reach(session, lambda v: v.state == "paused" and v.snapshot.step % 3 >= 0).snapshot.step
            session.set_rate(0.5)
            session.step()
            reach(session, lambda v, step=step: v.snapshot.step > step)
            session.rewind(2.0)
            reach(session, lambda v: v.state in ("ready", "paused") and v.snapshot.step <= 2 and v.rate == 0.01)
        session.toggle()
        view = reach(session, lambda v: v.state == "finished")
        ends.append((view.snapshot.step, view.snapshot.val_loss, view.run.network.parameters.tobytes()))
    assert ends[0] == ends[1]


def test_after_a_divergence_training_goes_on_from_before_it(session):
    apply(session, RunConfig("digits", (16,), epochs=10_000, learning_rate=0.01))
    session.step()
    good = reach(session, lambda v: v.state == "paused")
    session.set_rate(1e12)
    session.toggle()
    assert reach(session, lambda v: v.state == "diverged").snapshot.culprit is not None
    session.set_rate(0.1)
    session.go_on_gently()
    session.go_on_gently()  # a second press changes nothing
    view = reach(session, lambda v: v.snapshot.step > good.snapshot.step + 500)
    assert view.rate == pytest.approx(0.01)
    assert view.state == "running" and view.snapshot.loss < 2.3
    session.stop()
    reach(session, lambda v: v.state == "stopped")


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("keys", [("stop", "toggle"), ("toggle", "toggle"), ("toggle", "stop", "toggle")])
def test_commands_within_one_chunk_take_effect_one_after_the_other(session, keys, trained):
    apply(session, RunConfig("moons", (8,), epochs=1_000_000))
    session.toggle()
    step = reach(session, lambda v: v.snapshot.step > 0).snapshot.step if trained else 0
    for key in keys:
        getattr(session, key)()
    reach(session, lambda v: v.snapshot.step > step + 100_000 and v.state == "running")
    session.stop()
    reach(session, lambda v: v.state == "stopped")


@pytest.mark.parametrize("first", ["toggle", "finish_epoch"])
def test_a_pause_before_the_first_chunk_leaves_nobody_waiting(session, first):
    apply(session, RunConfig("moons", (8,)))
    for _ in range(20):
        getattr(session, first)()
        session.toggle()
    session.step()
    reach(session, lambda v: v.state == "paused" and v.snapshot.step >= 1)
    number = session.reset()
    assert reach(session, lambda v: v.answered == number).state == "ready"


def test_reset_repeats_the_same_run(session):
    losses = []
    for _ in range(2):
        apply(session, RunConfig("spirals", (16,), "tanh", epochs=3))
        session.toggle()
        losses.append(reach(session, lambda v: v.state == "finished").snapshot.val_loss)
    assert losses[0] == losses[1]


def test_stop_and_run_again_ends_at_the_epochs_that_were_asked_for(session):
    apply(session, RunConfig("moons", (8,), epochs=6))
    for _ in range(2):
        session.finish_epoch()
        reach(session, lambda v: v.state == "paused")
    session.stop()
    reach(session, lambda v: v.state == "stopped")
    session.toggle()
    snapshot = reach(session, lambda v: v.state == "finished").snapshot
    assert snapshot.epoch == snapshot.epochs == 6


async def test_opens_on_digits_and_learns_them():
    app = FastnnApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.session.view.state == "ready")
        assert app.session.view.config == RunConfig() and app.session.view.sizes == (64, 64, 32, 10)
        await press_until(pilot, "space", lambda: (app.session.view.snapshot.val_accuracy or 0) > 0.9)
        await until(pilot, lambda: "L3 identity 10" in text_of(app) and "\u2588" in text_of(app))
        await press(pilot, "x")
        await until(pilot, lambda: app.session.view.state in ("stopped", "finished"))


async def test_an_absurd_rate_diverges_and_reset_recovers():
    app = FastnnApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.session.view.state == "ready")
        await press(pilot, *["right_curly_bracket"] * 8)
        await press_until(pilot, "space", lambda: app.session.view.state == "diverged")
        await until(pilot, lambda: "DIVERGED" in text_of(app) and "diverged at step" in text_of(app))
        await press(pilot, "r", "y")
        await until(pilot, lambda: app.session.view.state == "ready" and app.session.view.rate < 1)


@pytest.mark.parametrize("layer", ["omp", "tbb", "workqueue"])
def test_commands_in_quick_succession_leave_one_training_thread_on_every_threading_layer(python, layer):
    """fastnn has threads of its own: Numba's, which abort the process when two threads use them, are never started."""
    out, _ = python(
        """
import json, threading, time
import numba
from dataclasses import replace
from tui.config import RunConfig
from tui.engine import Engine
from tui.session import Session

session = Session(Engine(2), RunConfig(data="moons", layers=(256, 256), epochs=100_000, batch_size=256))
session.start()
for number in range(100):
    session.toggle()
    other = replace(session.view.config, data=("circles", "moons")[number // 3 % 2])
    (session.stop, session.reset, lambda: session.apply(other))[number % 3]()
last = session.apply(other)
session.step()
while session.view.answered < last or session.view.snapshot.step != 1:
    time.sleep(0.01)
names = [thread.name for thread in threading.enumerate()]
try:
    started = numba.threading_layer()
except ValueError:
    started = None
print(json.dumps([session.view.answer, session.view.state, names.count("fastnn-training"), started]))
session.close()
""",
        NUMBA_THREADING_LAYER=layer,
    )
    assert json.loads(out) == ["", "paused", 1, None]
