"""The lecture, computed: each experiment is a function that returns numbers and arrays, registered in EXPERIMENTS.

    from fastnn import experiments
    experiments.cross_entropy().rounded          # 0.020621
    experiments.EXPERIMENTS["outputs"].title

`fastnn lab NAME` prints them, the Learn mode of the terminal UI plays with them. Importing this brings NumPy; Numba and
the engine come with the first experiment that needs them.
"""

from fastnn.experiments.backward import backpropagation
from fastnn.experiments.characters import next_character
from fastnn.experiments.depth import vanishing
from fastnn.experiments.entry import EXPERIMENTS, Experiment, Parameter, Question
from fastnn.experiments.gallery import activations, remarks
from fastnn.experiments.logits import cross_entropy, outputs
from fastnn.experiments.race import convergence
from fastnn.experiments.sequences import adding, digit_rows, recurrence
from fastnn.experiments.structure import network, neuron, partial
from fastnn.experiments.weights import initialization

# In the order of the lecture.
_ORDER = (
    network, neuron, partial, activations, remarks, outputs, cross_entropy, backpropagation, recurrence, vanishing,
    convergence, initialization, digit_rows, adding, next_character,
)  # fmt: skip
for _function in _ORDER:
    EXPERIMENTS[_function.__name__] = EXPERIMENTS.pop(_function.__name__)

__all__ = [
    "EXPERIMENTS", "Experiment", "Parameter", "Question", "activations", "adding", "backpropagation", "convergence",
    "cross_entropy", "digit_rows", "initialization", "network", "neuron", "next_character", "outputs", "partial",
    "recurrence", "remarks", "vanishing",
]  # fmt: skip
