"""Kept moments: bounded, thinned with age, cut where a run goes another way."""

from dataclasses import dataclass
from itertools import pairwise

from tui.timeline import Timeline


@dataclass(frozen=True)
class State:
    step: int
    nbytes: int = 10


def filled(steps, **options):
    line = Timeline(**options)
    for step in steps:
        line.add(State(step))
    return line


def test_the_latest_before_and_at_a_step():
    line = filled([0, 10, 20])
    assert line.before(20) == State(10) and line.before(0) is None and line.before(5) == State(0)
    assert line.at(20) == State(20) and line.at(19.5) == State(10) and line.at(-3) == State(0)
    assert line.latest(lambda state: state.step < 15) == State(10) and line.latest(lambda state: False) is None
    assert Timeline().at(5) is None and Timeline().before(5) is None


def test_a_run_that_goes_another_way_forgets_what_came_after():
    line = filled([0, 10, 20, 30])
    line.add(State(15))
    assert line.steps == (0, 10, 15) and line.nbytes == 30
    line.add(State(15, 50))
    assert line.steps == (0, 10, 15) and line.nbytes == 70


def test_many_are_thinned_and_the_ends_stay():
    line = filled(range(0, 100_000, 10), most_states=50)
    steps = line.steps
    assert len(steps) == 50 and steps[0] == 0 and steps[-1] == 99_990
    gaps = [b - a for a, b in pairwise(steps)]
    assert gaps[-1] == 10 and max(gaps) < 40_000, "close together lately, far apart long ago, no hole"
    assert sum(gaps[:10]) > 10 * sum(gaps[-10:])


def test_memory_is_bounded():
    line = filled(range(1000), most_bytes=200)
    assert line.nbytes <= 200 and len(line.steps) == 20
    line.clear()
    assert line.nbytes == 0 and line.steps == ()
    assert len(filled(range(1000), room=150).steps) == 15
    assert len(filled(range(1000), room=50).steps) == 12, "a dozen, where they are large"
    assert len(filled(range(1000), room=50, most_bytes=30).steps) == 3
