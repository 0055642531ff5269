"""What a caller can get wrong: one clear error names the argument, the value and what was expected; nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

import fastnn as fnn

X = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
Y = np.arange(20) % 3
NAN, INF = float("nan"), float("inf")


class Bad(NamedTuple):
    """A call on a network [4, 5, 3], its error, and what the message must contain."""

    call: Callable[[fnn.Network], Any]
    error: type[Exception]
    words: tuple[str, ...]


BAD: dict[str, Bad] = {}


def bad(name: str, call: Callable[[fnn.Network], Any], error: type[Exception], *words: str) -> None:
    assert name not in BAD
    BAD[name] = Bad(call, error, words)


def changed(array: np.ndarray, at: Any, value: Any, dtype: Any = None) -> np.ndarray:
    copy = array.astype(dtype or array.dtype)
    copy[at] = value
    return copy


# ---- what a network is -----------------------------------------------------------------------------------------------

for layers, error, *words in [
    ("64-10", TypeError, "layers", "'64-10'", "list"),
    (5, TypeError, "layers", "5", "list"),
    (None, TypeError, "layers", "None", "list"),
    ([], ValueError, "layers", "[]", "input", "output"),
    ([4], ValueError, "layers", "[4]", "input", "output"),
    ([4, 0], ValueError, "layers[1]", "0", "1 or more"),
    ([0, 4], ValueError, "layers[0]", "0", "1 or more"),
    ([4, -5, 3], ValueError, "layers[1]", "-5", "1 or more"),
    ([4, True, 3], TypeError, "layers[1]", "True", "integer"),
    ([4, 2.5, 3], TypeError, "layers[1]", "2.5", "integer"),
    ([4, "5", 3], TypeError, "layers[1]", "'5'", "integer"),
    ([4, None], TypeError, "layers[1]", "None", "integer"),
    ([4, fnn.Dense(3)], TypeError, "layers[1]", "Dense", "integers", "Input"),
    ([fnn.Input(4), 3], TypeError, "layers[1]", "3", "Dense"),
    ([fnn.Input(4), fnn.layers.Layer(), fnn.Dense(3)], TypeError, "layers[1]", "Layer", "Dense"),
    ([fnn.Dense(4), fnn.Dense(3)], ValueError, "layers[0]", "Dense", "Input first"),
    ([fnn.Input(4), fnn.Input(4), fnn.Dense(3)], ValueError, "layers[1]", "Input first"),
    ([fnn.Input(4), fnn.Dense(3), fnn.Dropout(0.5)], ValueError, "layers[2]", "Dropout", "layer with weights after"),
    (
        [fnn.Input(4), fnn.Dropout(0.1), fnn.Dropout(0.1), fnn.Dense(3)],
        ValueError,
        "layers[1]",
        "layer with weights after",
    ),
    ([fnn.Input(4), fnn.Dropout(0.1)], ValueError, "Dropout", "layer with weights after"),
]:
    bad(f"Network({layers!r})", lambda net, layers=layers: fnn.Network(layers), error, *words)

for option, value, error, *words in [
    ("activation", "rleu", ValueError, "activation", "'rleu'", "'relu'", "sigmoid"),
    ("activation", "TANH", ValueError, "activation", "'TANH'", "'tanh'"),
    ("activation", "zzz", ValueError, "activation", "'zzz'", "known: ", "relu"),
    ("activation", None, TypeError, "activation", "None", "name"),
    ("activation", 3, TypeError, "activation", "3", "name"),
    ("init", "xaviar", ValueError, "init", "'xaviar'", "'xavier'"),
    ("init", 0.01, TypeError, "init", "0.01", "name"),
    ("seed", -1, ValueError, "seed", "-1", "from 0 to"),
    ("seed", 2**63, ValueError, "seed", str(2**63), "from 0 to"),
    ("seed", 1.5, TypeError, "seed", "1.5", "integer"),
    ("seed", True, TypeError, "seed", "True", "integer"),
    ("seed", None, TypeError, "seed", "None", "integer"),
    ("seed", "0", TypeError, "seed", "'0'", "integer"),
    ("dtype", "float16", ValueError, "dtype", "'float16'", "float32, float64"),
    ("dtype", "flaot64", ValueError, "dtype", "'flaot64'", "'float64'"),
    ("dtype", np.int64, ValueError, "dtype", "int64", "float32, float64"),
    ("dtype", None, (TypeError, ValueError), "dtype", "None", "float32"),
]:
    for shape in ([4, 5, 3], [4, 3]):  # also where there is no hidden layer that would use it
        bad(
            f"Network({shape}, {option}={value!r})",
            lambda net, shape=shape, option=option, value=value: fnn.Network(shape, **{option: value}),
            error,
            *words,
        )

for text, error, *words in [
    ("Input(0)", ValueError, "size", "0", "1 or more"),
    ("Input('4')", TypeError, "size", "'4'", "integer"),
    ("Input(True)", TypeError, "size", "True", "integer"),
    ("Dense(0)", ValueError, "units", "0", "1 or more"),
    ("Dense(-3)", ValueError, "units", "-3", "1 or more"),
    ("Dense(2.0)", TypeError, "units", "2.0", "integer"),
    ("Dense(True)", TypeError, "units", "True", "integer"),
    ("Dense(3, 'sigmod')", ValueError, "activation", "'sigmod'", "'sigmoid'"),
    ("Dense(3, None)", TypeError, "activation", "None", "name"),
    ("Dense(3, init='hee')", ValueError, "init", "'hee'", "'he'"),
    ("Dense(3, 'relu', slope=0.1)", ValueError, "slope", "0.1", "'relu'", "leaky_relu"),
    ("Dense(3, 'leaky_relu', slope=0)", ValueError, "slope", "0", "(0, 1)"),
    ("Dense(3, 'leaky_relu', slope=-0.1)", ValueError, "slope", "-0.1", "(0, 1)"),
    ("Dense(3, 'leaky_relu', slope=1.0)", ValueError, "slope", "1.0", "(0, 1)"),
    ("Dense(3, 'leaky_relu', slope=float('nan'))", ValueError, "slope", "nan", "(0, 1)"),
    ("Dense(3, 'leaky_relu', slope='0.1')", TypeError, "slope", "'0.1'", "number"),
    ("Dropout(1)", ValueError, "rate", "1", "[0, 1)"),
    ("Dropout(-0.1)", ValueError, "rate", "-0.1", "[0, 1)"),
    ("Dropout(float('nan'))", ValueError, "rate", "nan", "[0, 1)"),
    ("Dropout('half')", TypeError, "rate", "'half'", "number"),
    ("Dropout(True)", TypeError, "rate", "True", "number"),
    ("Dropout(None)", TypeError, "rate", "None", "number"),
    ("Normal(-1)", ValueError, "std", "-1", "[0, inf)"),
    ("Normal(float('inf'))", ValueError, "std", "inf", "finite"),
    ("Normal('x')", TypeError, "std", "'x'", "number"),
    ("SGD(-0.1)", ValueError, "lr", "-0.1", "[0, inf)"),
    ("SGD(float('nan'))", ValueError, "lr", "nan", "finite"),
    ("SGD(float('inf'))", ValueError, "lr", "inf", "finite"),
    ("SGD('0.1')", TypeError, "lr", "'0.1'", "number"),
    ("SGD(True)", TypeError, "lr", "True", "number"),
    ("SGD(0.1, momentum=1)", ValueError, "momentum", "1", "[0, 1)"),
    ("SGD(0.1, momentum=-0.5)", ValueError, "momentum", "-0.5", "[0, 1)"),
    ("SGD(0.1, momentum=None)", TypeError, "momentum", "None", "number"),
    ("SGD(0.1, nesterov=True)", ValueError, "nesterov", "True", "momentum"),
    ("SGD(0.1, momentum=0.9, nesterov='yes')", TypeError, "nesterov", "'yes'", "True or False"),
    ("SGD(0.1, weight_decay=-1)", ValueError, "weight_decay", "-1", "[0, inf)"),
    ("Adam(-1)", ValueError, "lr", "-1", "[0, inf)"),
    ("Adam(beta1=1)", ValueError, "beta1", "1", "[0, 1)"),
    ("Adam(beta2=1.5)", ValueError, "beta2", "1.5", "[0, 1)"),
    ("Adam(eps=-1e-8)", ValueError, "eps", "-1e-08", "[0, inf)"),
    ("Adam(beta1='x')", TypeError, "beta1", "'x'", "number"),
]:
    bad(text, lambda net, text=text: eval(f"fnn.{text}"), error, *words)


# ---- inputs, for every function that takes them ----------------------------------------------------------------------


def trainer(net: fnn.Network, x: Any, y: Any, **options: Any) -> fnn.Trainer:
    return fnn.Trainer(net, SimpleNamespace(x_train=x, y_train=y, x_test=X, y_test=Y), **({"batch_size": 4} | options))


TAKE_X: dict[str, tuple[str, Callable[[fnn.Network, Any], Any]]] = {
    "call": ("x", lambda net, x: net(x)),
    "fit": ("x", lambda net, x: net.fit(x, Y, batch_size=4)),
    "Trainer": ("x", lambda net, x: trainer(net, x, Y)),
    "evaluate": ("x", lambda net, x: net.evaluate(x, Y)),
    "loss": ("x", lambda net, x: net.loss(x, Y)),
    "gradient": ("x", lambda net, x: net.gradient(x, Y)),
    "fit validation": ("validation x", lambda net, x: net.fit(X, Y, batch_size=4, validation=(x, Y))),
    "Trainer validation": ("validation x", lambda net, x: trainer(net, X, Y, validation=(x, Y))),
}
for name, (argument, call) in TAKE_X.items():
    for how, x, error, *words in [
        ("one row", X[0], ValueError, "(4,)", "(n, 4)"),
        ("another width", X[:, :3], ValueError, "(20, 3)", "(n, 4)"),
        ("three dimensions", X[None], ValueError, "(1, 20, 4)", "(n, 4)"),
        ("a number", 1.0, ValueError, "()", "(n, 4)"),
        ("empty", X[:0], ValueError, "(0, 4)", "at least one row"),
        ("an empty list", [], ValueError, "(0,)", "(n, 4)"),
        ("None", None, TypeError, "None", "real numbers"),
        ("rows that are yet to come", (row for row in X), TypeError, "generator", "real numbers"),
        ("objects", X.astype(object), TypeError, "object", "real numbers"),
        ("text", X.astype(str), TypeError, "<U", "real numbers"),
        ("complex", X.astype(complex), TypeError, "complex128", "real numbers"),
        ("masked", np.ma.array(X, mask=X > 1), ValueError, f"{(X > 1).sum()} are masked", "filled()"),
        ("masked rows", [np.ma.array(X[0], mask=[0, 1, 0, 1]), X[1]], ValueError, "2 are masked", "filled()"),
        ("masked records", np.ma.array(np.zeros(2, "f4,f4"), mask=True), TypeError, "f0", "real numbers"),
        ("dates", np.zeros((20, 4), "datetime64[s]"), TypeError, "datetime64", "real numbers"),
        ("rows of unequal length", [[1, 2, 3, 4], [1, 2, 3]], ValueError, "rows of equal length"),
        ("NaN", changed(X, (7, 2), NAN), ValueError, "nan", "(7, 2)", "finite"),
        ("Inf", changed(X, (0, 0), INF), ValueError, "inf", "(0, 0)", "finite"),
        ("-Inf", changed(X, (19, 3), -INF), ValueError, "-inf", "(19, 3)", "finite"),
        ("too large for float32", changed(X, (3, 1), 1e39, np.float64), ValueError, "float32", "(3, 1)", "finite"),
    ]:
        bad(f"{name}: x {how}", lambda net, call=call, x=x: call(net, x), error, f"{argument}", *words)

# ---- targets ---------------------------------------------------------------------------------------------------------

TAKE_Y: dict[str, tuple[str, Callable[..., Any]]] = {
    "fit": ("y", lambda net, y, loss: net.fit(X, y, batch_size=4, loss=loss)),
    "Trainer": ("y", lambda net, y, loss: trainer(net, X, y, loss=loss)),
    "evaluate": ("y", lambda net, y, loss: net.evaluate(X, y, loss)),
    "loss": ("y", lambda net, y, loss: net.loss(X, y, loss)),
    "gradient": ("y", lambda net, y, loss: net.gradient(X, y, loss)),
    "validation": (
        "validation y",
        lambda net, y, loss: net.fit(X, np.eye(3)[Y], batch_size=4, loss=loss, validation=(X, y)),
    ),
}
ROWS = np.eye(3, dtype=np.float32)[Y]
for name, (argument, call_y) in TAKE_Y.items():
    for loss, how, y, error, *words in [
        ("cross_entropy", "label too large", changed(Y, 6, 3), ValueError, "3 at index 6", "from 0 to 2"),
        ("cross_entropy", "label negative", changed(Y, 19, -1), ValueError, "-1 at index 19", "from 0 to 2"),
        ("cross_entropy", "labels fractional", Y + 0.5, TypeError, "float64", "integer labels"),
        ("cross_entropy", "labels NaN", changed(Y, 3, NAN, float), TypeError, "float64", "integer labels"),
        ("cross_entropy", "uint64 that is no int64", changed(Y, 3, 2**64 - 1, np.uint64), ValueError, str(2**64 - 1)),
        ("cross_entropy", "fewer labels", Y[:19], ValueError, "(19,)", "20 rows"),
        ("cross_entropy", "more labels", np.tile(Y, 2), ValueError, "(40,)", "20 rows"),
        ("cross_entropy", "empty", Y[:0], ValueError, "(0,)", "20 rows"),
        ("cross_entropy", "a number", 1, ValueError, "()", "20 rows"),
        ("cross_entropy", "None", None, TypeError, "None", "real numbers"),
        ("cross_entropy", "text", np.array(["cat"] * 20), TypeError, "<U3", "real numbers"),
        ("cross_entropy", "objects", Y.astype(object), TypeError, "object", "real numbers"),
        ("cross_entropy", "complex", Y.astype(complex), TypeError, "complex128", "real numbers"),
        ("cross_entropy", "one column", Y[:, None], ValueError, "(20, 1)", "(n, 3)"),
        ("cross_entropy", "rows of two ones", changed(ROWS, 4, 1), ValueError, "row 4 is [1", "one-hot"),
        ("cross_entropy", "NaN in rows", changed(ROWS, (2, 1), NAN), ValueError, "nan", "(2, 1)", "finite"),
        ("cross_entropy", "rows of fractions", ROWS * 0.5, ValueError, "one-hot"),
        ("cross_entropy", "three dimensions", ROWS[None], ValueError, "(1, 20, 3)", "20 rows"),
        ("mse", "another width", ROWS[:, :2], ValueError, "(20, 2)", "(20, 3)"),
        ("mse", "NaN", changed(ROWS, (2, 1), NAN), ValueError, "nan", "(2, 1)", "finite"),
        ("mse", "Inf", changed(ROWS, (2, 1), INF), ValueError, "inf", "(2, 1)", "finite"),
        ("mse", "too large", changed(ROWS, (2, 1), 1e39, float), ValueError, "float32", "(2, 1)", "finite"),
        ("mse", "flat fractions", Y + 0.5, ValueError, "(20,)", "(20, 3)"),
        ("mse", "label too large", Y + 1, ValueError, "3 at index 2", "from 0 to 2"),
        ("binary_cross_entropy", "above 1", changed(ROWS, (2, 1), 1.5), ValueError, "1.5", "from 0 to 1"),
        ("binary_cross_entropy", "below 0", changed(ROWS, (2, 1), -0.5), ValueError, "-0.5", "from 0 to 1"),
        ("binary_cross_entropy", "NaN", changed(ROWS, (2, 1), NAN), ValueError, "nan", "finite"),
    ]:
        bad(
            f"{name}: y {how}, {loss}",
            lambda net, call=call_y, y=y, loss=loss: call(net, y, loss),
            error,
            argument,
            *words,
        )

# ---- options of training ---------------------------------------------------------------------------------------------

TRAIN: dict[str, Callable[..., Any]] = {
    "fit": lambda net, **options: net.fit(X, Y, **({"batch_size": 4} | options)),
    "Trainer": lambda net, **options: trainer(net, X, Y, **options),
}
for name, call_options in TRAIN.items():
    for option, value, error, *words in [
        ("batch_size", 21, ValueError, "21", "20 rows"),
        ("batch_size", 0, ValueError, "0", "1 or more"),
        ("batch_size", -4, ValueError, "-4", "1 or more"),
        ("batch_size", True, TypeError, "True", "integer"),
        ("batch_size", 4.0, TypeError, "4.0", "integer"),
        ("batch_size", "4", TypeError, "'4'", "integer"),
        ("batch_size", None, TypeError, "None", "integer"),
        ("loss", "cross_entrpy", ValueError, "'cross_entrpy'", "'cross_entropy'"),
        ("loss", "l2", ValueError, "'l2'", "known: ", "mse"),
        ("loss", None, TypeError, "None", "name"),
        ("loss", ["mse"], TypeError, "['mse']", "name"),
        ("optimizer", "adam", TypeError, "'adam'", "fastnn.Adam"),
        ("optimizer", fnn.Adam, TypeError, "Adam", "fastnn.Adam"),
        ("optimizer", 0.1, TypeError, "0.1", "fastnn.SGD"),
        ("threads", 0, ValueError, "0", "from 1 to"),
        ("threads", -1, ValueError, "-1", "from 1 to"),
        ("threads", 10**6, ValueError, "1000000", "from 1 to"),
        ("threads", 1.5, TypeError, "1.5", "integer"),
        ("threads", True, TypeError, "True", "integer"),
        ("threads", "2", TypeError, "'2'", "integer"),
        ("validation", X, TypeError, "ndarray", "pair"),
        ("validation", (X,), TypeError, "tuple", "pair"),
        ("validation", (X, Y, Y), TypeError, "tuple", "pair"),
        ("validation", "test", TypeError, "str", "pair"),
        ("validation", (X, Y[:5]), ValueError, "validation y", "(5,)", "20 rows"),
        ("shuffle", "no", TypeError, "'no'", "True or False"),
    ]:
        bad(
            f"{name}: {option}={value!r}"[:60] + f" {len(BAD)}",
            lambda net, call=call_options, option=option, value=value: call(net, **{option: value}),
            error,
            option,
            *words,
        )

for value, error, *words in [
    (0, ValueError, "0", "1 or more"),
    (-3, ValueError, "-3", "1 or more"),
    (1.5, TypeError, "1.5", "integer"),
    (True, TypeError, "True", "integer"),
    ("3", TypeError, "'3'", "integer"),
]:
    bad(
        f"fit: epochs={value!r}",
        lambda net, v=value: net.fit(X, Y, epochs=v, batch_size=4),
        error,
        "epochs",
        *words,
    )
    bad(f"Trainer.run({value!r})", lambda net, v=value: trainer(net, X, Y).run(v), error, "epochs", *words)

bad("fit: validation=True", lambda net: net.fit(X, Y, batch_size=4, validation=True), TypeError, "validation", "pair")
bad("Trainer: data is a name", lambda net: fnn.Trainer(net, "digits"), TypeError, "data", "'digits'", "x_train")
bad("Trainer: data is a pair", lambda net: fnn.Trainer(net, (X, Y)), TypeError, "data", "x_train")
bad(
    "Trainer: data without a test part",
    lambda net: fnn.Trainer(net, SimpleNamespace(x_train=X, y_train=Y), batch_size=4),
    TypeError,
    "data",
    "no x_test",
    "validation",
)
bad("Trainer: no network", lambda net: fnn.Trainer("net", SimpleNamespace()), TypeError, "network", "'net'", "Network")
for rate in (-0.1, NAN, INF):
    bad(
        f"set_learning_rate({rate})",
        lambda net, rate=rate: trainer(net, X, Y).set_learning_rate(rate),
        ValueError,
        "learning_rate",
        str(rate),
        "[0, inf)",
    )
bad("set_learning_rate('x')", lambda net: trainer(net, X, Y).set_learning_rate("x"), TypeError, "learning_rate", "'x'")
for function in ("evaluate", "loss", "gradient"):
    bad(
        f"{function}: loss",
        lambda net, f=function: getattr(net, f)(X, Y, "msee"),
        ValueError,
        "loss",
        "'msee'",
        "'mse'",
    )
bad(
    "cross entropy of one output",
    lambda net: fnn.Network([4, 1]).fit(X, Y, batch_size=4),
    ValueError,
    "loss",
    "1 output",
    "2 outputs or more",
)

# ---- outputs and parameters ------------------------------------------------------------------------------------------

for how, out, error, *words in [
    ("shape", np.zeros((20, 4), np.float32), ValueError, "(20, 4)", "(20, 3)"),
    ("dtype", np.zeros((20, 3)), ValueError, "float64", "float32"),
    ("order", np.zeros((3, 20), np.float32).T, ValueError, "C-contiguous"),
    ("read-only", np.broadcast_to(np.zeros((20, 3), np.float32), (20, 3)), ValueError, "writable"),
    ("a list", [0.0], TypeError, "list", "array"),
]:
    bad(f"call: out {how}", lambda net, out=out: net(X, out=out), error, "out", *words)


class Refusing:
    """As a tensor of PyTorch's that has a gradient."""

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise RuntimeError("detach first")


