"""Prediction: the same bits for a row alone, among others, in panels and by any thread; what is refused, and how."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference

import fastnn as fnn
from fastnn import compiler
from fastnn.activations import ACTIVATIONS
from fastnn.cpu import engine, predict, predictor
from fastnn.cpu.phases import ROWS

DTYPES = ["float32", "float64"]
# Sums in one part and in several; panels that are full, cut and single; one column; a size beside each vector's.
SIZES = [(4, 16, 1), (1, 1), (3, 5, 7, 9), (321, 33, 17), (700, 128, 10), (13, 130, 8)]


def network(sizes: tuple[int, ...], dtype: str, activation: str = "tanh") -> fnn.Network:
    net = fnn.Network(list(sizes), activation=activation, seed=5, dtype=dtype)
    net.parameters[...] = np.random.default_rng(1).standard_normal(net.parameters.size) / 4
    return net


def batch(rows: int, features: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(rows).standard_normal((rows, features)).astype(dtype)


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Any:
    """workers(n): predictions from now on are shared by n threads, however few rows they have."""

    def use(n: int) -> None:
        monkeypatch.setattr(compiler, "cores", lambda: n)
        monkeypatch.setattr(predictor, "THREADS_FROM", 0)

    return use


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", SIZES)
def test_a_row_has_the_same_bits_in_any_company(
    sizes: tuple[int, ...], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network(sizes, dtype)
    with monkeypatch.context() as patch:  # many rows are those that are packed
        patch.setattr(
            predictor, "THREADS_FROM", predictor.PACK_FROM * predictor.Predictor(net.architecture, net.storage)._row
        )
        net(batch(1, sizes[0], dtype))
    x = batch(predictor.PACK_FROM + 3, sizes[0], dtype)
    packed = net(x)
    assert net._predictors[0]._panels.size
    wanted = reference.forward(reference.copied(net), x.astype(float))
    np.testing.assert_allclose(
        packed, wanted, rtol=0, atol=(2e-5 if dtype == "float32" else 1e-13) * np.abs(wanted).max()
    )
    for count in (1, 2, 3, 4, 5, 7, 16, ROWS, ROWS + 1):
        parts = [net(x[i : i + count]) for i in range(0, 3 * ROWS, count)]
        assert np.concatenate(parts)[: 3 * ROWS].tobytes() == packed[: 3 * ROWS].tobytes(), count


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 2, ROWS + 1, 5 * ROWS + 7, predictor.PACK_FROM + 50])
def test_same_bits_for_any_number_of_threads(rows: int, dtype: str, workers: Any) -> None:
    x = batch(rows, 33, dtype)
    results = []
    for n in (1, 2, 3, 7):
        workers(n)
        results.append(network((33, 70, 4), dtype)(x).tobytes())
    assert len(set(results)) == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation: str, dtype: str) -> None:
    net = network((6, 20, 3), dtype, activation)
    x = batch(ROWS, 6, dtype)
    together = net(x)
    np.testing.assert_allclose(
        together, reference.forward(reference.copied(net), x.astype(float)), rtol=2e-4, atol=2e-5
    )
    assert np.concatenate([net(x[i : i + 1]) for i in range(ROWS)]).tobytes() == together.tobytes()


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("rows", "where"), [(1, 0), (ROWS + 2, ROWS + 1), (400, 0), (400, 399), (400, 200)])
def test_numbers_that_are_not_finite_are_found_and_named(
    rows: int, where: int, value: float, n: int, workers: Any
) -> None:
    workers(n)
    net = network((5, 8, 2), "float32")
    x = batch(rows, 5, "float32")
    before = net(x)
    x[where, 4] = value
    with pytest.raises(ValueError, match=rf"x: {value} at index \({where}, 4\) \(1 such values\)"):
        net(x)
    x[where, 4] = np.finfo(np.float32).max  # the largest number is a number
    net(x)
    x = batch(rows, 5, "float32")
    assert net(x).tobytes() == before.tobytes()  # and nothing is left of the error


def test_arrays_of_every_kind_compile_nothing(tmp_path: Path) -> None:
    net = network((6, 8, 3), "float32")
    x = batch(ROWS, 6, "float32")
    out = np.empty((ROWS, 3), np.float32)
    wanted = net(x)
    net(np.asfortranarray(x), out)
    np.save(tmp_path / "x.npy", x)
    frozen = x.copy()
    frozen.flags.writeable = False
    odd = np.zeros(x.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(x.shape)
    odd[...] = x
    kinds = [frozen, np.load(tmp_path / "x.npy", mmap_mode="r"), odd, x[:, ::-1][:, ::-1], x.astype(">f4"), x.tolist()]
    before = len(compiler.counts.misses), len(compiler.counts.hits)
    for kind in kinds:
        np.testing.assert_array_equal(net(kind), wanted)
        out[...] = 0
        assert net(kind, out=out) is out
        np.testing.assert_array_equal(out, wanted)
    assert (len(compiler.counts.misses), len(compiler.counts.hits)) == before


def test_errors_of_shape_leave_out_as_it_was() -> None:
    net = network((6, 8, 3), "float32")
    x, kept = batch(4, 6, "float32"), np.full((4, 3), 7, np.float32)
    for wrong in (x[:, :5], x[0], x[None], x[:0], batch(500, 5, "float32")):
        with pytest.raises(ValueError, match="x: "):
            net(np.ascontiguousarray(wrong), out=kept)
    for out in (np.full((5, 3), 7, np.float32), np.full((4, 2), 7, np.float32), np.full(12, 7, np.float32)):
        with pytest.raises(
            ValueError, match=r"out: .*expected a writable C-contiguous float32 array of shape \(4, 3\)"
        ):
            net(x, out=out)
        assert (out == 7).all()
    assert (kept == 7).all()


def test_threads_of_the_callers_predict_side_by_side() -> None:
    net = network((30, 40, 5), "float32")
    inputs = [batch(60, 30, "float32") + k for k in range(4)]
    wanted = [net(x).tobytes() for x in inputs]
    wrong: list[int] = []

    def many(k: int) -> None:
        wrong.extend(k for _ in range(200) if net(inputs[k]).tobytes() != wanted[k])

    threads = [threading.Thread(target=many, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "outputs"), [("cross_entropy", 3), ("mse", 3), ("binary_cross_entropy", 1)])
def test_evaluation_is_that_of_training_for_any_number_of_threads(
    loss: str, outputs: int, dtype: str, workers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = batch(7 * ROWS + 5, 9, dtype)
    y = np.arange(len(x)) % outputs if loss == "cross_entropy" else np.abs(np.sin(batch(len(x), outputs, dtype)))
    net = network((9, 12, outputs), dtype)
    history = net.fit(x, y, loss=loss, batch_size=50, validation=(x, y))

    def none(*_: object, **__: object) -> None:
        raise AssertionError("a pass that changes nothing needs no Runner, with its transposed weights")

    monkeypatch.setattr(engine, "Runner", none)
    for n in (1, 2, 5):
        workers(n)
        net._predictors.clear()
        result = net.evaluate(x, y)
        assert result["loss"] == history.val_loss[-1]
        assert not history.val_accuracy or result["accuracy"] == history.val_accuracy[-1]


PREDICT = """
import sys
import numpy as np
import fastnn as fnn
for dtype in sys.argv[1:]:
    net = fnn.Network([40, 24, 3], activation="identity", dtype=dtype)
    x = np.random.default_rng(0).standard_normal((1, 40)).astype(dtype)
    wanted = x @ net.layers[0].weight @ net.layers[1].weight
    print(np.abs(net(x) - wanted).max() < 1e-5)
"""


def test_both_types_out_of_one_cache(python: Callable[..., tuple[str, str]]) -> None:
    """A row's product has integers for arguments, and the same name in both: their kernels are not to be mixed up."""
    # Which two processes have compiled before the tests began, one for each type (conftest.py).
    assert python(PREDICT, *DTYPES)[0].split() == ["True"] * len(DTYPES)


def test_table_holds_what_the_network_is() -> None:
    net = network((4, 16, 1), "float64")
    state = net.compiled()
    entries = predict.layer_entries(state.table)
    assert entries[:, predict.IN].tolist() == [4, 16] and entries[:, predict.OUT].tolist() == [16, 1]
    assert entries[0, predict.WEIGHT] == net.parameters.ctypes.data == net.layers[0].weight.ctypes.data
    assert entries[1, predict.BIAS] == net.layers[1].bias.ctypes.data
    assert entries[0, predict.FORWARD] != 0 and entries[1, predict.FORWARD] == 0
