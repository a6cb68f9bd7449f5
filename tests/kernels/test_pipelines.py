"""The kernel of steps against the simulation that the checker uses."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from talos_opt.core.pipelining.step import step_time
from talos_opt.core.problem import Problem
from talos_opt.kernels.pipelines import step_value
from talos_opt.solvers.pipelines.facts import make_steps
from tests.strategies import problems


@given(
    problems(max_ops=6, pipelines=True, serial=False, memory=False),
    st.randoms(use_true_random=False),
)
def test_a_step_is_that_of_the_simulation(asked: Problem, rng: random.Random) -> None:
    steps = make_steps(asked.with_objective("step"))
    assume(not (steps.phase[steps.src] > steps.phase[steps.dst]).any())
    arrays = asked.arrays
    assume(bool(arrays.allowed.any(axis=1).all()))
    for _ in range(4):
        choices = [rng.choice(np.flatnonzero(row).tolist()) for row in arrays.allowed]
        home = np.array(choices, dtype=np.int64)
        place = home[arrays.group]
        expected = step_time(asked.with_objective("step"), place)
        if not asked.keeps_stages(place):
            expected = math.inf
        found = float(step_value(steps, home))
        # The kernel takes each reader's own bytes, the simulation the largest that are sent.
        if arrays.tensor_bytes is not None or not math.isfinite(expected):
            assert found == pytest.approx(expected)
        else:
            assert found <= expected * (1 + 1e-12)
