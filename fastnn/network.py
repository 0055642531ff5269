"""Network: layers, parameters, prediction, loss, gradient and training of a feed-forward network."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn import checkpoint, samples
from fastnn.activations import ACTIVATIONS
from fastnn.cpu import engine, plan
from fastnn.description import built, describe
from fastnn.devices import OnDevice
from fastnn.errors import DataError, check_choice, check_int, shown
from fastnn.initializers import Initializer, initializer
from fastnn.layers import (
    GRU,
    LSTM,
    MOST_STEPS,
    Dense,
    Dropout,
    Input,
    Layer,
    Weighted,
    check_stack,
    dropout_rates,
    from_sizes,
    shape_of,
)
from fastnn.losses import LOSSES
from fastnn.optimizers import Optimizer
from fastnn.runner import Architecture
from fastnn.snapshots import History
from fastnn.views import LayerView, summary

MOST_PARAMETERS = 2**33  # 32 GiB of float32
DTYPES: dict[str, type] = {"float32": np.float32, "float64": np.float64}


class Network(OnDevice):
    """A network of layers, one after the other.

    `layers`: sizes [inputs, hidden ..., outputs], where hidden layers take `activation` and the last is linear, or a
    list that begins with Input and goes on with Dense, Dropout, Recurrent, GRU and LSTM. With a recurrent layer, x is
    (n, T, features) wherever one is asked for; layers before it, and after one with return_sequences, take each time
    step, and if the last one does, outputs are (n, T, outputs) and targets have the T, too. `init`: a name of
    fastnn.initializers.INITIALIZERS or an initializer such as Normal(0.01); by default "he" before relu and leaky_relu,
    else "xavier". `seed` (0 to 2**63 - 1) fixes initialization, shuffling and dropout: same seed, same bits, on the
    same machine. `dtype`: "float32" or "float64". `device`: "cpu", or "cuda" for an NVIDIA GPU; `precision` as in
    `to`. It and its methods raise TypeError and ValueError, naming the argument, and DeviceError for a device that
    cannot be used here. The network's own `layers` are a tuple, a LayerView for each layer after the input.
    """

    def __init__(
        self,
        layers: Sequence[int | Layer],
        *,
        activation: str = "relu",
        init: str | Initializer | None = None,
        seed: int = 0,
        dtype: Any = "float32",
        device: str = "cpu",
        precision: str = "float",
    ) -> None:
        if isinstance(layers, (str, bytes)) or not isinstance(layers, Sequence):
            raise TypeError(f"layers: {shown(layers)}; expected a list of sizes or of layers")
        if len(layers) < 2:
            raise ValueError(f"layers: {shown(layers)}; expected at least an input and an output")
        self.seed = check_int("seed", seed, 0, 2**63 - 1)
        name = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", None) or str(dtype)
        self.dtype = np.dtype(check_choice("dtype", name, DTYPES))
        check_choice("activation", activation, ACTIVATIONS)
        if init is not None:
            initializer("init", init)
        stack: list[Layer]
        if isinstance(layers[0], Layer):
            stack = list(layers)  # type: ignore[arg-type]
        else:
            stack = from_sizes(list(layers), activation, init)
        check_stack(stack)
        self._stack = stack
        self.dense: tuple[Weighted, ...] = tuple(layer for layer in stack if isinstance(layer, Weighted))
        self.sizes, loops = shape_of(stack)
        F = self.dtype.type
        self.architecture = Architecture(
            sizes=self.sizes,
            activations=tuple("identity" if isinstance(one, (GRU, LSTM)) else one.activation for one in self.dense),
            slopes=tuple(layer.constant for layer in self.dense),
            dropout=dropout_rates(stack),
            F=F,
            seed=self.seed,
            masks=tuple(np.asarray(one.mask) if isinstance(one, Dense) and one.mask else None for one in self.dense),
            loops=loops,
        )
        self.to(device, precision)
        self.epochs = 0  # completed epochs of training: shuffling goes on from there
        self.loss_name = "cross_entropy" if self.sizes[-1] > 1 else "mse"
        self.layers = tuple(LayerView(layer) for layer in stack if isinstance(layer, Weighted | Dropout))
        self.keep_in(engine.aligned(self._count(), F))
        for number, (layer, fan_in, view) in enumerate(zip(self.dense, self.sizes, self._views(), strict=False)):
            for name, start in layer.start(fan_in, self.seed, number).items():
                view.parts[name][...] = start

    def _views(self) -> list[LayerView]:
        """The views of the layers that have parameters."""
        return [view for view in self.layers if not isinstance(view.layer, Dropout)]

    def _count(self) -> int:
        """How many parameters there are, which is found before memory is asked for."""
        count = plan.count(self.sizes, self.architecture.loops)
        if count > MOST_PARAMETERS:
            raise ValueError(f"layers: {shown(self.sizes)} have {count:,} parameters; at most {MOST_PARAMETERS:,} fit")
        return count

    def keep_in(self, storage: np.ndarray) -> None:
        """Hold the parameters in `storage` (n,) from now on, made by the engine; they begin with what is there."""
        at, loops = 0, self.architecture.loops or (None,) * len(self.dense)
        for view, fan_in, units, loop in zip(self._views(), self.sizes, self.sizes[1:], loops, strict=False):
            for name, shape in plan.parts(fan_in, units, loop).items():
                size = math.prod(shape)
                view.parts[name] = storage[at : at + size].reshape(shape)
                at += size
        self.storage = storage
        self._predictors = []

    # ---- parameters --------------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> np.ndarray:
        """Flat view of every weight and bias, layer by layer; writing to it changes the network.

        What is written at masked places is 0 again when the next training begins; assignment sets it to 0 at once.
        """
        return self.storage

    @parameters.setter
    def parameters(self, value: Any) -> None:
        LayerView.assign("parameters", self.storage, value)
        for view in self.layers:
            view.disconnect()

    def summary(self) -> str:
        """A table: layer, shape of its weights, activation, number of parameters."""
        return summary(self.sizes[0], self.layers)

    def __repr__(self) -> str:
        return f"Network({self._stack!r}, seed={self.seed}, dtype={self.dtype.name!r})"

    # ---- prediction --------------------------------------------------------------------------------------------------

    def compiled(self, steps: int | None = None, threads: int = 1) -> Any:
        """The network for the caller's own compiled code (fastnn.jit): a NamedTuple of arrays that share its memory.

        Each call returns scratch memory of its own: take one for each thread. On the GPU, for kernels with
        fastnn.cuda.predict: a copy as of now, for `threads` threads of a launch. With recurrent layers it is made for
        `steps` time steps (those of Input unless given), and takes rows of steps * features numbers. Raises ValueError
        where it does not know how many, or for more threads than one on the CPU.
        """
        check_int("threads", threads, 1, 2**31)
        if self.architecture.loops:
            if steps is None:
                steps = self._stack[0].steps  # type: ignore[attr-defined]
            if steps is None:
                raise ValueError("steps: None; expected the number of time steps, here or as Input(size, steps)")
            check_int("steps", steps, 1, MOST_STEPS)
        elif steps is not None:
            raise ValueError(f"steps: {steps!r} for a network without recurrent layers; expected none")
        return self.engine.compiled(self.architecture, self.storage, steps or 1, threads)

    def __call__(self, x: Any, out: np.ndarray | None = None) -> np.ndarray:
        """Outputs of the last layer (logits), shape (n, fan_out), for x of shape (n, fan_in); into `out` if given.

        With recurrent layers x is (n, T, fan_in), and where all of them return sequences outputs are (n, T, fan_out).
        Many rows are shared by several threads; the bits are the same. Raises TypeError or ValueError for another
        shape or dtype, NaN or Inf: then `out` may hold the outputs of some rows.
        """
        if self.architecture.loops:
            return self._through_time(x, out)
        predictors, predictor = self._borrow()
        try:
            # What needs no conversion is looked at by the compiled code itself: for one row the checks below would
            # take longer than the prediction.
            if self._plain(x):
                if out is None:
                    result = np.empty((x.shape[0], self.sizes[-1]), self.dtype)
                    if predictor.all_fine(x, result):
                        return result
                elif self._plain(out) and predictor.all_fine(x, out):
                    return out
            inputs = samples.inputs("x", x, self.sizes[0], self.architecture.F)
            result = self._output(out, (inputs.shape[0], self.sizes[-1]))
            predictor.rows(inputs, result)
            return result
        finally:
            predictors.append(predictor)

    def _plain(self, x: Any) -> bool:
        """Whether compiled code takes x as it is."""
        return type(x) is np.ndarray and x.dtype is self.dtype and x.flags.carray and x.ndim == 2

    def _through_time(self, x: Any, out: np.ndarray | None) -> np.ndarray:
        """`__call__` for sequences."""
        inputs = self._inputs("x", x)
        n, steps = inputs.shape[:2]
        result = self._output(out, (n, steps, self.sizes[-1]) if self._every_step else (n, self.sizes[-1]))
        predictors, predictor = self._borrow(steps)
        try:
            predictor.rows(inputs, result)
            return result
        finally:
            predictors.append(predictor)

    def _borrow(self, steps: int = 1) -> tuple[list[Any], Any]:
        """A predictor that nobody else uses, and the list to append it to afterwards: as many exist as are in use."""
        predictors = self._predictors  # another list once the parameters have moved
        try:
            found = predictors.pop()
            if found.steps == steps:
                return predictors, found
        except IndexError:
            pass
        return predictors, self.engine.Predictor(self.architecture, self.storage, steps)

    def _output(self, out: Any, shape: tuple[int, ...]) -> np.ndarray:
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
        inputs = self._inputs(names[0], x)
        rows, outputs = len(inputs), self.sizes[-1]
        if self._every_step:
            return inputs, *samples.step_targets(names[1], y, rows, inputs.shape[1], outputs, loss, F)
        return inputs, *samples.targets(names[1], y, rows, outputs, loss, F)

    def _inputs(self, name: str, x: Any) -> np.ndarray:
        """x as the engine takes it; errors use `name`."""
        first, F = self._stack[0], self.architecture.F
        assert isinstance(first, Input)
        if self.architecture.loops:
            return samples.sequences(name, x, first.size, first.steps, F)
        return samples.inputs(name, x, first.size, F)

    @property
    def _every_step(self) -> bool:
        """Whether each time step has outputs of its own."""
        loops = [loop for loop in self.architecture.loops if loop is not None]
        return bool(loops) and all(loop.sequences for loop in loops)

    def targets_in(self, inputs: np.ndarray) -> int:
        """How many targets checked inputs have: one a row, or one at each of its time steps."""
        return math.prod(inputs.shape[:-1]) if self._every_step else len(inputs)

    def evaluate(self, x: Any, y: Any, loss: str | None = None) -> dict[str, float]:
        """{"loss": mean loss, "accuracy": share predicted right} on x (n, fan_in) and y; no accuracy for a regression.

        `loss` is the one last trained with unless given.
        """
        name = check_choice("loss", self.loss_name if loss is None else loss, LOSSES)
        inputs, wanted, classes = self.check_data(("x", "y"), x, y, name)
        predictors, predictor = self._borrow(inputs.shape[1] if self.architecture.loops else 1)
        try:
            mean, hits = predictor.score(inputs, wanted, name)
        finally:
            predictors.append(predictor)
        return {"loss": mean, "accuracy": hits / self.targets_in(inputs)} if classes else {"loss": mean}

    def loss(self, x: Any, y: Any, loss: str = "cross_entropy") -> float:
        """Mean loss of a batch, without dropout."""
        return self.evaluate(x, y, loss)["loss"]

    def gradient(self, x: Any, y: Any, loss: str = "cross_entropy") -> np.ndarray:
        """Gradient of `loss(x, y)`, flat, in the layout of `parameters`."""
        result, runner = self._gradient(x, y, loss)
        runner.close()
        return result

    def step_gradients(self, x: Any, y: Any, loss: str = "cross_entropy") -> list[np.ndarray]:
        """Derivatives of `loss(x, y)` by the sums of each recurrent layer at each step: (n, T, units times gates) each.

        What backpropagation through time carries from the last step to the first: where their norms fall, the gradient
        vanishes. Sums of a GRU are those of its inputs.
        """
        _, runner = self._gradient(x, y, loss)
        runner.close()
        found: list[np.ndarray] = runner.deltas(len(x))
        return found

    def _gradient(self, x: Any, y: Any, loss: str) -> tuple[np.ndarray, Any]:
        """The gradient, and the runner that computed it."""
        inputs, wanted, _ = self.check_data(("x", "y"), x, y, check_choice("loss", loss, LOSSES))
        result = engine.aligned(self.storage.size, self.architecture.F)
        still = self.architecture._replace(dropout=(0.0,) * len(self.sizes))
        options = {"loss": loss, "optimizer": None, "batch": len(inputs), "shuffle": False, "threads": 1}
        runner = self.engine.Runner(still, self.storage, (inputs, wanted), target=result, **options)
        runner.gradient()
        return result, runner

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
        comm: Any = None,
    ) -> History:
        """Train on x (n, fan_in) and y for `epochs` more epochs from where the network is; returns their History.

        loss: "cross_entropy" for y (n,) of labels from 0 or (n, fan_out) one-hot; "binary_cross_entropy", on logits, or
            "mse" for y (n, fan_out), or (n,) where fan_out is 1; a name of fastnn.losses.LOSSES, means over the batch
        optimizer: fastnn.SGD(0.1) unless given
        batch_size: rows a step; the last of an epoch has those that are left
        shuffle: whether each epoch takes the rows in an order of its own, which the network's seed fixes
        validation: a pair (x, y) whose loss and accuracy are taken at the end of each epoch, or None
        threads: how many train; None chooses by what steps take; results are the same bits
        comm: an mpi4py communicator whose ranks train together, as fastnn.Trainer says

        Raises TypeError and ValueError, naming the argument, with the network unchanged; DivergenceError, with the last
        finite parameters kept, when training reaches NaN or Inf.
        """
        from fastnn.parallel import together
        from fastnn.training import Trainer

        data = SimpleNamespace(x_train=x, y_train=y)
        with together(comm):
            check_int("epochs", epochs)
            given: Any = validation  # True has a meaning for a Trainer, and only there
            if given is True:
                raise TypeError("validation: True; expected a pair (x, y), or None")
        trainer = Trainer(
            self, data, loss=loss, optimizer=optimizer, batch_size=batch_size, shuffle=shuffle, validation=validation,
            threads=threads, observe=False, comm=comm,
        )  # fmt: skip
        for snapshot in trainer.run(epochs):
            if snapshot.state == "diverged":
                raise trainer.divergence()
        return trainer.history

    # ---- files -------------------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """All but the parameters, as plain JSON-able data."""
        rest = {"dtype": self.dtype.name, "seed": self.seed, "epochs": self.epochs, "loss": self.loss_name}
        return {"layers": [describe(layer) for layer in self._stack], **rest}

    @classmethod
    def from_config(cls, config: dict[str, Any], parameters: np.ndarray) -> Network:
        """The network that `config()` and `parameters` describe; raises ValueError, TypeError or KeyError otherwise."""
        stack = built(config["layers"])
        check_stack(stack)
        sizes, loops = shape_of(stack)
        count = plan.count(sizes, loops)
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
        """Write the network to a safetensors file, in one step; ValueError for NaN or Inf, DataError if it cannot."""
        checkpoint.write(path, self.config(), self.storage)


def load(path: str | os.PathLike[str]) -> Network:
    """Read a network that `Network.save` wrote; raises DataError, naming the file, for anything else."""
    config, parameters = checkpoint.read(path)
    try:
        return Network.from_config(config, parameters)
    except (KeyError, TypeError, ValueError) as reason:
        raise DataError(f"{os.fspath(path)}: does not describe a network ({reason})") from reason
