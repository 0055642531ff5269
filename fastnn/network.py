"""Network: layers, parameters, prediction, loss, gradient and training of a feed-forward network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn import checkpoint, compiler, samples
from fastnn.activations import ACTIVATIONS
from fastnn.cpu import engine, phases, plan
from fastnn.devices import OnDevice
from fastnn.errors import DataError, check_choice, check_finite, check_int, shown
from fastnn.initializers import INITIALIZERS, Initializer, initializer
from fastnn.layers import Dense, Dropout, Input, Layer, check_stack, from_sizes
from fastnn.losses import LOSSES
from fastnn.masks import Mask
from fastnn.optimizers import Optimizer

MOST_PARAMETERS = 2**33  # 32 GiB of float32
DTYPES: dict[str, type] = {"float32": np.float32, "float64": np.float64}


def _count(sizes: Sequence[int]) -> int:
    """Number of parameters of Dense layers between `sizes` units, in Python's integers: they may be beyond int64."""
    return sum(fan_in * fan_out + fan_out for fan_in, fan_out in pairwise(sizes))


class LayerView:
    """A layer after the input. A Dense layer's `weight` (fan_in, fan_out) and `bias` (fan_out,) are views."""

    def __init__(self, layer: Dense | Dropout, weight: np.ndarray | None, bias: np.ndarray | None) -> None:
        self.layer = layer
        self._weight, self._bias = weight, bias

    @property
    def activation(self) -> str:
        return self.layer.activation if isinstance(self.layer, Dense) else ""

    @property
    def weight(self) -> np.ndarray:
        return self._array("weight", self._weight)

    @weight.setter
    def weight(self, value: Any) -> None:
        self._assign("weight", self.weight, value)
        self.disconnect()

    @property
    def bias(self) -> np.ndarray:
        return self._array("bias", self._bias)

    @bias.setter
    def bias(self, value: Any) -> None:
        self._assign("bias", self.bias, value)

    def disconnect(self) -> None:
        """Set masked weights to 0."""
        mask = self.layer.mask if isinstance(self.layer, Dense) else None
        if mask is not None:
            self.weight[np.asarray(mask) == 0] = 0

    def _array(self, name: str, array: np.ndarray | None) -> np.ndarray:
        if array is None:
            raise AttributeError(f"{self.layer!r} has no {name}")
        return array

    @staticmethod
    def _assign(name: str, array: np.ndarray, value: Any) -> None:
        new = samples.numeric(name, value)
        if new.shape != array.shape:
            raise ValueError(f"{name}: has shape {new.shape}; expected {array.shape}")
        with np.errstate(over="ignore"):
            array[...] = check_finite(name, new.astype(array.dtype))

    def __repr__(self) -> str:
        return f"LayerView({self.layer!r})"


