"""Graphs whose kernels overlap, as far as no GPU is needed: what the driver is asked for, and what is done without."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

if find_spec("numba_cuda") is None:
    pytest.skip("numba-cuda is not installed", allow_module_level=True)

from cuda.bindings import driver
from launches import Builder, noted, training

from fastnn.cuda import dependent, graphs

KERNEL = driver.CUgraphNodeType.CU_GRAPH_NODE_TYPE_KERNEL
MEMSET = driver.CUgraphNodeType.CU_GRAPH_NODE_TYPE_MEMSET
DONE, REFUSED = driver.CUresult.CUDA_SUCCESS, driver.CUresult.CUDA_ERROR_INVALID_VALUE
Edge = tuple[int, int, int, int, int]  # from, to, and its data: from_port, to_port, type


class Graph:
    """The driver's functions for one graph: `nodes` are types and (grid, block), edges are full ones."""

    def __init__(self, nodes: dict[int, tuple[Any, tuple[int, int]]], pairs: list[tuple[int, int]]) -> None:
        self.nodes, self.edges = nodes, [(a, b, 0, 0, 0) for a, b in pairs]
        self.refused = ""

    def ask(self, name: str) -> Any:
        def answer(*arguments: Any) -> tuple[Any, ...]:
            if name == self.refused:
                return REFUSED, *([None] * 4)
            return DONE, *getattr(self, name)(*arguments)

        return answer

    def cuGraphGetEdges(self, graph: str, count: int) -> tuple[Any, ...]:
        assert graph == "graph" and count in (0, len(self.edges))
        before, after = ([driver.CUgraphNode(edge[k]) for edge in self.edges[:count]] for k in (0, 1))
        return before, after, [None] * count, len(self.edges)  # the bindings' edge data points to freed memory

    def cuGraphNodeGetType(self, node: Any) -> tuple[Any, ...]:
        return (self.nodes[int(node)][0],)

    def cuGraphKernelNodeGetParams(self, node: Any) -> tuple[Any, ...]:
        kind, (grid, block) = self.nodes[int(node)]
        assert kind == KERNEL
        found = driver.CUDA_KERNEL_NODE_PARAMS()
        found.gridDimX, found.gridDimY, found.gridDimZ = grid, 1, 1
        found.blockDimX, found.blockDimY, found.blockDimZ = block, 1, 1
        return (found,)

    def _given(self, graph: str, before: Any, after: Any, data: Any, count: int) -> list[Edge]:
        assert graph == "graph" and count == len(before) == len(after) == len(data)
        return [
            (int(a), int(b), int(e.from_port), int(e.to_port), int(e.type))
            for a, b, e in zip(before, after, data, strict=True)
        ]

    def cuGraphRemoveDependencies(self, *arguments: Any) -> tuple[()]:
        for edge in self._given(*arguments):
            self.edges.remove(edge)
        return ()

    def cuGraphAddDependencies(self, *arguments: Any) -> tuple[()]:
        self.edges += self._given(*arguments)
        return ()


EDGES = "cuGraphGetEdges", "cuGraphRemoveDependencies", "cuGraphAddDependencies"
OTHERS = "cuGraphNodeGetType", "cuGraphKernelNodeGetParams"


def bind(patch: pytest.MonkeyPatch, graph: Graph, *, second: bool = False) -> None:
    """The bindings answer for `graph`, as those of 13.x or those of 12.x, which have edge data in `second` versions."""
    for name in OTHERS:
        patch.setattr(driver, name, graph.ask(name))
    for name in EDGES:
        if second:
            patch.setattr(driver, name, None)
        patch.setattr(driver, f"{name}_v2" if second else name, graph.ask(name), raising=False)


def chain() -> Graph:
    """A memset, two kernels, one of one thread, and two kernels."""
    nodes = {1: (MEMSET, (0, 0)), 2: (KERNEL, (1, 128)), 3: (KERNEL, (9, 1)), 4: (KERNEL, (1, 1))}
    return Graph(nodes | {5: (KERNEL, (8, 64)), 6: (KERNEL, (2, 2))}, [(1, 2), (2, 3), (3, 4), (4, 5), (5, 6)])


@pytest.mark.parametrize("second", [False, True])
def test_edges_between_kernels_become_programmatic(second: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = chain()
    bind(monkeypatch, graph, second=second)
    dependent.overlap("graph")
    # CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC and CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC are 1 in cuda.h.
    overlapped = [(2, 3, 1, 0, 1), (5, 6, 1, 0, 1)]
    assert sorted(graph.edges) == sorted([(1, 2, 0, 0, 0), (3, 4, 0, 0, 0), (4, 5, 0, 0, 0), *overlapped])


def test_a_graph_without_such_edges_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Graph({1: (KERNEL, (4, 128)), 2: (KERNEL, (1, 1))}, [(1, 2)])
    bind(monkeypatch, graph)
    graph.refused = "cuGraphRemoveDependencies"
    dependent.overlap("graph")
    assert graph.edges == [(1, 2, 0, 0, 0)]


@pytest.mark.parametrize("name", EDGES + OTHERS)
def test_what_the_driver_refuses_is_raised(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = chain()
    bind(monkeypatch, graph)
    graph.refused = name
    with pytest.raises(RuntimeError, match=f"{name}: .*CUDA_ERROR_INVALID_VALUE"):
        dependent.overlap("graph")


@pytest.mark.parametrize(
    ("capability", "overlapped", "expected"),
    [((8, 9), None, False), ((9, 0), None, True), ((10, 0), None, True), ((9, 0), False, False), ((8, 0), True, False)],
)
def test_where_kernels_overlap(
    capability: tuple[int, int], overlapped: bool | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = SimpleNamespace(compute_capability=capability)
    monkeypatch.setattr(dependent, "cuda", SimpleNamespace(get_current_device=lambda: gpu))
    monkeypatch.setattr(dependent, "OVERLAPPED", overlapped)
    assert dependent.applies() == expected


def test_graphs_are_recorded_without_it_where_it_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []
    monkeypatch.setattr(Builder, "close", lambda self: done.append("closed"), raising=False)
    monkeypatch.setattr(dependent, "overlap", done.append)
    caplog.set_level(logging.DEBUG, graphs.__name__)
    with noted():
        recorder = training(np.float32, [4, 3], 2)
        recorder.prepare()
        monkeypatch.setattr(dependent, "applies", lambda: True)
        record = recorder._graphs._record
        record(graphs.STEPS, 1)  # by a builder that has no graph_definition, as before cuda-core 1.1
        record(graphs.STEPS, 4)
        assert done == ["closed"] and caplog.text.count("kernels of graphs wait for each other") == 1
        monkeypatch.setattr(dependent, "OVERLAPPED", True)
        recorder._graphs._overlapping = True
        with pytest.raises(AttributeError):
            record(graphs.STEPS, 1)
        monkeypatch.setattr(Builder, "graph_definition", SimpleNamespace(handle="graph"), raising=False)
        record(graphs.STEPS, 1)
    assert done == ["closed", "closed", "graph"]
