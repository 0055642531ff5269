"""What the Predict mode asks a network for, and how images and units are laid out."""

from types import SimpleNamespace

import numpy as np
import pytest
from fake_network import FakeNetwork, data_of

import fastnn as fnn
from fastnn.datasets import Dataset, load
from tui.config import RunConfig
from tui.predicting import (
    Window,
    judge,
    kind_of,
    line_probe,
    plane_probe,
    probabilities,
    set_weight,
    weights_probe,
)
from tui.widgets.cells import Cells
from tui.widgets.images import Sheet, fitting, resized
from tui.widgets.plane import strokes


def run_of(name, sizes, **options):
    config = RunConfig(data=name, activation="tanh")
    return SimpleNamespace(network=FakeNetwork(config, sizes), sizes=sizes, data=data_of(name, tuple(options.items())))


def test_kinds():
    assert [kind_of(data_of(name)) for name in ("moons", "sine", "digits")] == ["plane", "line", "images"]
    assert kind_of(data_of("moons", (("features", ("x1^2",)),))) == "plane" and kind_of(None) == "table"
    x = np.zeros((4, 5), np.float32)
    assert kind_of(Dataset("own", x, np.zeros(4, np.float32), x, np.zeros(4, np.float32))) == "table"


def test_probabilities():
    z = np.array([[1000.0, 0.0, 0.0], [0.0, 0.0, np.log(2)]], np.float32)
    assert np.allclose(probabilities(z, "cross_entropy"), [[1, 0, 0], [0.25, 0.25, 0.5]])
    assert np.allclose(probabilities(np.array([[0.0, 0.0]]), "binary_cross_entropy"), [[0.5, 0.5]])
    assert np.allclose(probabilities(np.array([[3.0, -1.0]]), "mse"), [[1.0, 0.0]])


def test_a_window_takes_in_all_points_in_square_pixels():
    points = np.array([[-3.0, 0.0], [1.0, 0.5], [0.0, -0.5]])
    window = Window.around(points, 40, 30)
    rows, columns = window.pixels(points)
    assert ((rows >= 0) & (rows < 30) & (columns >= 0) & (columns < 40)).all()
    every = window.points()
    again = window.pixels(every)
    assert np.array_equal(again[0], np.repeat(np.arange(30), 40)) and np.array_equal(
        again[1], np.tile(np.arange(40), 30)
    )
    assert every[0, 1] > every[-1, 1], "the top row has the largest y"
    assert np.allclose(window.point(29, 39), every[-1])


def test_the_plane_is_the_network_over_its_points():
    run = run_of("moons", (3, 5, 4, 2), features=("x1", "x2", "x1*x2"))
    window, small = Window.around(run.data.plane.train, 12, 8), Window.around(run.data.plane.train, 6, 6)
    found = plane_probe(window, small)(run)
    expected = probabilities(run.network(run.data.plane.inputs(window.points())), "cross_entropy")
    assert np.array_equal(found.values.reshape(-1, 2), expected) and found.values.shape == (8, 12, 2)
    assert [maps.shape for maps in found.maps] == [(5, 6, 6), (4, 6, 6)]
    x = run.data.plane.inputs(small.points())
    first = np.tanh(x @ run.network.layers[0].weight + run.network.layers[0].bias)
    assert np.allclose(found.maps[0].reshape(5, -1).T, first, atol=1e-5)


def test_a_line():
    run = run_of("sine", (1, 6, 1))
    found = line_probe(-1.0, 1.0, 21)(run)
    assert np.array_equal(found.y, run.network(found.x[:, None])) and found.units[0].shape == (21, 6)


