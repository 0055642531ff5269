"""The devices that networks are computed on, by name. Each is a package with the same names; CUDA's is imported when
it is first asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from fastnn.errors import DeviceError, check_choice

if TYPE_CHECKING:
    from typing_extensions import Self

DEVICES = ("cpu", "cuda")
EXTRAS = "pip install 'fastnn[cuda13]' (or cuda12, for a driver of CUDA 12)"


class Device:
    """Where a network is computed: `Runner`, `Observer` and `Predictor` are its engine's classes, `compiled` gives what
    a caller's own compiled code predicts with.

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
        self.compiled: Any = self._class("engine", "compiled")

    def _class(self, module: str, name: str) -> Any:
        return getattr(import_module(f"fastnn.{self.name}.{module}"), name)

    def __repr__(self) -> str:
        return f"Device({self.name!r})"


def check_package() -> None:
    """Raises DeviceError where the package is missing that CUDA needs."""
    if find_spec("numba_cuda") is None:
        raise DeviceError(f"device: 'cuda' needs the package numba-cuda, which is not installed: {EXTRAS}")


def check_cuda() -> None:
    """Raises DeviceError that names what CUDA lacks here: the package, the driver or a GPU."""
    check_package()
    from fastnn.cuda.target import missing

    reason = missing()
    if reason is not None:
        raise DeviceError(f"device: 'cuda' cannot be used: {reason} (`fastnn doctor` shows what was found)")


class OnDevice:
    """What a network knows of the device that computes it. Its parameters are in the host's memory either way."""

    engine: Device  # the classes that compute it
    _predictors: list[Any]  # of that engine, to be used again

    @property
    def device(self) -> str:
        return self.engine.name

    def to(self, device: str) -> Self:
        """Compute on `device` ("cpu" or "cuda") from now on; returns the network.

        Trainers that exist stay where they are. Raises as Device does, with everything left as it was.
        """
        self.engine, self._predictors = Device(device), []
        return self
