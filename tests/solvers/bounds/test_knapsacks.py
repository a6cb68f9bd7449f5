"""Knapsacks along a path: by hand, and below the optimum on random chains."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from talos_opt.core.problem import Problem
from talos_opt.solvers.bounds.knapsacks import knapsack_bound
from tests.builders import device, op, problem
from tests.naive import brute_force
from tests.strategies import costly, problems


def chain(sizes: list[int], gpu: int, *, cpu: int | None = None, rule: str = "static") -> Problem:
    """Ops of these bytes, in a chain: as long as their bytes on the GPU, four times on the CPU."""
    ops = [
        op(f"o{k}", {"cpu": 4.0 * n, "gpu": 1.0 * n}, f"o{k - 1}" if k else "", weights=n)
        for k, n in enumerate(sizes)
    ]
    devices = [device("cpu0", cpu), device("gpu0", gpu)]
    return problem(ops, devices, objective="makespan", rule=rule)


def test_what_does_not_fit_is_slow() -> None:
    """Ten ops of 3 in 13 bytes: four fit, and not 13 / 3; the others take 12 each."""
    assert knapsack_bound(chain([3] * 10, 13), least=1) == pytest.approx(4 * 3 + 6 * 12, rel=1e-3)


def test_small_ops_fill_what_large_ones_leave() -> None:
    """In 10 bytes there are five ops of 2."""
    found = knapsack_bound(chain([7] * 3 + [2] * 40, 10))
    assert found == pytest.approx(4 * (21 + 80) - 3 * 10, rel=1e-3)


def test_enough_memory_leaves_it_to_the_critical_path() -> None:
    assert knapsack_bound(chain([3] * 10, 30), least=1) == 0


def test_it_does_not_apply_without_limits() -> None:
    assert knapsack_bound(problem([op("a", 2)], objective="makespan"), least=1) == 0


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=5),
    st.integers(0, 12),
    st.none() | st.integers(4, 12),
    st.sampled_from(["static", "peak"]),
)
def test_it_is_below_the_optimum(sizes: list[int], gpu: int, cpu: int | None, rule: str) -> None:
    assume(cpu is None or max(sizes) <= max(cpu, gpu))
    of = chain(sizes, gpu, cpu=cpu, rule=rule)
    best = brute_force(of)
    assume(best is not None)
    assert knapsack_bound(of, least=1) <= best[0] * (1 + 1e-12)


@costly
@given(problems(max_ops=5, max_models=1, objectives=("makespan", "toct"), traffic=False))
def test_it_is_below_the_optimum_of_any_problem(of: Problem) -> None:
    best = brute_force(of)
    assume(best is not None)
    assert best is not None
    assert knapsack_bound(of, least=1) <= best[0] * (1 + 1e-12) + 1e-12


def test_workspaces_of_ops_that_take_no_time_are_not_held() -> None:
    first = op("a", {"gpu": 0.0, "cpu": 8.0}, workspace=8, weights=1)
    ops = [first, op("b", {"gpu": 1.0}, "a", weights=8)]
    of = problem(ops, [device("gpu0", 9), device("cpu0")], objective="makespan", rule="peak")
    assert brute_force(of) is not None
    assert knapsack_bound(of, least=1) <= 1.0
