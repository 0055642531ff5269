"""How the number of threads is chosen: the rule alone, on times that are made up."""

from __future__ import annotations

from itertools import pairwise

from fastnn.cpu.pace import LATEST, SHARE, SOONEST, Pace


def chunk(pace: Pace, seconds: dict[int, float], steps: int = 800) -> dict[int, int]:
    """Run a chunk in which a step with n workers takes seconds[n]; returns the steps of each number of workers."""
    done: dict[int, int] = {}
    for workers, some in pace.plan(steps):
        done[workers] = done.get(workers, 0) + some
        pace.note(workers, some, some * seconds[workers])
    assert sum(done.values()) == steps
    return done


def test_one_candidate_is_all_there_is() -> None:
    pace = Pace((3,))
    for steps in (1, 2, 100):
        assert pace.plan(steps) == [(3, steps)]


def test_the_faster_one_wins_at_the_first_trial() -> None:
    for first, seconds, best in [(1, {1: 2e-3, 2: 1e-3}, 2), (2, {1: 2e-3, 2: 1e-3}, 2), (2, {1: 1e-3, 2: 9e-3}, 1)]:
        pace = Pace((first, 3 - first))
        assert chunk(pace, seconds) == {3 - first: 800 // SHARE, first: 800 - 800 // SHARE}
        assert pace.best == best


def test_a_trial_that_loses_is_made_ever_more_seldom() -> None:
    pace, seconds = Pace((1, 2)), {1: 1e-3, 2: 4e-3}
    trials = [k for k in range(2000) if 2 in chunk(pace, seconds)]
    waits = [b - a for a, b in pairwise(trials)]
    assert pace.best == 1
    assert waits[0] >= SOONEST and max(waits) <= LATEST
    assert waits == sorted(waits) and waits[-1] == LATEST
    steps_in_trials = len(trials) * 800 / SHARE
    assert steps_in_trials * 4e-3 < 0.01 * 2000 * 800 * 1e-3, "trials cost more than 1 % of the time"


def test_it_follows_a_machine_that_becomes_busy_and_quiet_again() -> None:
    pace = Pace((2, 1))
    for seconds, best in [({1: 2e-3, 2: 1e-3}, 2), ({1: 2e-3, 2: 8e-3}, 1), ({1: 2e-3, 2: 1e-3}, 2)]:
        for _ in range(3 * LATEST):
            chunk(pace, seconds)
        assert pace.best == best


def test_a_chunk_of_one_step_is_no_trial() -> None:
    pace = Pace((1, 2))
    assert pace.plan(1) == [(1, 1)]
    assert pace.plan(2) == [(2, 1), (1, 1)]


def test_one_slow_chunk_changes_nothing() -> None:
    pace = Pace((2, 1))
    for k in range(100):
        chunk(pace, {1: 2e-3, 2: 50e-3 if k % 10 == 5 else 1e-3})
        assert pace.best == 2
