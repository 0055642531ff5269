"""Kernels whose blocks start while the kernel before still runs: programmatic dependent launch.

The launches of a step wait for each other. In a CUDA graph on an H100 each costs about 1.9 us of latency: a step of
784-512-512-10 at batch 128 took 33.2 us, and its five kernels alone 23.7. From compute capability 9.0 on the blocks of
a kernel may start as soon as those of the one before let them, and wait for its end on their own: they have begun, and
have read what it does not write, when it comes. An H100 then took 30.0 us, not 31.5, for the same bits; 17.1, not 18.1,
for 64-64-64-64-10, and at batch 64 11.5, not 13.4, for 784-128-10, whose blocks leave room for the next one's.

Graphs alone do so, and only between kernels that call `await_previous`; elsewhere the call does nothing. Sources: CUDA
Programming Guide, Programmatic Dependent Launch, and edge data of CUDA Graphs; PTX ISA, griddepcontrol.
"""

from __future__ import annotations

from typing import Any

from fastnn.cuda.target import SIMULATED, cuda

# Whether graphs overlap their kernels. None: where the GPU can; True: there, too, and where that fails it is an error;
# False: nowhere, to compare with.
OVERLAPPED: bool | None = None
LEAST = 9, 0  # the compute capability


if SIMULATED:

    def await_previous():
        """See below; the simulator has one kernel at a time."""

else:
    from numba import types
    from numba.cuda.core.targetconfig import ConfigStack
    from numba.cuda.extending import intrinsic

    from fastnn.cuda.vectors import assembly

    @intrinsic
    def await_previous(typingctx):
        """Until the kernel launched before has ended and what it wrote is there; then the next one may start.

        Every thread of a kernel that graphs hold comes here before it returns, before it reads what the kernel before
        writes, and before it writes anything that other blocks read. Because it lets the next start only after its own
        wait, all kernels before its predecessor have ended when a kernel starts: so what the predecessor does not write
        may be read before the call. That holds for what no kernel of the graph writes but `phases.advance` (see
        `overlap`), and for what an earlier one wrote if the read goes by the GPU's second cache, as 16 bytes of
        `copy_vector` do: it is this call that makes sure of the multiprocessor's own.
        """

        def codegen(context, builder, signature, args):
            if ConfigStack().top().compute_capability >= LEAST:
                assembly(builder, "griddepcontrol.wait; griddepcontrol.launch_dependents;", ())
            return context.get_dummy_value()

        return types.void(), codegen


def applies() -> bool:
    """Whether graphs that are recorded now overlap their kernels."""
    return OVERLAPPED is not False and not SIMULATED and cuda.get_current_device().compute_capability >= LEAST


def overlap(graph: Any) -> None:
    """Let each kernel of a graph (a CUgraph) that was captured start when the one before it lets it.

    The edge between two kernels becomes a programmatic one. Those of a kernel of one thread stay as they are, full
    ones: it counts the steps, in the state that kernels read before they wait for their predecessor.

    Raises RuntimeError where the driver refuses, and what its bindings raise where they know of no such edges (before
    CUDA 12.3); the graph is then of no use.
    """
    from cuda.bindings import driver

    def call(name: str, *arguments: Any) -> Any:
        # Where both are there (12.x), edges have data in the second version alone.
        function = getattr(driver, f"{name}_v2", None) or getattr(driver, name)
        error, *found = function(*arguments)
        if error != driver.CUresult.CUDA_SUCCESS:
            raise RuntimeError(f"{name}: {error}")
        return found

    def overlaps(node: Any) -> bool:
        if call("cuGraphNodeGetType", node)[0] != driver.CUgraphNodeType.CU_GRAPH_NODE_TYPE_KERNEL:
            return False
        of = call("cuGraphKernelNodeGetParams", node)[0]
        return bool(of.gridDimX * of.gridDimY * of.gridDimZ * of.blockDimX * of.blockDimY * of.blockDimZ > 1)

    # The data of edges that are found points to freed memory (NVIDIA/cuda-python#1804); captured ones are full.
    edges = call("cuGraphGetEdges", graph, 0)[-1]
    before, after = call("cuGraphGetEdges", graph, edges)[:2]
    found = {int(node): overlaps(node) for node in [*before, *after]}
    pairs = [(a, b) for a, b in zip(before, after, strict=True) if found[int(a)] and found[int(b)]]
    if not pairs:
        return
    before, after = map(list, zip(*pairs, strict=True))
    full, programmatic = driver.CUgraphEdgeData(), driver.CUgraphEdgeData()
    programmatic.from_port = driver.CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC
    programmatic.type = driver.CUgraphDependencyType.CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC
    count = len(pairs)
    call("cuGraphRemoveDependencies", graph, before, after, [full] * count, count)
    call("cuGraphAddDependencies", graph, before, after, [programmatic] * count, count)
