"""Fig. 1 and Fig. 4 of the Talos paper, by every solver that they are about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import talos_opt
from talos_opt.core.graph import Graph, Input, Memory, Model, Op
from talos_opt.core.problem import Problem
from talos_opt.solvers import registry
from talos_opt.solvers.constructive import Builder
from talos_opt.solvers.packing import pack
from talos_opt.solvers.run import Run
from talos_opt.solvers.talos_flow import Step, augment, place
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


def test_talos_places_ops_in_the_order_and_at_the_costs_of_the_paper() -> None:
    problem = fig1()
    builder = Builder(problem)
    seen: list[tuple[str, float]] = []
    for number in range(3):
        step = Step(builder, np.flatnonzero(problem.arrays.level == number).tolist())
        while len(step.left):
            arc = step.cheapest()
            # The shortest augmenting path of OR-Tools' flow is the same arc.
            assert augment(builder, step.arcs(), 1) == [arc]
            seen.append((problem.ops[arc.op].id, arc.cost))
            step.place(arc)
    assert seen == [("op1", 1), ("op4", 1.5), ("op5", 0.5), ("op2", 1.5), ("op6", 2.5), ("op3", 2)]
    other = Builder(problem)
    place(other, 1)
    assert other.device == builder.device


def test_fig4_prices_op6_on_both_devices() -> None:
    problem = fig1()
    builder = Builder(problem)
    for op, device, start in ((0, 1, 0.0), (3, 0, 0.0), (4, 1, 1.0), (1, 0, 1.5)):
        builder.place(op, device, start)
    costs = {problem.device_ids[arc.device]: arc.cost for arc in Step(builder, [5]).arcs()}
    assert costs == {"cpu0": 2.5, "gpu0": 4.0}


def test_a_batch_prices_a_step_once() -> None:
    assert value_of("talos", fig1(), batch=2).best is not None


def chain(times: list[tuple[float, float]]) -> Problem:
    ops = tuple(
        Op(f"o{i}", {"cpu": c, "gpu": g}, Memory(1, 1, i), (Input(f"o{i - 1}"),) if i else ())
        for i, (c, g) in enumerate(times)
    )
    return Problem(Graph("chain", (Model("m", ops),)), fig1().cluster)


def test_packing_merges_similar_neighbours_up_to_tv() -> None:
    # Speedups 2, 2, 2, 8, 8: a new pack at the jump, and one where the time is used up.
    problem = chain([(4, 2), (4, 2), (4, 2), (8, 1), (8, 1)])
    packed = pack(problem, 0.5, 2.0, 8.0)
    assert [list(members) for members in packed.packs] == [[0, 1], [2], [3], [4]]
    assert packed.problem.ops[0].time == {"cpu0": 8.0, "gpu0": 4.0}
    assert packed.problem.ops[0].memory == Memory(2, 2, 1)
    wide = pack(problem, 0.5, 2.0, 100.0)
    assert [list(members) for members in wide.packs] == [[0, 1, 2], [3, 4]]


def test_packing_makes_no_cycle() -> None:
    # a -> b -> d and a -> c -> d: merging a with d past b and c would close a circle.
    ops = (
        Op("a", {"cpu": 1.0, "gpu": 1.0}),
        Op("b", {"cpu": 9.0, "gpu": 1.0}, inputs=(Input("a"),)),
        Op("c", {"cpu": 9.0, "gpu": 1.0}, inputs=(Input("a"),)),
        Op("d", {"cpu": 1.0, "gpu": 1.0}, inputs=(Input("a"), Input("b"), Input("c"))),
    )
    packed = pack(Problem(Graph("g", (Model("m", ops),)), fig1().cluster), 0.5, 2.0, 100.0)
    owner = {i: k for k, members in enumerate(packed.packs) for i in members}
    assert owner[0] != owner[3]
    run = value_of("talos", fig1(), tv=100.0)
    assert run.best is not None
