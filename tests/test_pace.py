"""How the number of threads is chosen: the rule alone, on times that are made up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fastnn.cpu.pace import SHARE, WINS, Pace

CHUNK = 0.05  # seconds, as a trainer's are
Times = Callable[[int, float], float]  # seconds of a step with so many workers, at a time


class Machine:
    """Runs chunks as the engine does, on a clock of its own."""

    def __init__(self, pace: Pace, times: Times) -> None:
        self.pace, self.times = pace, times
        self.now = 0.0
        self.spent: dict[int, float] = {}  # seconds with each number of workers
        self.steps: dict[int, int] = {}
        self.chosen: list[int] = []  # after each chunk

    def chunk(self, steps: int) -> None:
        plan = self.pace.plan(steps)
        assert sum(some for _, some in plan) == steps and all(some > 0 for _, some in plan)
        for workers, some in plan:
            seconds = sum(self.times(workers, self.now) for _ in range(min(some, 20))) * some / min(some, 20)
            self.now += seconds
            self.spent[workers] = self.spent.get(workers, 0.0) + seconds
            self.steps[workers] = self.steps.get(workers, 0) + some
            self.pace.note(workers, some, seconds)
        self.chosen.append(self.pace.best)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.chunk(max(1, int(CHUNK / self.times(self.pace.best, self.now))))


def steady(seconds: dict[int, float]) -> Times:
    return lambda workers, now: seconds[workers]


def test_one_candidate_is_all_there_is() -> None:
    pace = Pace((3,))
    for steps in (1, 2, 100):
        assert pace.plan(steps) == [(3, steps)]
        pace.note(3, steps, 1.0)


@pytest.mark.parametrize("step", [1e-5, 1e-3, 0.15])
@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize("better", [1, 2])
def test_the_faster_one_wins_within_a_few_chunks(step: float, first: int, better: int) -> None:
    machine = Machine(Pace((first, 3 - first)), steady({better: step, 3 - better: 2 * step}))
    for _ in range(4 * WINS + 2):
        machine.chunk(max(1, int(CHUNK / step)))
    assert machine.pace.best == better


@pytest.mark.parametrize("step", [2e-4, 4e-3, 0.15])
@pytest.mark.parametrize("slower", [1.0, 1.3, 2.0, 10.0])
def test_trials_cost_a_small_share_of_the_time(step: float, slower: float) -> None:
    machine = Machine(Pace((2, 1)), steady({2: step, 1: slower * step}))
    machine.run(120.0)
    assert set(machine.chosen) == {2}
    assert machine.steps[1] >= 1, "nothing was tried"
    lost = machine.spent[1] - machine.steps[1] * step
    # What the latest trial lost may not be paid off yet.
    assert lost <= SHARE * machine.now + max(0.004, step) * slower


def test_after_hours_trials_cost_no_more_than_before() -> None:
    machine = Machine(Pace((2, 1)), steady({2: 1e-3, 1: 2e-3}))
    machine.pace.note(2, 10_000_000, 10_000.0)
    machine.run(10.0)
    assert machine.spent[1] / 2 <= SHARE * machine.now + 0.004


def noisy(seconds: dict[int, float], seed: int) -> Times:
    """Every step scatters by a quarter, and one in twelve takes up to four times as long."""
    draw = np.random.default_rng(seed)

    def times(workers: int, now: float) -> float:
        busy = 1 + 3 * draw.random() if draw.random() < 1 / 12 else 1.0
        return float(seconds[workers] * (1 + 0.25 * draw.random()) * busy)

    return times


def stalling(seconds: dict[int, float], seed: int) -> Times:
    """A third of the time, in bursts of 20 ms to 0.3 s, everything takes three times as long."""
    draw = np.random.default_rng(seed)
    state = {"until": 0.0, "factor": 1.0}

    def times(workers: int, now: float) -> float:
        if now >= state["until"]:
            busy = state["factor"] == 1.0
            state["factor"] = 3.0 if busy else 1.0
            state["until"] = now + (0.02 + 0.28 * draw.random()) * (1 if busy else 2)
        return seconds[workers] * state["factor"]

    return times


@pytest.mark.parametrize("noise", [noisy, stalling])
@pytest.mark.parametrize("step", [2e-4, 4e-3])
@pytest.mark.parametrize("better", [1, 2])
def test_noise_decides_nothing(noise: Callable[[dict[int, float], int], Times], step: float, better: int) -> None:
    """The one that is really faster is found, and has nearly all of the steps; over many draws of the noise."""
    for seed in range(10):
        machine = Machine(Pace((2, 1)), noise({better: step, 3 - better: 1.7 * step}, seed))
        machine.run(3.0)
        assert machine.pace.best == better, seed
        machine.steps.clear()
        machine.run(15.0)
        share = machine.steps[better] / sum(machine.steps.values())
        assert share > 0.97, f"seed {seed}: {share:.1%} of the steps"


def test_it_follows_a_machine_that_becomes_busy_and_quiet_again() -> None:
    machine = Machine(Pace((2, 1)), steady({1: 2e-3, 2: 1e-3}))
    for seconds, best in [({1: 2e-3, 2: 1e-3}, 2), ({1: 2e-3, 2: 8e-3}, 1), ({1: 2e-3, 2: 1e-3}, 2)]:
        machine.times = steady(seconds)
        machine.run(5.0)
        assert machine.pace.best == best


def test_three_candidates_are_all_tried() -> None:
    machine = Machine(Pace((4, 1, 2)), steady({4: 3e-3, 1: 2e-3, 2: 1e-3}))
    machine.run(5.0)
    assert machine.pace.best == 2 and machine.steps[1] > 0


def test_a_chunk_of_one_step_is_tried_whole() -> None:
    machine = Machine(Pace((1, 2)), steady({1: 0.2, 2: 0.1}))
    assert machine.pace.plan(1) == [(1, 1)]
    machine.chunk(1)
    assert machine.pace.plan(1) == [(2, 1)]
    for _ in range(2 * WINS):
        machine.chunk(1)
    assert machine.pace.best == 2
