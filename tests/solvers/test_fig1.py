"""Fig. 1 of the Talos paper, by every solver that it is about."""

from __future__ import annotations

from pathlib import Path

import pytest

import talos_opt
from talos_opt.core.problem import Problem
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.run import Run
from tests.builders import fig1

FIG1 = Path(__file__).parents[2] / "models" / "fig1.yaml"


def value_of(solver: str, problem: Problem, **options: object) -> Run:
    run = Run(problem, time_limit=30.0, workers=2)
    registry.create(solver, options).solve(problem, run)
    return run


@pytest.mark.parametrize(
    ("solver", "objective", "value"),
    [
        ("cpsat", "toct", 9.0),
        ("cpsat", "makespan", 4.5),
        ("ilp", "toct", 9.0),
        ("ilp", "makespan", 4.5),
        ("dp", "toct", 9.0),
        ("dp", "makespan", 4.5),
    ],
)
def test_exact_solvers_prove_fig1(solver: str, objective: str, value: float) -> None:
    run = value_of(solver, fig1().with_objective(objective))
    assert run.value == pytest.approx(value)
    assert run.proven
    assert run.best is not None
    assert run.best.device.tolist() == [1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("solver", "value"), [("aswm", 12.5), ("tsam", 11.5), ("talos", 9.0), ("fast", 9.0)]
)
def test_methods_of_the_paper(solver: str, value: float) -> None:
    options = {"moves": 2000} if solver == "fast" else {}
    assert value_of(solver, fig1(), **options).value == pytest.approx(value)


def test_the_file_says_what_is_known() -> None:
    result = talos_opt.solve(talos_opt.read(FIG1), time_limit=20)
    assert result.status is talos_opt.Status.OPTIMAL
    assert result.value == result.problem.graph.known["toct"] == 9.0
    assert result.metrics is not None
    assert result.metrics.weighted_speedup == pytest.approx(15.5 / 9)
