"""What CP-SAT proves is true: inputs on which it was not, the cross-checks, random formulations."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import talos_opt
from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.errors import InternalError
from talos_opt.core.graph import Graph, Memory, Model, Op
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers.auto import stages as auto
from talos_opt.solvers.cpsat import backend
from talos_opt.solvers.cpsat.checks import require_incumbent, second_opinion
from talos_opt.solvers.cpsat.placement import PlacementFormulation
from talos_opt.solvers.cpsat.search import hint
from talos_opt.solvers.cpsat.sequencing import SequencingFormulation
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.shared.grid import Grid, make_grid
from tests.builders import device, link, op, problem
from tests.naive import brute_force
from tests.solvers.running import run_solver
from tests.trust.formulations import judge, make_problem, optimum

cp = backend.load()

FAULTS = Path(__file__).parents[3] / "shared" / "data" / "faults"


# ---- inputs on which a wrong optimum was proven --------------------------------------------


def thirds() -> Problem:
    """Four ops on two GPUs, one with a limit of memory: CP-SAT proved 5."""
    models = {
        "m0": [op("o0", {"gpu": 2}), op("o1", {"gpu": 1 / 3})],
        "m1": [op("p0", {"gpu": 3}), op("p1", {"gpu": 1 / 3}, "p0")],
    }
    devices = [device("gpu0"), device("gpu1", 1920)]
    return problem(models, devices, objective="bottleneck", rule="peak")


def released() -> Problem:
    """Three models on two GPUs, one released late: the relaxation was proven at 4."""
    models = {
        "m0": [op("a", {"gpu": 1, "gpu0": 3})],
        "m1": [op("b", {"gpu": 3})],
        "m2": [op("c", {"gpu": 1})],
    }
    return problem(models, "gpu0 gpu1", objective="makespan", release={"m2": 0.3})


def billions() -> Problem:
    """Whole numbers and tenths of 1e9, a GPU of two slots without copy engine."""
    models = {
        "m0": [
            op("o0", {"cpu": 1e9, "gpu": 2e9}),
            op("o1", {"cpu": 1e9 / 3, "gpu": 300000000.1}, "o0"),
        ],
        "m1": [op("p0", {"cpu": 1, "gpu": 300000000.1})],
        "m2": [op("q0", {"cpu": 1e9 / 3, "gpu": 1e9})],
    }
    devices = [device("cpu0"), device("gpu0", 26, slots=2, copy_engine=False)]
    wire = [link("cpu0 gpu0", 5e7)]
    return problem(models, devices, wire, objective="bottleneck", rule="peak")


def scaled(drawn: Problem, time: float, weight: float = 1.0) -> Problem:
    """The same problem in another unit of time, and of weight."""
    models = tuple(
        replace(
            model,
            weight=model.weight * weight,
            release=model.release * time,
            ops=tuple(
                replace(item, time={kind: one * time for kind, one in item.time.items()})
                for item in model.ops
            ),
        )
        for model in drawn.graph.models
    )
    links = drawn.cluster.links
    if links is not None:
        links = tuple(replace(item, latency=item.latency * time) for item in links)
    return replace(
        drawn,
        graph=replace(drawn.graph, models=models),
        cluster=replace(drawn.cluster, links=links),
    )


@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e3])
@pytest.mark.parametrize("case", [thirds, released, billions])
def test_the_optimum_is_the_true_one(case: object, unit: float) -> None:
    drawn = scaled(case(), unit)  # type: ignore[operator]
    truth = brute_force(drawn)
    assert truth is not None
    run, _ = run_solver("cpsat", drawn)
    assert run.proven
    assert run.value == pytest.approx(truth[0], rel=1e-6)
    assert run.lower_bound <= truth[0] * (1 + 1e-9)


def test_the_relaxation_stays_below_the_optimum() -> None:
    drawn = released()
    truth = brute_force(drawn)
    assert truth is not None
    run, _ = run_solver("relax", drawn)
    assert run.lower_bound <= truth[0] * (1 + 1e-9)


@pytest.mark.parametrize(
    ("name", "objective", "solver", "value"),
    [
        ("cpsat_wrong_bottleneck", "bottleneck", "cpsat", 3.0),
        ("cpsat_wrong_makespan", "makespan", "cpsat", 3.1e-6),
        ("relax_wrong_makespan", "makespan", "relax", 3e-6),
        ("auto_wrong_optimal_full", "bottleneck", "auto", 1350000000.1),
        ("grid_1e9_idiom", "toct", "auto", 8.7),
        ("grid_1e9_absent", "toct", "auto", 8.7),
        ("small_weights", "toct", "auto", 1.8e-12),
    ],
)
def test_inputs_that_were_wrong(name: str, objective: str, solver: str, value: float) -> None:
    if not FAULTS.is_dir():
        pytest.skip("the collected inputs are not here")
    drawn = talos_opt.read(FAULTS / f"{name}.json", objective=objective)
    result = talos_opt.solve(drawn, solver, time_limit=20, workers=2)
    assert result.status is Status.OPTIMAL
    assert result.value == pytest.approx(value, rel=1e-6)
    assert not any("early" in note for note in result.notes)


def forbidding() -> Problem:
    """Three models of four ops, with 1e9 where the CPU must not."""
    models = {
        f"m{j}": [
            op(f"a{j}", {"cpu": 1.1 + j / 7, "gpu": 0.7}),
            op(f"b{j}", {"cpu": 1e9, "gpu": 0.3}, f"a{j}"),
            op(f"c{j}", {"cpu": 0.4, "gpu": 0.9 + j / 9}, f"a{j}"),
            op(f"d{j}", {"cpu": 0.6, "gpu": 0.6}, f"b{j} c{j}"),
        ]
        for j in range(3)
    }
    return problem(models, "cpu0 gpu0", [link("cpu gpu", 0.2)])


def test_a_time_of_1e9_costs_no_proof() -> None:
    result = talos_opt.solve(forbidding(), "auto", time_limit=30, workers=2)
    assert result.status is Status.OPTIMAL
    assert result.value == pytest.approx(8.7)


def test_a_peak_that_nothing_keeps_is_infeasible() -> None:
    """Times do not matter to whether there is a schedule, so none are looked at."""
    names = ["o0", "o1", "o2", "o3", "o4"]
    sizes = [(2, 2, 0), (2, 2, 0), (1, 1, 0), (2, 2, 1), (0, 1, 0)]
    inputs = ["", "o0", "", "o2", "o0 o1 o3"]
    times = [0.3, 1 / 3, 0.3, 0.30000000000000004, 0.35236852466107704]
    ops = [
        Op(
            name,
            {"cpu": time, "gpu": 1.7 * time},
            op("x", 1, weights=w, output=o, workspace=x).memory,
            op("x", 1, read).inputs,
            colocate="h" if name in ("o0", "o1", "o2") else None,
            devices=("cpu",) if name == "o3" else None,
        )
        for name, (w, o, x), read, time in zip(names, sizes, inputs, times, strict=True)
    ]
    devices = [device("cpu0", 11), device("gpu0", 6, copy_engine=False)]
    drawn = problem({"m": ops}, devices, [link("cpu0 gpu0", 0.0)], rule="peak")
    assert brute_force(drawn) is None
    result = talos_opt.solve(drawn, "auto", time_limit=20, workers=2, explain=False)
    assert result.status is Status.INFEASIBLE


@pytest.mark.parametrize("weight", [1e-12, 1.0, 1e9])
def test_weights_of_any_size_are_kept(weight: float) -> None:
    models = {f"m{j}": [op(f"a{j}", {"gpu": 2}), op(f"b{j}", {"gpu": 1}, f"a{j}")] for j in "xyz"}
    drawn = scaled(problem(models, "gpu0"), 1.0, weight)
    grid = make_grid(drawn)
    assert grid.weights_exact
    assert grid.weights == (1, 1, 1)
    assert grid.exact


def test_awkward_weights_are_proven_on_a_finer_grid() -> None:
    """31 bits for weights and times together leave a gap of more than 1e-6."""
    models = {f"m{j}": [op(f"a{j}", {"gpu": 2.1 + j / 7})] for j in range(4)}
    weights = {"m0": 0.7182818, "m1": 1.41421356, "m2": 3.14159265, "m3": 0.57721566}
    drawn = problem(models, "gpu0", weight=weights)
    truth = brute_force(drawn)
    assert truth is not None
    assert make_grid(drawn, truth[0]).loss(drawn) > 1e-6 * truth[0]
    run, _ = run_solver("cpsat", drawn)
    assert run.value == pytest.approx(truth[0], rel=1e-9)
    assert run.proven


# ---- CP-SAT itself -------------------------------------------------------------------------


def test_readers_of_an_op_that_may_be_elsewhere_have_room() -> None:
    """8 long here and 4 elsewhere, read by two ops here that end by 25: it must go elsewhere.

    CP-SAT 9.15 calls this infeasible where the op's interval ends at the variable that its readers
    follow, with and without presolve.
    """
    reader = {"cpu": 9.0}
    ops = [
        op("a", {"cpu": 8.0, "gpu": 4.0}, devices=None),
        op("b", reader, "a"),
        op("c", {"cpu": 4.0}, "a"),
    ]
    drawn = problem(ops, "cpu0 gpu0", objective="makespan", release={"m": 6.0})
    for limit in range(23, 28):
        formulation = SequencingFormulation(
            cp, drawn, make_grid(drawn, float(limit)), float(limit), lambda: False
        )
        formulation.build()
        for presolve in (True, False):
            solver = backend.make_solver(cp)
            solver.parameters.num_workers = 1
            solver.parameters.cp_model_presolve = presolve
            assert solver.solve(formulation.model) == cp.OPTIMAL


# ---- cross-checks --------------------------------------------------------------------------


def built(drawn: Problem, run: Run) -> PlacementFormulation:
    formulation = SequencingFormulation(
        cp, drawn, make_grid(drawn, run.value), run.value, lambda: False
    )
    formulation.build()
    return formulation


def test_a_second_opinion_refutes_what_is_not_so_and_nothing_else() -> None:
    drawn = released()
    run, _ = run_solver("heft", drawn)
    formulation = built(drawn, run)
    solver = backend.make_solver(cp)
    assert solver.solve(formulation.model) == cp.OPTIMAL
    right = SimpleNamespace(objective_value=solver.objective_value, wall_time=0.5)
    wrong = SimpleNamespace(objective_value=solver.objective_value + 1, wall_time=0.5)
    assert second_opinion(cp, right, cp.OPTIMAL, formulation, run) is None
    found = second_opinion(cp, wrong, cp.OPTIMAL, formulation, run)
    assert found is not None
    assert len(found.start) == 3
    assert second_opinion(cp, right, cp.INFEASIBLE, formulation, run) is not None


@pytest.mark.notes(r"refuted by a search without presolve")
def test_a_refuted_proof_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    from talos_opt.solvers.cpsat import search

    drawn = released()
    genuine = search.second_opinion

    def refute(cp_: object, first: object, status: object, formulation: object, run: Run) -> object:
        claimed = SimpleNamespace(objective_value=first.objective_value + 1, wall_time=0.5)  # type: ignore[attr-defined]
        return genuine(cp_, claimed, status, formulation, run)  # type: ignore[arg-type]

    monkeypatch.setattr(search, "second_opinion", refute)
    run, verdict = run_solver("cpsat", drawn)
    assert verdict.status is Status.FEASIBLE
    assert run.lower_bound == run.forced
    assert any("refuted" in note for note in run.notes)


def test_a_formulation_that_cuts_off_its_incumbent_is_a_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ops = [op(name, {"gpu": time}) for name, time in (("a", 2), ("b", 3), ("c", 4))]
    drawn = problem(ops, "gpu0", objective="makespan")  # nothing but a sum: no path shows it
    run, _ = run_solver("heft", drawn)
    assert run.best is not None
    sound = built(drawn, run)
    hint(sound, run.best)
    require_incumbent(cp, sound, run.best, run.value, 0.0)
    genuine = Grid.ticks
    monkeypatch.setattr(Grid, "ticks", lambda self, time: genuine(self, time) + 1)
    broken = built(drawn, run)
    hint(broken, run.best)
    with pytest.raises(InternalError, match="no place for a feasible schedule"):
        require_incumbent(cp, broken, run.best, run.value, 0.0)


# ---- random formulations, and the time that is left ----------------------------------------


@pytest.mark.notes(r"from the rounded grid was dropped")
@pytest.mark.parametrize("solver", ["cpsat", "relax"])
def test_random_formulations(solver: str) -> None:
    """A little of what benchmarks/formulations.py runs."""
    for seed in range(40):
        drawn = make_problem(seed)
        found = list(judge(drawn, optimum(drawn), solver, 20.0))
        assert [one for one in found if not one.startswith(("note", "unproven"))] == [], seed


def test_small_graphs_have_turns_as_long_as_there_is_time() -> None:
    small = problem([op("a", 1), op("b", 2, "a")])
    turns = [stage.solver for stage in itertools.islice(auto.stages(small), 12)]
    assert {"cpsat", "dp", "relax", "fast", "lns"} <= set(turns[:6])
    assert turns.count("cpsat") > 2


def test_a_release_that_an_exact_grid_has_a_little_late() -> None:
    """Found by benchmarks.trust (seed 12, problem 96,911): a bound of six ulps too much."""
    first = Op("op0", {"gpu": 0.0, "cpu": 256.0}, memory=Memory(4096, 8192))
    second = Op("op0", {"gpu": 256.0, "cpu": 256.0}, memory=Memory(0, 16384, 8192))
    models = (
        Model("m0", (first,), weight=3.0000000000000003e-13, release=256.0),
        Model("m1", (second,), weight=0.0, release=207.816699616723),
    )
    devices = (Device("gpu0", "gpu", 28672, copy_engine=False), Device("cpu0", "cpu"))
    late = Problem(Graph("late", models, "us"), Cluster(devices))
    result = talos_opt.solve(late, "cpsat", time_limit=10.0, workers=1)
    assert result.status is Status.OPTIMAL
    assert result.value == pytest.approx(256.0 * 3.0000000000000003e-13, rel=1e-12)
