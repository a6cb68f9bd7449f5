"""Placements in one pass, against the same rules on lists and dicts."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.problem import Problem
from talos_opt.kernels.placing import fill_in_order, place_earliest, spread_evenly
from talos_opt.solvers.shared.instance import make_instance
from tests.kernels.drawing import shuffled
from tests.reference.passes import Rooms, Steering, earliest_ends, fill, spread_scores
from tests.strategies import large_problems, problems

drawn = st.one_of(
    problems(max_ops=7), large_problems(max_ops=30), large_problems(max_ops=30, tight=True)
)
seeds = st.integers(0, 2**32 - 1)


class Case:
    """A problem, group sizes and where groups may go; half of the time as the solver has them.

    Otherwise outputs count in part, and some devices that could be used may not be.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        self.problem, self.random = problem, random.Random(seed)
        self.instance = make_instance(problem, near=False)
        self.size = self.instance.group[:, 0].copy()
        self.usable = problem.arrays.allowed.copy()
        if self.random.random() < 0.5:
            self.size = np.array([self.random.randint(0, x) for x in self.size.tolist()])
            for group, d in np.argwhere(self.usable).tolist():
                self.usable[group, d] = self.random.random() < 0.9
        self.count = problem.arrays.op_count
        self.device = np.full(self.count, -1, dtype=np.int64)

    def rooms(self) -> Rooms:
        return Rooms(self.problem, self.size.tolist(), self.usable.tolist())

    def prices(self) -> np.ndarray:
        # Odd numbers, so that scores are rarely equal by chance.
        return np.array([self.random.uniform(0.2, 3.0) for _ in self.problem.device_ids])


@given(drawn, seeds, st.sampled_from([0.0, 1.0, 4.0, 10.0, math.inf]))
def test_filling_one_device_after_another(problem: Problem, seed: int, target: float) -> None:
    case = Case(problem, seed)
    order = np.array(shuffled(case.count, seed), dtype=np.int64)
    turn = np.array(shuffled(len(problem.device_ids), seed), dtype=np.int64)
    top = fill_in_order(case.instance, order, case.size, case.usable, turn, target, case.device)
    rooms = case.rooms()
    if fill(rooms, order.tolist(), turn.tolist(), target):
        assert case.device.tolist() == rooms.device()
        assert top == rooms.top()
    else:
        assert top == math.inf


@given(drawn, seeds, st.sampled_from([0.5, 3.0, 20.0]))
def test_spreading_evenly(problem: Problem, seed: int, scale: float) -> None:
    case = Case(problem, seed)
    price = case.prices()
    order = np.array(shuffled(case.count, seed), dtype=np.int64)
    order.setflags(write=False)  # as the arrays of a problem, which it is compiled for
    top = spread_evenly(case.instance, order, case.size, case.usable, price, scale, case.device)
    rooms = case.rooms()
    for op in order.tolist():
        group = rooms.group[op]
        if group not in rooms.home:
            scores = spread_scores(rooms, group, price.tolist(), scale)
            if not scores:
                assert top == math.inf
                break
            # Of scores as good as equal, either device will do: exp is not the same everywhere.
            assert scores[int(case.device[op])] <= min(scores.values()) * (1 + 1e-12)
            rooms.home[group] = int(case.device[op])
    else:
        assert case.device.tolist() == rooms.device()
        assert top == rooms.top()


@given(drawn, seeds, st.sampled_from([1, 2, 3, 100]), st.booleans(), st.booleans())
def test_placing_where_ops_end_first(
    problem: Problem, seed: int, window: int, priced: bool, reserved: bool
) -> None:
    case = Case(problem, seed)
    draw, devices = case.random, len(problem.device_ids)
    hold = np.array([draw.choice((0.0, 0.0, 3.5)) for _ in problem.graph.models])
    urgency = np.array(shuffled(case.count, seed), dtype=np.float64)
    reserve = np.zeros(devices, dtype=np.int64)
    if reserved:
        reserve = np.minimum(
            np.array([draw.randint(0, 6) for _ in range(devices)]), problem.arrays.capacity
        )
    price = case.prices() if priced else np.zeros(devices)
    order = np.full(case.count, -1, dtype=np.int64)
    last = place_earliest(
        case.instance, hold, urgency, window, case.size, case.usable, reserve, price,
        case.device, order,
    )  # fmt: skip
    steering = Steering(hold.tolist(), urgency.tolist(), window, reserve.tolist(), price.tolist())
    steps = list(earliest_ends(case.rooms(), steering, order.tolist()))
    if steps and steps[-1].device == -1:
        assert last == math.inf
        steps.pop()
    assert [step.op for step in steps] == order.tolist()[: len(steps)]
    assert [step.device for step in steps] == case.device[order[: len(steps)]].tolist()
    if len(steps) == case.count:
        assert last == pytest.approx(max(step.end for step in steps))
