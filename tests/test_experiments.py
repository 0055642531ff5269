"""The lecture's experiments beside the digits on its slides, and what every entry of the registry must have."""

from __future__ import annotations

import dataclasses
import inspect
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from short import shorten

import fastnn as fnn
from fastnn import experiments, runfile
from fastnn.activations import ACTIVATIONS
from fastnn.datasets import mnist
from fastnn.experiments import EXPERIMENTS, depth, kernels, parts, sequences, terminal, weights
from fastnn.experiments.entry import Experiment, Parameter, plain

NAMES = list(EXPERIMENTS)
pytestmark = pytest.mark.xdist_group("experiments")  # whose worker computes them once


@pytest.fixture(scope="module")
def quick() -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        return {name: entry.run() for name, entry in EXPERIMENTS.items()}


def digits(values: np.ndarray, places: int = 5) -> list[str]:
    return [f"{value:.{places}f}" for value in values]


# ---- the slides' own numbers -----------------------------------------------------------------------------------------


def test_outputs_as_on_the_slide() -> None:
    found = experiments.outputs((-5, -1, 1, 5))
    assert digits(found.sigmoid) == ["0.00669", "0.26894", "0.73106", "0.99331"]
    assert digits(found.slide_normalized) == ["0.00334", "0.13447", "0.36553", "0.49666"]
    assert digits(found.softmax) == ["0.00004", "0.00243", "0.01794", "0.97959"]
    # The slide normalizes what it has rounded; the exact shares differ in the last digit.
    assert digits(found.normalized) == ["0.00335", "0.13447", "0.36553", "0.49665"]
    assert found.normalized.sum() == pytest.approx(1) and found.softmax.sum() == pytest.approx(1)


def test_cross_entropy_as_on_the_slide() -> None:
    found = experiments.cross_entropy()
    assert f"{found.rounded:.6f}" == "0.020621" and f"{found.exact:.6f}" == "0.020626"
    assert found.label.tolist() == [0, 0, 0, 1]
    net = fnn.Network([4, 4], activation="identity", dtype="float64")
    net.layers[0].weight = np.eye(4)
    assert found.exact == pytest.approx(net.loss([[-5.0, -1, 1, 5]], [3]), rel=1e-12)
    assert experiments.cross_entropy(label="frog").exact == pytest.approx(10.0206, abs=1e-4)
    far = experiments.cross_entropy((-1000, -1, 1, 1000), "frog")
    assert far.exact == 2000 and far.rounded == np.inf


def test_backpropagation_as_on_the_slides() -> None:
    found = experiments.backpropagation()
    assert found.f == -7 and dict(zip(found.names, found.gradient, strict=True)) == {"w": 5, "x": -2, "b": 1}
    assert found.learned == ("w", "b") and found.rates.tolist() == [0.1, 0.3, 0.5]
    np.testing.assert_allclose(found.updated, [[-1.5, 3.1], [-0.5, 3.3], [0.5, 3.5]], rtol=1e-12)
    np.testing.assert_allclose(found.differences, found.gradient, rtol=1e-8)
    # 0.3 lands nearest to 3, 0.5 goes past it; again and again the rule climbs on, and descent stays.
    np.testing.assert_allclose(found.reached, [-4.4, 0.8, 6.0], rtol=1e-12)
    assert found.climbed[-1] > 40 and (np.diff(found.climbed) > 0).all()
    assert abs(found.descended[-1] - 3) < 1e-4
    np.testing.assert_allclose(found.descended[1] - 3, -10 * (1 - 0.01 * 2 * 26), rtol=1e-12)


def test_a_descent_that_leaves_the_numbers_ends_there() -> None:
    found = experiments.backpropagation(formula="w ** 3", values="w = 3", learn="w", descent=10, eta=2)
    assert np.isnan(found.climbed[-1]) and np.isfinite(found.climbed[0]) and np.isnan(found.descended[-1])
    with pytest.raises(ValueError, match="learn: unknown name 'q'"):
        experiments.backpropagation(learn="q")


