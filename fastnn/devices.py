"""The devices that networks are computed on, by name. Each is a package with the same names; CUDA's is imported when
it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.cuda import check_package
from fastnn.errors import DeviceError, check_choice, shown
from fastnn.runner import Architecture

if TYPE_CHECKING:
    from typing_extensions import Self

DEVICES = ("cpu", "cuda")
PRECISIONS = ("float", "tf32")


class Device:
    """Where a network is computed: `Runner`, `Observer` and `Predictor` are its engine's classes, `Rank` is a Runner
    that trains with others; `compiled` gives what a caller's own compiled code predicts with.

    Raises TypeError or ValueError for an unknown name, DeviceError where the device cannot be used: package, driver or
    GPU is missing.
    """

    def __init__(self, name: Any) -> None:
        self.name = check_choice("device", name, DEVICES)
        if self.name == "cuda":
            check_cuda()
        self.Runner: Any = self._class("engine", "Runner")
        self.Observer: Any = self._class("observer", "Observer")
        self.Predictor: Any = self._class("predictor", "Predictor")
        self.Rank: Any = self._class("parallel", "Runner")
        self.compiled: Any = self._class("engine", "compiled")

    def _class(self, module: str, name: str) -> Any:
        return getattr(import_module(f"fastnn.{self.name}.{module}"), name)

    def __repr__(self) -> str:
        return f"Device({self.name!r})"


def check_cuda() -> None:
    """Raises DeviceError that names what CUDA lacks here: the package, the driver or a GPU."""
    check_package()
    from fastnn.cuda.target import missing

    reason = missing()
    if reason is not None:
        raise DeviceError(f"device: 'cuda' cannot be used: {reason} (`fastnn doctor` shows what was found)")


def check_tensor_cores() -> None:
    """Raises DeviceError for a GPU without TF32."""
    from fastnn.cuda import target

    if not target.tensor_cores():
        raise DeviceError(
            "precision: 'tf32' needs a GPU of compute capability 8.0 or more; expected 'float' on this one"
        )


class OnDevice:
    """What a network knows of the device that computes it. Its parameters are in the host's memory either way."""

    engine: Device  # the classes that compute it
    architecture: Architecture
    _predictors: list[Any]  # of that engine, to be used again

    @property
    def device(self) -> str:
        return self.engine.name

    @property
    def precision(self) -> str:
        return PRECISIONS[self.architecture.tf32]

    def start_training(self, comm: Any = None) -> Callable[..., Any]:
        """The class of what trains the network, alone or as a rank of `comm`: then what has predicted is let go of."""
        if comm is None:
            runner: Callable[..., Any] = self.engine.Runner
            return runner
        self._predictors = []  # they stay on the GPU that was the current one
        return partial(self.engine.Rank, comm)

    def to(self, device: str, precision: str = "float") -> Self:
        """Compute on `device` ("cpu" or "cuda") from now on; returns the network.

        `precision`: "float", the network's own type in everything, or "tf32" on a GPU, for float32: its tensor cores
        take the products of dense layers, where one has more than 128 units, and all gradients of weights, and see 10
        of the 23 bits of each factor's mantissa. A factor is off by 2^-11 at most, and a gradient by about 5e-4 of its
        largest number, instead of 1e-7. Recurrent steps, and rows that go through all of a narrower network in one
        launch, stay in float32: they wait for memory and for each other, and not for products.

        With "float", too, the tensor cores of an A100 or H100 take products of float32, three for each: of gradients
        of weights, and of dense layers that have a launch each. That is no less exact than single precision (see
        `fastnn.cuda.tensor_lanes`); factors of 2^114 or more, which only diverged training has, are not a number there.

        Trainers that exist stay where they are. Raises as Device does, and ValueError for a precision that there is
        not, with everything left as it was.
        """
        tf32 = check_choice("precision", precision, PRECISIONS) == "tf32"
        if tf32 and (device != "cuda" or self.architecture.F is not np.float32):
            found = f"{np.dtype(self.architecture.F)} on {shown(device)}"
            raise ValueError(f"precision: 'tf32' for {found}; expected a float32 network on 'cuda'")
        engine = Device(device)
        if tf32:
            check_tensor_cores()
        self.engine, self._predictors = engine, []
        self.architecture = self.architecture._replace(tf32=tf32)
        return self