class Network(OnDevice):
    """A feed-forward network.

    `layers`: sizes [inputs, hidden ..., outputs], where hidden layers take `activation` and the last is linear, or a
    list that begins with Input and goes on with Dense and Dropout. `init`: a name of fastnn.initializers.INITIALIZERS
    or an initializer such as Normal(0.01); by default "he" before relu and leaky_relu, else "xavier". `seed` (0 to
    2**63 - 1) fixes initialization, shuffling and dropout: same seed, same bits, on the same machine. `dtype`:
    "float32" or "float64". `device`: "cpu", or "cuda" for an NVIDIA GPU. Raises TypeError and ValueError, naming the
    argument, and DeviceError for a device that cannot be used here.
    """

    def __init__(
        self,
        layers: Sequence[int] | Sequence[Layer],
        *,
        activation: str = "relu",
        init: str | Initializer | None = None,
        seed: int = 0,
        dtype: Any = "float32",
        device: str = "cpu",
    ) -> None:
        if isinstance(layers, (str, bytes)) or not isinstance(layers, Sequence):
            raise TypeError(f"layers: {shown(layers)}; expected a list of sizes or of layers")
        if len(layers) < 2:
            raise ValueError(f"layers: {shown(layers)}; expected at least an input and an output")
        self.seed = check_int("seed", seed, 0, 2**63 - 1)
        name = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", None) or str(dtype)
        self.dtype = np.dtype(check_choice("dtype", name, DTYPES))
        self.to(device)
        check_choice("activation", activation, ACTIVATIONS)
        if init is not None:
            initializer("init", init)
        stack: list[Layer]
        if isinstance(layers[0], (Input, Dense, Dropout)):
            stack = list(layers)  # type: ignore[arg-type]
        else:
            stack = from_sizes(list(layers), activation, init)
        check_stack(stack)
        self._stack = stack
        self.dense = tuple(layer for layer in stack if isinstance(layer, Dense))
        assert isinstance(stack[0], Input)
        self.sizes = (stack[0].size, *(layer.units for layer in self.dense))
        self._check_masks()
        F = self.dtype.type
        self.architecture = engine.Architecture(
            sizes=self.sizes,
            activations=tuple(layer.activation for layer in self.dense),
            slopes=tuple(layer.constant for layer in self.dense),
            dropout=self._dropout(),
            F=F,
            seed=self.seed,
            masks=tuple(None if layer.mask is None else np.asarray(layer.mask) for layer in self.dense),
        )
        self.epochs = 0  # completed epochs of training: shuffling goes on from there
        self.loss_name = "cross_entropy" if self.sizes[-1] > 1 else "mse"
        self.layers = [LayerView(layer, None, None) for layer in stack[1:]]  # type: ignore[arg-type]
        self.keep_in(engine.aligned(self._count(), F))
        dense = [view for view in self.layers if isinstance(view.layer, Dense)]
        for number, (layer, view) in enumerate(zip(self.dense, dense, strict=True)):
            fan_in = view.weight.shape[0]
            view.weight[...] = layer.first_weights(fan_in, self.seed, number)

    def _count(self) -> int:
        """How many parameters there are, which is found before memory is asked for."""
        count = _count(self.sizes)
        if count > MOST_PARAMETERS:
            raise ValueError(f"layers: {shown(self.sizes)} have {count:,} parameters; at most {MOST_PARAMETERS:,} fit")
        return count

    def keep_in(self, storage: np.ndarray) -> None:
        """Hold the parameters in `storage` (n,) from now on, made by the engine; they begin with what is there."""
        weights, biases, _ = plan.offsets(self.sizes)
        dense = [view for view in self.layers if isinstance(view.layer, Dense)]
        for view, fan_in, fan_out, w, b in zip(dense, self.sizes, self.sizes[1:], weights, biases, strict=False):
            view._weight, view._bias = storage[w:b].reshape(fan_in, fan_out), storage[b : b + fan_out]
        self.storage = storage
        self._predictors = []

    def _check_masks(self) -> None:
        shapes = iter(zip(self.sizes, self.sizes[1:], strict=False))
        for number, layer in enumerate(self._stack):
            expected = next(shapes) if isinstance(layer, Dense) else None
            if isinstance(layer, Dense) and layer.mask is not None and layer.mask.shape != expected:
                raise ValueError(f"layers[{number}]: mask: has shape {layer.mask.shape}; expected {expected}")

    def _dropout(self) -> tuple[float, ...]:
        rates = [0.0] * len(self.sizes)
        at = 0
        for layer in self._stack:
            if isinstance(layer, Dropout):
                rates[at] = float(layer.rate)
            at += isinstance(layer, Dense)
        return tuple(rates)

    # ---- parameters --------------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> np.ndarray:
        """Flat view of every weight and bias, layer by layer; writing to it changes the network.

        What is written at masked places is 0 again when the next training begins; assignment sets it to 0 at once.
        """
        return self.storage

    @parameters.setter
    def parameters(self, value: Any) -> None:
        LayerView._assign("parameters", self.storage, value)
        for view in self.layers:
            view.disconnect()

    def summary(self) -> str:
        """A table: layer, shape of its weight, activation, number of parameters."""
        rows = [("layer", "shape", "activation", "parameters"), (f"Input({self.sizes[0]})", "", "", "")]
        for view in self.layers:
            if isinstance(view.layer, Dense):
                shape, count = "x".join(map(str, view.weight.shape)), view.weight.size + view.bias.size
                rows.append((f"Dense({view.layer.units})", shape, view.activation, f"{count:,}"))
            else:
                rows.append((f"Dropout({view.layer.rate:g})", "", "", ""))
        rows.append(("total", "", "", f"{self.storage.size:,}"))
        a, b, c, d = (max(map(len, column)) for column in zip(*rows, strict=True))
        return "\n".join(f"{r[0]:<{a}}  {r[1]:<{b}}  {r[2]:<{c}}  {r[3]:>{d}}".rstrip() for r in rows)

    def __repr__(self) -> str:
        return f"Network({self._stack!r}, seed={self.seed}, dtype={self.dtype.name!r})"

    # ---- prediction --------------------------------------------------------------------------------------------------

    def compiled(self) -> phases.Net:
        """The network for the caller's own compiled code (fastnn.jit): a NamedTuple of arrays that share its memory.

        Each call returns scratch memory of its own: take one for each thread.
        """
        with compiler.preparing():
            return engine.build(self.architecture, self.storage, predicts=True)

    def __call__(self, x: Any, out: np.ndarray | None = None) -> np.ndarray:
        """Outputs of the last layer (logits), shape (n, fan_out), for x of shape (n, fan_in); into `out` if given.

        Many rows are shared by several threads; the bits are the same. Raises TypeError or ValueError for another
        shape or dtype, NaN or Inf: then `out` may hold the outputs of some rows.
        """
        dtype = self.dtype
        predictors, predictor = self._borrow()
        try:
            # What needs no conversion is looked at by the compiled code itself: for one row the checks below would
            # take longer than the prediction.
            if type(x) is np.ndarray and x.dtype == dtype and x.flags.carray and x.ndim == 2:
                result = np.empty((x.shape[0], self.sizes[-1]), dtype) if out is None else out
                plain = type(result) is np.ndarray and result.dtype == dtype and result.flags.carray
                if plain and result.ndim == 2 and predictor.all_fine(x, result):
                    return result
            inputs = samples.inputs("x", x, self.sizes[0], self.architecture.F)
            result = self._output(out, (inputs.shape[0], self.sizes[-1]))
            predictor.rows(inputs, result)
            return result
        finally:
            predictors.append(predictor)

    def _borrow(self) -> tuple[list[Any], Any]:
        """A predictor that nobody else uses, and the list to append it to afterwards: as many exist as are in use."""
        predictors = self._predictors  # another list once the parameters have moved
        try:
            return predictors, predictors.pop()
        except IndexError:
            return predictors, self.engine.Predictor(self.architecture, self.storage)

    def _output(self, out: Any, shape: tuple[int, int]) -> np.ndarray:
        if out is None:
            return np.empty(shape, self.dtype)
        if not isinstance(out, np.ndarray):
            raise TypeError(f"out: a {type(out).__name__}; expected an array of shape {shape}")
        if (out.shape, out.dtype) != (shape, self.dtype) or not out.flags.carray:
            expected = f"a writable C-contiguous {self.dtype} array of shape {shape}"
            raise ValueError(f"out: {out.dtype} {out.shape}; expected {expected}")
        return out

    # ---- loss and gradient -------------------------------------------------------------------------------------------

    def check_data(self, names: tuple[str, str], x: Any, y: Any, loss: str) -> tuple[np.ndarray, np.ndarray, bool]:
        """x and y as the engine takes them, and whether y names classes; errors use `names`."""
        F = self.architecture.F
        inputs = samples.inputs(names[0], x, self.sizes[0], F)
        wanted, classes = samples.targets(names[1], y, len(inputs), self.sizes[-1], loss, F)
        return inputs, wanted, classes

    def evaluate(self, x: Any, y: Any, loss: str | None = None) -> dict[str, float]:
        """{"loss": mean loss, "accuracy": share predicted right} on x (n, fan_in) and y; no accuracy for a regression.

        `loss` is the one last trained with unless given.
        """
        name = check_choice("loss", self.loss_name if loss is None else loss, LOSSES)
        inputs, wanted, classes = self.check_data(("x", "y"), x, y, name)
        predictors, predictor = self._borrow()
        try:
            mean, hits = predictor.score(inputs, wanted, name)
        finally:
            predictors.append(predictor)
        return {"loss": mean, "accuracy": hits / len(inputs)} if classes else {"loss": mean}

    def loss(self, x: Any, y: Any, loss: str = "cross_entropy") -> float:
        """Mean loss of a batch, without dropout."""
        return self.evaluate(x, y, loss)["loss"]

    def gradient(self, x: Any, y: Any, loss: str = "cross_entropy") -> np.ndarray:
        """Gradient of `loss(x, y)`, flat, in the layout of `parameters`."""
        inputs, wanted, _ = self.check_data(("x", "y"), x, y, check_choice("loss", loss, LOSSES))
        result = engine.aligned(self.storage.size, self.architecture.F)
        still = self.architecture._replace(dropout=(0.0,) * len(self.sizes))
        options = {"loss": loss, "optimizer": None, "batch": len(inputs), "shuffle": False, "threads": 1}
        runner = self.engine.Runner(still, self.storage, (inputs, wanted), target=result, **options)
        runner.gradient()
        runner.close()
        return result

    # ---- training ----------------------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any,
        *,
        loss: str = "cross_entropy",
        optimizer: Optimizer | None = None,
        epochs: int = 1,
        batch_size: int = 32,
        shuffle: bool = True,
        validation: tuple[Any, Any] | None = None,
        threads: int | None = None,
    ) -> Any:
        """Train on x (n, fan_in) and y for `epochs` epochs from where the network is, and return the History.

        Arguments as for fastnn.Trainer. Raises TypeError and ValueError, naming the argument, with the network
        unchanged; DivergenceError, with the last finite parameters kept, when training reaches NaN or Inf.
        """
        from fastnn.training import Trainer

        data = SimpleNamespace(x_train=x, y_train=y)
        check_int("epochs", epochs)
        given: Any = validation  # True has a meaning for a Trainer, and only there
        if given is True:
            raise TypeError("validation: True; expected a pair (x, y), or None")
        trainer = Trainer(
            self, data, loss=loss, optimizer=optimizer, batch_size=batch_size, shuffle=shuffle, validation=validation,
            threads=threads, observe=False,
        )  # fmt: skip
        for snapshot in trainer.run(epochs):
            if snapshot.state == "diverged":
                raise trainer.divergence()
        return trainer.history

    # ---- files -------------------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """All but the parameters, as plain JSON-able data."""
        layers: list[dict[str, Any]] = []
        for layer in self._stack:
            if isinstance(layer, Input):
                layers.append({"kind": "input", "size": int(layer.size)})
            elif isinstance(layer, Dropout):
                layers.append({"kind": "dropout", "rate": float(layer.rate)})
            else:
                entry = {"kind": "dense", "units": int(layer.units)}
                masked = {} if layer.mask is None else {"mask": layer.mask.text()}
                layers.append({**entry, "activation": layer.activation, "slope": layer.constant, **masked})
        rest = {"dtype": self.dtype.name, "seed": self.seed, "epochs": self.epochs, "loss": self.loss_name}
        return {"layers": layers, **rest}

    @classmethod
    def from_config(cls, config: dict[str, Any], parameters: np.ndarray) -> Network:
        """The network that `config()` and `parameters` describe; raises ValueError, TypeError or KeyError otherwise."""
        stack: list[Layer] = []
        for entry in config["layers"]:
            kind = check_choice("kind", entry["kind"], ("input", "dense", "dropout"))
            if kind == "input":
                stack.append(Input(entry["size"]))
            elif kind == "dropout":
                stack.append(Dropout(entry["rate"]))
            else:
                # Zeros: nothing is drawn that the parameters replace at once.
                slope = entry["slope"] if entry["activation"] == "leaky_relu" else None
                mask = None
                if "mask" in entry:
                    before = next(layer for layer in reversed(stack) if not isinstance(layer, Dropout))
                    fan_in = before.size if isinstance(before, Input) else before.units
                    mask = Mask.from_text(entry["mask"], (fan_in, check_int("units", entry["units"])))
                stack.append(Dense(entry["units"], entry["activation"], INITIALIZERS["zeros"], slope, mask))
        sizes = [
            layer.size if isinstance(layer, Input) else layer.units for layer in stack if not isinstance(layer, Dropout)
        ]
        count = _count(sizes)
        if count != parameters.size:
            raise ValueError(
                f"layers: {shown(sizes)} have {count} parameters; expected {parameters.size}, as in the file"
            )
        network = cls(stack, seed=config["seed"], dtype=config["dtype"])
        network.epochs = check_int("epochs", config["epochs"], 0)
        network.loss_name = check_choice("loss", config["loss"], LOSSES)
        network.parameters = parameters
        return network

    def __reduce__(self) -> Any:
        return Network.from_config, (self.config(), self.storage.copy())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a safetensors file, in one step; raises ValueError if a parameter is not finite."""
        checkpoint.write(path, self.config(), self.storage)


def load(path: str | os.PathLike[str]) -> Network:
    """Read a network that `Network.save` wrote; raises DataError, naming the file, for anything else."""
    config, parameters = checkpoint.read(path)
    try:
        return Network.from_config(config, parameters)
    except (KeyError, TypeError, ValueError) as reason:
        raise DataError(f"{os.fspath(path)}: does not describe a network ({reason})") from reason