def test_initialization_as_on_the_slides() -> None:
    found = experiments.initialization()
    assert found.width == 500 and found.std.shape == (6, 5)
    assert all(holds for _, holds in weights.conclusions(found))
    of = dict(zip(found.schemes, found.std, strict=True))
    np.testing.assert_array_equal(of["he"], of["he_slide"])  # of layers of one width they are the same
    # A linear estimate of the first layer: sqrt(500) 0.01 = 0.22, a little less after tanh.
    assert 0.2 < of["small"][0] < 0.2236
    assert found.counts.sum(1).tolist() == [500_000] * 5
    # Xavier's first sums are N(0, 1), and tanh within 1 % of its range from an end where |x| > 2.298: 2.16 % of them.
    assert found.saturated[found.schemes.index("xavier"), 0] == pytest.approx(0.0216, rel=0.1)


@pytest.mark.parametrize("scheme", weights.SCHEMES)
def test_initialization_is_what_a_network_does(scheme: str) -> None:
    activation, init, _ = weights.SCHEMES[scheme]
    found = experiments.initialization(scheme, width=40, seed=3)
    x = np.random.default_rng(3).standard_normal((1000, 40)).astype(np.float32)
    net = fnn.Network([fnn.Input(40), *[fnn.Dense(40, activation, init)] * 5], seed=3)
    np.testing.assert_allclose(found.std[found.schemes.index(scheme), -1], net(x).std(dtype=np.float64), rtol=1e-4)


def test_terminology() -> None:
    found = experiments.network(layer=2, i=0, j=3)
    assert (found.layers, found.hidden, found.sizes) == (3, 2, (3, 4, 4, 2))
    assert found.name == "w_0,3⁽²⁾" and found.weight == found.weights[1][0, 2]
    assert [weight.shape for weight in found.weights] == [(4, 4), (5, 4), (5, 2)]
    assert found.parameters == fnn.Network([3, 4, 4, 2]).parameters.size == 46
    assert experiments.network(layer=9, i=99, j=99).link == (3, 4, 2)
    for sizes in ("3", "3 0", "3 x", "3 4000", "1 " * 13):
        with pytest.raises(ValueError, match="sizes: "):
            experiments.network(sizes=sizes)


def test_a_node() -> None:
    found = experiments.neuron((1, 2), (0.5, -1, 0.25), "sigmoid")
    assert found.a == 0.5 - 2 + 0.25 and found.y == pytest.approx(1 / (1 + np.exp(1.25)))
    assert experiments.neuron((0, 0), (5, 5, 0.75), "identity").y == 0.75


@pytest.mark.parametrize("x", [-6, -0.25, 0.0, 0.5, 6])
def test_the_gallery(x: float) -> None:
    found = experiments.activations(x, slope=0.2)
    of = dict(zip(found.names, zip(found.y, found.dy, strict=True), strict=True))
    s = 1 / (1 + np.exp(-x))
    assert set(of) == set(ACTIVATIONS)
    assert of["sigmoid"] == pytest.approx((s, s * (1 - s))) and of["identity"] == (x, 1)
    assert of["tanh"] == pytest.approx((np.tanh(x), 1 - np.tanh(x) ** 2), abs=1e-12)
    assert of["tanh"][0] == pytest.approx(found.slide_tanh, abs=1e-12)
    assert of["relu"] == (max(x, 0), x > 0) and of["leaky_relu"] == (x if x > 0 else 0.2 * x, 1 if x > 0 else 0.2)
    h = 1e-6
    near = [(kernels.value(n, np.array([x + h]), 0.2) - kernels.value(n, np.array([x - h]), 0.2))[0] for n in of]
    if x:
        np.testing.assert_allclose(found.dy, np.array(near) / (2 * h), atol=1e-8)


def test_the_remarks(quick: dict[str, Any]) -> None:
    """All but the time of exp, which depends on the machine and on who else uses it, and what is not so: leaky relu is
    not centered on 0 by its small slope."""
    found = quick["remarks"]
    (checks,) = (part for part in EXPERIMENTS["remarks"].report(found) if isinstance(part, parts.Checks))
    for text, holds in checks.rows:
        assert "exp" in text or holds == ("leaky relu is zero-centered" not in text), text
    assert (found.nanoseconds[1:] > 0).all()


