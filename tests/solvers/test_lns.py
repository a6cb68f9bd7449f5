"""Large-neighbourhood search: neighbourhoods, restriction, and what it returns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from talos_opt.core.errors import ConfigError
from talos_opt.core.feasibility import check
from talos_opt.core.problem import Problem
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.lns.neighbourhoods import NEIGHBOURHOODS
from tests.naive import brute_force
from tests.strategies import large_problems, problems


@given(problems(max_ops=5))
@settings(max_examples=30)
def test_lns_ends_at_the_optimum_of_tiny_problems(problem: Problem) -> None:
    expected = brute_force(problem)
    run = Run(problem, time_limit=30.0, workers=2)
    for name in ("single", "etf", "heft"):
        registry.create(name).solve(problem, run)
    assume(run.best is not None)
    registry.create("lns").solve(problem, run)
    assert expected is not None
    # Everything fits one window, so the last repair is the whole problem.
    assert run.value == pytest.approx(expected[0], rel=1e-6, abs=1e-6)
    assert check(problem, run.best) == ()
    assert run.lower_bound == run.forced, "a repair proves nothing about the whole problem"


@given(large_problems(max_ops=40), st.sampled_from(sorted(NEIGHBOURHOODS)), st.integers(1, 20))
def test_neighbourhoods_choose_distinct_groups(problem: Problem, name: str, count: int) -> None:
    run = Run(problem)
    registry.create("etf").solve(problem, run)
    assume(run.best is not None)
    free = NEIGHBOURHOODS[name](problem, run.best, count, np.random.default_rng(0))
    assert 1 <= len(free) <= max(count, 2)
    assert len(set(free.tolist())) == len(free)
    assert set(free.tolist()) <= set(range(problem.arrays.group_count))


def test_options_are_checked() -> None:
    for bad in ({"window": 0}, {"step_s": 0.0}, {"windows": 3}):
        with pytest.raises(ConfigError):
            registry.create("lns", bad)
