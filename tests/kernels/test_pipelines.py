"""The kernel of steps against the simulation that the checker uses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.pipelining.step import step_time
from talos_opt.core.problem import Problem
from talos_opt.kernels.pipelines import step_value
from talos_opt.solvers.pipelines.facts import make_steps
from tests.strategies import problems


@given(problems(max_ops=6, pipelines=True, serial=False, memory=False), st.randoms())
def test_a_step_is_that_of_the_simulation(asked: Problem, rng: object) -> None:
    steps = make_steps(asked.with_objective("step"))
    if (steps.phase[steps.src] > steps.phase[steps.dst]).any():
        return
    arrays = asked.arrays
    for _ in range(4):
        home = np.array(
            [rng.choice(np.flatnonzero(row).tolist() or [0]) for row in arrays.allowed],  # type: ignore[attr-defined]
            dtype=np.int64,
        )
        if not all(arrays.allowed[g, d] for g, d in enumerate(home)):
            return
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
