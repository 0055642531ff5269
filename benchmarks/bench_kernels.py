"""Matrix products and elementwise functions alone, as the engine calls them."""

from __future__ import annotations

import ctypes

import numpy as np

from benchmarks.table import PRODUCTS
from fastnn.activations import ACTIVATIONS
from fastnn.cpu.blocks import activation
from fastnn.cpu.gemm import gemm_address, panel_columns

DTYPES = {"float32": (np.float32, ctypes.c_float), "float64": (np.float64, ctypes.c_double)}


class Products:
    """C = A B on one core; 2 m k n floating-point operations."""

    params = [list(PRODUCTS), list(DTYPES)]
    param_names = ["m x k x n", "dtype"]

    def setup(self, product: str, dtype: str) -> None:
        F, number = DTYPES[dtype]
        self.m, self.k, self.n = PRODUCTS[product]
        rng = np.random.default_rng(0)
        shapes = ((self.m, self.k), (self.k, self.n), (self.m, self.n))
        self.arrays = [rng.standard_normal(shape).astype(F) for shape in shapes]
        a, b, c = (array.ctypes.data for array in self.arrays)
        signature = ctypes.CFUNCTYPE(None, *([ctypes.c_ssize_t] * 13), number, number)
        self.product = signature(gemm_address(F))
        self.arguments = (
            a,
            self.k,
            1,
            b,
            self.n,
            panel_columns(F),
            c,
            self.n,
            c,
            self.n,
            self.m,
            self.n,
            self.k,
            1.0,
            0.0,
        )

    def time_product(self, product: str, dtype: str) -> None:
        self.product(*self.arguments)


class Elementwise:
    """An activation's two blocks over 16,384 numbers that stay in cache."""

    params = [[name for name in ACTIVATIONS if name != "identity"], list(DTYPES)]
    param_names = ["activation", "dtype"]

    def setup(self, name: str, dtype: str) -> None:
        F, number = DTYPES[dtype]
        forward, backward = activation(name, F)
        rng, count, slope = np.random.default_rng(0), 16384, ACTIVATIONS[name].slope
        self.values = rng.standard_normal(count).astype(F)
        # backward multiplies in place: where f' is 1 or less, the numbers must not get lost in denormals.
        self.outputs, self.deltas = np.full(count, 0.5, F), np.ones(count, F)
        y, half, d = (ctypes.c_void_p(each.ctypes.data) for each in (self.values, self.outputs, self.deltas))
        there = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_ssize_t, number)(forward)
        back = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ssize_t, number)(backward)
        self.forward = lambda: there(y, count, slope)
        self.backward = lambda: back(half, d, count, slope)

    def time_forward(self, name: str, dtype: str) -> None:
        self.forward()

    def time_backward(self, name: str, dtype: str) -> None:
        self.deltas.fill(1)
        self.backward()