def assign(name: str, value: Any) -> Callable[[fnn.Network], None]:
    def run(net: fnn.Network) -> None:
        setattr(net if name == "parameters" else net.layers[0], name, value)

    return run


bad("parameters of another size", assign("parameters", np.zeros(5)), ValueError, "parameters", "(5,)", "(43,)")
bad("parameters are text", assign("parameters", ["x"] * 43), TypeError, "parameters", "<U1", "numbers")
bad("weight of another shape", assign("weight", np.zeros((5, 4))), ValueError, "weight", "(5, 4)", "(4, 5)")
bad("weight is a number", assign("weight", 1.0), ValueError, "weight", "()", "(4, 5)")
bad("bias of another shape", assign("bias", np.zeros(4)), ValueError, "bias", "(4,)", "(5,)")
bad("bias is complex", assign("bias", np.zeros(5, complex)), TypeError, "bias", "complex128", "numbers")
bad("restore: a number", lambda net: trainer(net, X, Y).restore(3), TypeError, "state", "3", "keep()")
bad("bias is a tensor", assign("bias", Refusing()), TypeError, "bias", "detach first", "real numbers")


# ---- the test --------------------------------------------------------------------------------------------------------


def state(net: fnn.Network) -> tuple[Any, ...]:
    return net.parameters.tobytes(), net.epochs, net.loss_name, net.config(), repr(net)


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_bad_input_is_named_and_changes_nothing(case: Bad) -> None:
    net = fnn.Network([4, 5, 3], seed=1)
    net.fit(X, Y, batch_size=4)
    before = state(net)
    with pytest.raises(case.error) as caught:
        case.call(net)
    message = str(caught.value)
    assert isinstance(caught.value, (TypeError, ValueError, fnn.FastnnError))
    assert message.startswith(("layers", "Input", "Dense", "Dropout", case.words[0])) and "\n" not in message
    for word in case.words:
        assert word in message, f"{word!r} is not in {message!r}"
    assert len(message) < 300
    assert state(net) == before