def test_rows_are_judged():
    run = run_of("digits", (64, 8, 10))
    found = judge(run)
    y = run.data.y_test
    assert found.confusion.sum() == len(y) and np.array_equal(found.confusion.sum(1), np.bincount(y))
    assert np.trace(found.confusion) == (found.predicted == y).sum()
    assert np.allclose(found.losses.mean(), run.network.evaluate(run.data.x_test, y)["loss"], rtol=1e-4)
    assert (np.diff(found.losses[found.wrongest]) <= 0).all() and sorted(found.wrongest) == list(range(len(y)))
    line = run_of("sine", (1, 6, 1))
    judged = judge(line)
    assert judged.confusion is None
    assert np.allclose(judged.losses.mean(), line.network.evaluate(line.data.x_test, line.data.y_test, "mse")["loss"])


def test_the_time_steps_of_a_text_are_judged_as_rows():
    data = load("lessons", steps=8)
    net = fnn.Network([fnn.Input(data.features), fnn.GRU(4, return_sequences=True), fnn.Dense(data.n_classes)])
    found = judge(SimpleNamespace(network=net, data=data))
    assert kind_of(data) == "table" and found.confusion.sum() == len(found.losses) == data.y_test.size
    assert (found.truth == data.y_test.ravel()).all()
    assert np.allclose(found.losses.mean(), net.loss(data.x_test, data.y_test), rtol=1e-4)


def test_weights_are_read_and_set():
    run = run_of("moons", (2, 5, 2))
    set_weight(0, 3, 1, lambda _: 7.5)(run)
    before = weights_probe(1, 1)(run).bias
    set_weight(1, 1, None, lambda bias: bias - 2.0)(run)
    assert weights_probe(0, 3)(run).weights[1] == 7.5 and weights_probe(1, 1)(run).bias == pytest.approx(before - 2.0)
    assert run.network.layers[0].weight[1, 3] == 7.5
    assert weights_probe(0, 5)(run) is None and weights_probe(2, 0)(run) is None


# ---- laying out ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (3, 20)])
@pytest.mark.parametrize("room", [(20, 6), (56, 38), (158, 40)])
@pytest.mark.parametrize("count", [1, 64, 400])
def test_sheets_fit_their_room(shape, room, count):
    sheet = fitting(shape, count, *room)
    assert sheet.rows * sheet.columns > 0
    if sheet.count >= count or sheet.count > 1:
        assert sheet.side * (sheet.columns + 1) - 1 <= room[0] and sheet.below * (sheet.rows + 1) - 1 <= 2 * room[1]
    for number in {0, sheet.count - 1}:
        row, column = sheet.corner(number)
        assert sheet.at(column, row) == number == sheet.at(column + sheet.columns - 1, row + sheet.rows - 1)
    images = resized(np.random.default_rng(0).random((2, *shape)), sheet.rows, sheet.columns)
    assert images.shape == (2, sheet.rows, sheet.columns)


def test_a_shrunk_image_is_of_means_and_a_grown_one_of_its_pixels():
    image = np.arange(16.0).reshape(1, 4, 4)
    assert resized(image, 2, 2)[0].tolist() == [[2.5, 4.5], [10.5, 12.5]]
    assert resized(image, 8, 8)[0, ::2, ::2].tolist() == image[0].tolist()


def test_a_frame_is_around_its_image():
    cells, sheet = Cells(9, 5), Sheet(3, 3, 2, 2, lead=1)
    sheet.paint(cells, np.zeros((4, 3, 3, 3), np.uint8), frames={1: (255, 0, 0)})
    red = 0xFF0000
    assert (cells.front[0, 4:9] == red).all() and cells.front[0, 0] != red
    assert cells.front[2, 4] == cells.front[2, 8] == red != cells.front[2, 2]


def test_strokes_have_no_gaps():
    units = np.stack([np.linspace(-1, 1, 50), np.where(np.arange(50) < 25, -1.0, 1.0), np.zeros(50)], axis=1)
    pictures = strokes(units, 12)
    assert pictures.shape == (3, 12, 12) and set(np.unique(pictures)) <= {-1.0, 0.0, 1.0}
    assert (np.abs(pictures).sum(1) > 0).all()
    assert np.abs(pictures[1]).sum(1).min() >= 1, "the jump crosses every row"
