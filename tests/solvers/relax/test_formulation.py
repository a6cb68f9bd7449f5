"""The placement relaxation by CP-SAT, constraint by constraint."""

from __future__ import annotations

import math

import pytest

import talos_opt
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers.bounds.path_memory import PathMemory
from talos_opt.solvers.cpsat import backend
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.relax.formulation import RelaxedFormulation
from talos_opt.solvers.shared.grid import make_grid
from tests.builders import device, link, op
from tests.builders import problem as make
from tests.naive import brute_force


def never() -> bool:
    return False


def relaxed(problem: Problem, upper: float = math.inf) -> float:
    """Return the optimum of the relaxation, without any other bound but paths."""
    cp = backend.load()
    memory = PathMemory(problem)
    memory.improve()
    formulation = RelaxedFormulation(cp, problem, make_grid(problem, upper), upper, never, memory)
    formulation.build()
    solver = backend.make_solver(cp)
    solver.parameters.num_workers = 2
    assert solver.solve(formulation.model) == cp.OPTIMAL
    on_grid = float(solver.objective_value)
    return formulation.objective_base + on_grid / formulation.objective_scale


def test_ops_without_order_fill_their_devices() -> None:
    """Six ops on two devices: no path is longer than 1, but each device has to do three."""
    ops = [op(f"o{i}", {"gpu": 1}) for i in range(6)]
    devices = [device("gpu0"), device("gpu1")]
    assert relaxed(make(ops, devices, objective="makespan")) == 3
    slots = [device("gpu0", slots=2), device("gpu1", slots=2)]
    assert relaxed(make(ops, slots, objective="makespan")) == 2  # 1.5 on the grid


def test_work_in_the_middle_leaves_room_before_and_after() -> None:
    first, last = op("first", {"cpu": 2}), op("last", {"cpu": 3}, "m0 m1 m2 m3")
    middle = [op(f"m{i}", {"gpu": 1}, "first") for i in range(4)]
    problem = make([first, *middle, last], [device("cpu0"), device("gpu0")], objective="makespan")
    assert relaxed(problem) == 2 + 4 + 3 == brute_force(problem)[0]


def test_a_device_that_stays_empty_holds_nobody_up() -> None:
    """Ops that could only start late there need not go there at all."""
    ops = [
        op("first", {"cpu": 1}, output=1, devices="cpu0"),
        op("x", {"cpu": 2, "gpu": 1}, "first", output=1),
        op("y", {"cpu": 2, "gpu": 1}, "first", output=1),
        op("last", {"cpu": 1}, "x y", devices="cpu0"),
    ]
    problem = make(ops, "cpu0 gpu0", [link("cpu gpu", 100.0)], objective="makespan")
    assert brute_force(problem)[0] == 6
    assert relaxed(problem) == 6
    assert relaxed(problem, 6.0) == 6


def test_memory_keeps_ops_apart_under_either_rule() -> None:
    ops = [op("a", {"gpu": 1}, weights=3, output=1), op("b", {"gpu": 1}, "a", weights=3)]
    devices = [device("gpu0", 5), device("gpu1", 5)]
    for rule in ("static", "peak"):
        problem = make(ops, devices, [link("gpu gpu", 4.0)], objective="makespan", rule=rule)
        assert relaxed(problem) == 6 == brute_force(problem)[0]


def test_models_share_devices_under_toct() -> None:
    models = {f"m{j}": [op(f"o{j}", {"gpu": 2})] for j in range(3)}
    problem = make(models, [device("gpu0")], weight={"m2": 2.0})
    assert brute_force(problem)[0] == 2 * 2 + 4 + 6
    assert 2 * 2 + 2 + 4 <= relaxed(problem) <= 14


def test_relax_proves_what_it_can_and_hands_in_placements() -> None:
    ops = [op(f"o{i}", {"gpu": 1}, f"o{i - 1}" if i else "", weights=2, output=1)
           for i in range(6)]  # fmt: skip
    devices = [device(f"gpu{k}", 6) for k in range(3)]
    problem = make(ops, devices, [link("gpu gpu", 1.0)], objective="makespan")
    run = Run(problem, time_limit=20.0, workers=2)
    verdict = registry.create("relax").solve(problem, run)
    assert verdict.status is Status.FEASIBLE
    assert run.value == 8
    assert run.lower_bound == pytest.approx(8)


def test_relax_says_which_op_cannot_be_reached() -> None:
    ops = [op("a", {"cpu": 1}, output=1), op("b", {"gpu": 1}, "a")]
    problem = make(ops, "cpu0 gpu0", [link("gpu > cpu")], objective="makespan")
    run = Run(problem, time_limit=20.0, workers=1)
    verdict = registry.create("relax").solve(problem, run)
    assert verdict.status is Status.INFEASIBLE
    assert verdict.reason


@pytest.mark.parametrize("objective", ["toct", "makespan"])
def test_a_run_that_is_over_is_left_alone(objective: str) -> None:
    problem = make([op("a"), op("b", 1, "a")], objective=objective)
    run = Run(problem, time_limit=0.0, workers=1)
    registry.create("relax").solve(problem, run)
    assert run.lower_bound <= brute_force(problem)[0]


@pytest.mark.notes("subtract the earliest release|can be written to")
def test_an_incumbent_survives_limits_that_are_what_large_sums_leave() -> None:
    """Found by benchmarks/trust: releases of 1e3 and 1.8e9, and an op of 2 ms to be placed."""
    short, long = 0.0022222222222222222, 0.015555555555555557
    ops = {
        "a": [
            op("x", {"cpu": long, "gpu": long, "gpu0": short}, weights=3, workspace=2),
            op("y", {"cpu": long, "gpu": short}, "x", weights=3, output=1),
        ],
        "b": [op("x", {"cpu": 1.5, "gpu": short}, weights=2, workspace=1)],
    }
    given = make(
        ops,
        [
            device("cpu0", 11, slots=2, copy_engine=False),
            device("gpu0", 7, copy_engine=False),
            device("gpu1", 7, slots=2),
        ],
        [link("cpu gpu", 0, 64.28571428571428, duplex="half")],
        weight={"a": 1000.0, "b": 5.0},
        release={"a": 1000.0, "b": 1764153000.0},
    )
    first = talos_opt.solve(given, "heft").schedule
    result = talos_opt.solve(given, "relax", warm_start=first, time_limit=10)
    best = talos_opt.solve(given, "cpsat", time_limit=10).value
    assert best is not None
    assert result.lower_bound <= best