def test_the_vanishing_gradient_is_a_product(quick: dict[str, Any]) -> None:
    found = quick["vanishing"]
    assert found.norms.shape == (3, 6) and found.ratios[0] < 0.01 < found.ratios[2]
    assert found.delta[0] == pytest.approx(found.delta[-1] * np.prod(found.slope[:-1] * found.weight[:-1]), rel=1e-12)
    assert (found.slope[:-1] < 0.25).all()


def test_the_terms_are_those_of_the_engine() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 5)), rng.integers(0, 3, 20)
    net = fnn.Network([5, 6, 4, 3], activation="tanh", seed=2, dtype="float64")
    slope, weight, delta = depth.terms(net, x, y)
    shaped = fnn.Network.from_config(net.config(), net.gradient(x, y))
    # dE/db is the sum of dE/da over the rows: one row at a time it is dE/da itself.
    rows = [fnn.Network.from_config(net.config(), net.gradient(x[k : k + 1], y[k : k + 1])) for k in range(20)]
    for layer in range(3):
        each = np.array([row.layers[layer].bias for row in rows]) / 20
        assert np.linalg.norm(each) == pytest.approx(delta[layer], rel=1e-10)
    norms = depth.layer_norms(net, net.gradient(x, y))
    assert norms[1] == pytest.approx(np.sqrt(np.mean(shaped.layers[1].weight ** 2)))
    assert slope[0] * weight[0] * delta[1] == pytest.approx(delta[0], rel=1e-12)


def test_convergence_counts_epochs(quick: dict[str, Any]) -> None:
    found = quick["convergence"]
    assert found.epochs.shape == (4, 8) and found.error.shape == (4, 5)
    for row, best, rate in zip(found.epochs, found.best, found.rate, strict=True):
        assert best == row.min() and row[found.rates.tolist().index(rate)] == best
    data = fnn.datasets.load("digits")
    easy = experiments.convergence(target=0.5, hidden=1, epochs=5)
    assert np.isfinite(easy.ratio) and easy.ratio == easy.best[2] / easy.best[0]
    errors = []
    for seed in range(5):
        net = fnn.Network([64, 32, 10], activation="tanh", seed=seed)
        history = net.fit(data.x_train, data.y_train, optimizer=fnn.SGD(easy.rate[2]), epochs=5, batch_size=64)
        errors.append(1 - np.array(history.accuracy))
    np.testing.assert_array_equal(easy.error[2], np.median(errors, axis=0))


# ---- partially connected, and over time ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["random", "window"])
def test_partially_connected(kind: str) -> None:
    found = experiments.partial(kind, density=0.25, inputs=8, nodes=4)
    assert found.connections == found.mask.sum() == 8 and found.possible == 32
    assert (found.weights[0][1:][found.mask == 0] == 0).all() and found.zeros == 0
    assert found.links == 64 * 16 + 640 and found.full_links == 64 * 64 + 640
    assert found.accuracy > 0.85 < found.full


@pytest.mark.parametrize(("w_hh", "b"), [(0.5, 0.0), (1.5, 0.2), (-1.0, 0.0)])
def test_the_gradient_through_time_is_a_product(w_hh: float, b: float) -> None:
    found = experiments.recurrence(w_hh, 0.8, b, steps=9)
    np.testing.assert_allclose(found.reach, found.differences, rtol=1e-6, atol=1e-10)
    assert found.reach[0] == pytest.approx(np.prod(found.terms), rel=1e-12) and found.reach[-1] == 1
    net = fnn.Network([fnn.Input(1), fnn.Recurrent(1, return_sequences=True)], dtype="float64")
    net.layers[0].weight, net.layers[0].recurrent_weight, net.layers[0].bias = [[0.8]], [[w_hh]], [b]
    np.testing.assert_allclose(net(found.x.reshape(1, 9, 1)).ravel(), found.h, rtol=1e-12)


def test_the_adding_problem() -> None:
    found = experiments.adding(steps=12, epochs=6)
    assert found.baseline == pytest.approx(1 / 6, rel=0.1) and found.loss[1:, -1].min() < 0.2 * found.baseline


