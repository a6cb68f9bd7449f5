"""Insertion against the simulator, every rule but memory over time."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import assume, given, reject

from talos_opt.core.metrics import measure
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from talos_opt.core.timeline import Timeline
from talos_opt.core.transfers import NoRouteError
from talos_opt.kernels.inserting import (
    BYTES,
    END,
    IDLE,
    TRANSFERS,
    VALUE,
    find_room,
    insert_all,
    occupy,
)
from talos_opt.solvers.polish.trials import make_rows
from talos_opt.solvers.shared.instance import make_instance
from tests.kernels.drawing import Ordered, ints, ordered_problems


def inserted(
    problem: Problem, device: list[int], order: list[int], limit: float = np.inf
) -> tuple[list[float], list[float]]:
    """Figures, then starts and ends in a row."""
    rows, found = make_rows(problem), np.zeros(5)
    instance = make_instance(problem, near=False)
    for _ in range(2):  # a pass may find what another one has left
        insert_all(instance, rows, ints(device), ints(order), limit, found)
    return found.tolist(), [*rows.start.tolist(), *rows.end.tolist()]


def simulated(problem: Problem, device: list[int], order: list[int]) -> Schedule | None:
    place = np.argsort(ints(order))
    try:
        return simulate(problem, ints(device), place)
    except NoRouteError:
        return None


@given(ordered_problems(peak=False))
def test_it_does_what_the_simulator_does(drawn: Ordered) -> None:
    problem, device, order, _ = drawn
    found, times = inserted(problem, device, order)
    expected = simulated(problem, device, order)
    if expected is None:
        assert found[VALUE] == np.inf
        reject()
    metrics = measure(problem, expected)
    assert times == [*expected.start.tolist(), *expected.end.tolist()]
    assert found[VALUE] == pytest.approx(metrics.value(problem.objective), rel=1e-12)
    assert found[IDLE] == pytest.approx(metrics.total_idle, rel=1e-12, abs=1e-12 * found[END])
    assert found[BYTES] == metrics.transferred_bytes
    assert found[TRANSFERS] == len(expected.transfers)
    assert found[END] == expected.makespan


@given(ordered_problems(peak=False))
def test_it_gives_up_on_larger_values_only(drawn: Ordered) -> None:
    problem, device, order, _ = drawn
    (value, *_), _ = inserted(problem, device, order)
    assume(value < np.inf)
    assert inserted(problem, device, order, value)[0][VALUE] == value
    # Whatever it does not give up on has the value that it has.
    assert inserted(problem, device, order, 0.9 * value)[0][VALUE] in (value, np.inf)
    if value > 0:
        assert inserted(problem, device, order, -1.0)[0][VALUE] == np.inf


@numba.njit
def room_from(moment, used, length, room, ready, span):  # type: ignore[no-untyped-def]
    return find_room(moment, used, length, room, ready, span)


@numba.njit
def occupied(moment, used, length, start, end, amount):  # type: ignore[no-untyped-def]
    return occupy(moment, used, length, start, end, amount)


def test_room_is_that_of_a_timeline() -> None:
    draw = np.random.default_rng(5)
    for _ in range(100):
        slots = int(draw.integers(1, 4))
        line, length = Timeline(slots), 1
        moment, used = np.zeros(200), np.zeros(200, dtype=np.int64)
        for _ in range(30):
            amount = int(draw.integers(1, slots + 1))
            ready, span = float(draw.integers(0, 20)), float(draw.integers(0, 4))
            start = line.earliest(ready, span, amount)
            assert start == room_from(moment, used, length, slots - amount, ready, span)
            line.add(start, start + span, amount)
            length = occupied(moment, used, length, start, start + span, amount)
            # No two moments in a row at which the same is in use.
            assert (np.diff(used[:length]) != 0).all()
            assert (np.diff(moment[:length]) > 0).all()