def test_layers_cannot_be_put_elsewhere() -> None:
    net = fnn.Network([4, 5, 3])
    with pytest.raises(AttributeError, match="weights"):
        net.layers[0].weights = np.zeros((4, 5))
    with pytest.raises(TypeError, match="item assignment"):
        net.layers[0] = net.layers[1]  # type: ignore[index]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_good_is_taken(dtype: str) -> None:
    """So that the table above is not full of refusals of everything."""
    net = fnn.Network((np.int64(4), 5, 3), seed=np.int32(3), dtype=np.dtype(dtype), init=fnn.Normal(np.float32(0.1)))
    for x in (X.astype(np.float16), X.astype(np.float64), X.tolist(), np.asfortranarray(X), X.astype(np.int8), X > 0):
        for y in (Y, Y.astype(np.uint8), Y.tolist(), ROWS, ROWS.astype(bool)):
            net.fit(
                x, y, batch_size=np.int64(20), epochs=np.int64(1), validation=[x, y], optimizer=fnn.SGD(np.float32(0))
            )
    x = np.ascontiguousarray(X)
    x.flags.writeable = False
    assert net(x).shape == (20, 3)
    assert net.loss(X, Y > 0, "mse") >= 0 and net.loss(X, ROWS, "binary_cross_entropy") >= 0
    if dtype == "float64":
        assert np.isfinite(net(changed(X, (3, 1), 1e39, np.float64))).all()