def test_digits_by_rows() -> None:
    found = experiments.digit_rows(epochs=8)
    assert found.test > 0.9 and found.accuracy[-1] > found.accuracy[0]
    assert found.before[0] < found.before[-1]
    assert (experiments.digit_rows(cell="gru", units=8, epochs=1).after > 0).all()


def test_mnist_by_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where FASTNN_DATA has it: here stand-ins of 12 rows of 10."""
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    monkeypatch.setenv("FASTNN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(mnist, "MIRROR", "http://127.0.0.1:9")  # where nobody answers
    with pytest.raises(fnn.DataError, match="mnist: not found"):
        experiments.digit_rows("mnist")
    digits = fnn.datasets.load("digits")
    (tmp_path / "mnist").mkdir()
    for part, x, y in (("train", digits.x_train, digits.y_train), ("t10k", digits.x_test, digits.y_test)):
        images = np.pad(x.reshape(-1, 8, 8) * 255, ((0, 0), (2, 2), (1, 1))).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", y.astype(np.uint8))):
            head = np.array([0x0800 + array.ndim, *array.shape], ">i4").tobytes()
            (tmp_path / "mnist" / f"{part}-{kind}-ubyte").write_bytes(head + array.tobytes())
    found = experiments.digit_rows("mnist", "gru", 16, epochs=3)
    assert found.before.shape == (12,) and found.test > 0.5 and found.accuracy[-1] > found.accuracy[0]


def test_the_next_character_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("abcabd" * 60)
    found = experiments.next_character("recurrent", 16, epochs=15, file=str(path))
    assert found.characters == "abcd" and found.uniform == pytest.approx(np.log(4))
    assert found.loss[-1] < 0.6 * found.frequent and ("abcabd" * 30).find(found.written[:12]) >= 0
    path.write_text("short")
    with pytest.raises(fnn.DataError, match="5 characters; expected 200 or more"):
        experiments.next_character(file=str(path))
    for text, kinds in (("a" * 300, 1), ("".join(map(chr, range(0x4E00, 0x4E00 + 1001))), 1001)):
        path.write_text(text, "utf-8")
        with pytest.raises(fnn.DataError, match=f"has {kinds} different characters; expected from 2 to 1000"):
            experiments.next_character(file=str(path))


def test_a_training_that_diverges_at_once(quick: dict[str, Any]) -> None:
    net = fnn.Network([2, 4, 2])
    x, y = np.ones((96, 2)), np.zeros(96, int)
    loss, accuracy = sequences.fitted(net, x, y, epochs=3, optimizer=fnn.SGD(1e38))
    assert np.isnan(loss).all() and np.isnan(accuracy).all() and np.isfinite(net.parameters).all()
    for name, changes in (
        ("next_character", {"loss": loss}),
        ("digit_rows", {"accuracy": accuracy}),
        ("adding", {"loss": np.full((3, 3), np.nan)}),
    ):
        entry, result = EXPERIMENTS[name], dataclasses.replace(quick[name], **changes)
        terminal.show(entry, entry.report(result), Console(file=io.StringIO()))
        assert entry.question.right(result) >= 0


# ---- the registry ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_is_complete(name: str, quick: dict[str, Any]) -> None:
    entry, result = EXPERIMENTS[name], quick[name]
    assert entry.name == name and getattr(experiments, name).__wrapped__ is entry.compute
    assert 150 < len(entry.text) < 560 and entry.title and entry.slide
    assert len(entry.title) < 50 and all(len(answer) < 60 for answer in entry.question.answers)
    assert 0 <= entry.question.right(result) < len(entry.question.answers) and "nan" not in entry.question.why(result)
    assert inspect.signature(entry.compute).parameters.keys() == entry.defaults.keys()
    for parameter in inspect.signature(entry.compute).parameters.values():
        assert parameter.default == entry.defaults[parameter.name]
    assert dataclasses.is_dataclass(result) and entry.compute.__doc__
    json.dumps(plain(result), allow_nan=False)
    shown = entry.report(result)
    assert any(isinstance(part, (parts.Curves, parts.Histograms, parts.Bars, parts.Diagram)) for part in shown)
    for part in shown:
        if isinstance(part, parts.Table):
            assert all(len(row) == len(part.columns) for row in part.rows)


@pytest.mark.parametrize("name", NAMES)
def test_a_training_shows_it(name: str, quick: dict[str, Any]) -> None:
    entry = EXPERIMENTS[name]
    run = runfile.RunFile.from_table(entry.train(entry.defaults, None))
    prepared = runfile.build(run, threads=1)
    assert prepared.trainer.steps_per_epoch > 0
    again = runfile.RunFile.from_table(entry.train(entry.defaults, quick[name]))
    if name == "convergence":  # the rate that was found
        assert again.optimizer_options["lr"] == quick[name].rate[quick[name].names.index(run.activation)]
    else:
        assert again == run
    if name == "partial":
        kept = prepared.network.layers[0].weight != 0
        assert np.array_equal(kept, fnn.masks.random(64, 64, 0.25, seed=0))


def test_what_is_said_after_a_question_has_the_results_figures(quick: dict[str, Any]) -> None:
    changes: dict[str, tuple[dict[str, Any], str]] = {
        "outputs": ({"softmax": np.array([0.1, 0.1, 0.2, 0.6])}, "0.60000: the lead of 4 in a is a factor of 3 in"),
        "cross_entropy": ({"exact": 0.5}, "= 0.5000."),
        "backpropagation": ({"reached": np.array([1.0, 2, 30])}, "to 1, 2 and 30."),
        "partial": ({"accuracy": 0.5, "full": 0.75}, "50.0 %, beside 75.0 % with all links"),
        "convergence": ({"ratio": 3.25, "best": np.array([4.0, 5, 13, np.inf])}, "3.25 times: relu took 4"),
        "digit_rows": ({"test": 0.25}, "25.0 %"),
        "adding": ({"loss": np.array([[0.5], [0.25], [0.125]])}, "recurrent 0.5, gru 0.25, lstm 0.12"),
    }  # fmt: skip
    for name, (changed, told) in changes.items():
        assert told in EXPERIMENTS[name].question.why(dataclasses.replace(quick[name], **changed)), name


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_checked(name: str) -> None:
    entry = EXPERIMENTS[name]
    with pytest.raises(ValueError, match=f"{name}: parameter: unknown name 'nothing'"):
        entry.run(nothing=1)
    for parameter in entry.parameters:
        value = parameter.default
        for direction in (1, -1, -1, 1):
            value = parameter.check(parameter.moved(value, direction))
        assert parameter.check(value) == value
        if not isinstance(value, str) or parameter.choices:
            with pytest.raises((TypeError, ValueError), match=parameter.name):
                parameter.check(None)
            with pytest.raises(ValueError, match=parameter.name):
                parameter.read("nonsense")


def test_steps_stay_within_the_limits() -> None:
    count = Parameter("n", 5, "", 1, 10, 2, factor=True)
    assert [count.moved(n, d) for n, d in ((5, 1), (10, 1), (1, -1))] == [10, 10, 1]
    share = Parameter("x", 0.0, "", -1, 1, 0.1)
    value: Any = 0.0
    for _ in range(3):
        value = share.moved(value, 1)
    assert value == 0.3 and share.read(" -0.5 ") == -0.5
    pair = Parameter("p", (1.0, 2.0), "", 0, 3, labels=("a", "b"))
    assert pair.moved((1.0, 2.0), 1, at=1) == (1.0, 3.0) and pair.read("1, 2.5") == (1.0, 2.5)
    for text in ("1", "1 2 3", "1 x", "1 9"):
        with pytest.raises(ValueError, match="p: "):
            pair.read(text)
    with pytest.raises(TypeError, match="p: "):
        pair.check(3)


def test_entries_are_frozen() -> None:
    assert all(isinstance(entry, Experiment) for entry in EXPERIMENTS.values())
    with pytest.raises(dataclasses.FrozenInstanceError):
        EXPERIMENTS["outputs"].title = ""  # type: ignore[misc]
