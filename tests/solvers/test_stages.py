"""Every solver keeps the rule for stages, or refuses it by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import talos_opt
from talos_opt.core.errors import UnsupportedError
from talos_opt.core.graph import Memory
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.shared.splits.search import SplitSearch
from talos_opt.testing.drawing import ALL_OBJECTIVES
from tests.builders import device, op, problem
from tests.clocks import Stopwatch
from tests.naive import brute_force
from tests.strategies import costly, problems

KEEP = ("auto", "cpsat", "dp", "fast", "ilp", "lns", "relax", "single")
CLOSE = 1e-6


def run_solver(name: str, asked: Problem) -> tuple[Run, Status]:
    """Run one solver alone, without the root bounds."""
    run = Run(asked, time_limit=60.0, workers=1)
    return run, registry.create(name).solve(asked, run).status


@costly
@given(problems(max_ops=4, objectives=ALL_OBJECTIVES, stages=True))
def test_cpsat_agrees_with_brute_force(asked: Problem) -> None:
    expected = brute_force(asked)
    run, status = run_solver("cpsat", asked)
    if expected is None:
        assert status is Status.INFEASIBLE
        assert run.best is None
    else:
        assert run.best is not None
        assert run.value == pytest.approx(expected[0], rel=CLOSE, abs=CLOSE)
        assert run.lower_bound == pytest.approx(expected[0], rel=CLOSE, abs=CLOSE)


@costly
@given(problems(max_ops=4, peak=False, serial=False, stages=True))
def test_ilp_agrees_with_brute_force(asked: Problem) -> None:
    expected = brute_force(asked)
    run, status = run_solver("ilp", asked)
    if expected is None:
        assert status is Status.INFEASIBLE
    else:
        assert run.value == pytest.approx(expected[0], rel=CLOSE, abs=CLOSE)
        assert run.lower_bound <= expected[0] * (1 + CLOSE) + CLOSE


@costly
@given(problems(max_ops=4, objectives=ALL_OBJECTIVES, stages=True), st.sampled_from(KEEP))
def test_answers_keep_the_rule_and_bounds_hold(asked: Problem, name: str) -> None:
    assume(registry.create(name).covers(asked))
    expected = brute_force(asked)
    result = talos_opt.solve(asked, name, time_limit=0.1, workers=1, explain=False)
    if expected is None:
        assert result.schedule is None
    else:
        assert result.status is not Status.INFEASIBLE
        assert result.lower_bound <= expected[0] * (1 + CLOSE) + CLOSE
        assert result.schedule is None or result.value >= expected[0] - CLOSE
        assert result.schedule is None or asked.keeps_stages(result.schedule.device)


@pytest.mark.parametrize("info", talos_opt.list_solvers(), ids=lambda info: info.name)
def test_others_refuse_by_name(info: registry.SolverInfo) -> None:
    asked = problem([op("a"), op("b", inputs="a")], "cpu0 gpu0").with_stages("acyclic")
    if info.name == "pipeline":  # it covers nothing without one
        return
    if info.name in KEEP:
        assert registry.create(info.name).covers(asked)
        return
    with pytest.raises(UnsupportedError, match=f"solver '{info.name}' does not cover stages"):
        talos_opt.solve(asked, info.name)


def layers(*weights: float) -> list[talos_opt.Op]:
    """A chain of ops, one each."""
    names = [f"l{k}" for k in range(len(weights))]
    return [
        op(name, weight, names[k - 1] if k else "")
        for k, (name, weight) in enumerate(zip(names, weights, strict=True))
    ]


FOUR = "gpu0 gpu1 gpu2 gpu3"


def loaded(ops: list[talos_opt.Op], devices: object = FOUR) -> Problem:
    return problem(ops, devices, objective="bottleneck")  # type: ignore[arg-type]


#: Between two devices a tensor travels once, and each load is that of a stage.
PAIRS = {"max_devices": 2, "edge_bytes": False, "serial": False, "missing_routes": False}


@pytest.mark.reaches(0.1)
@costly
@given(
    problems(max_ops=4, objectives=("bottleneck",), max_models=1, stages=True, peak=False, **PAIRS)
)
def test_splits_are_exact_where_loads_are_those_of_stages(asked: Problem) -> None:
    assume(asked.stages.rule != "any" and asked.arrays.forward.all())
    expected = brute_force(asked)
    run, _ = run_solver("dp", asked)
    if expected is None:
        assert run.best is None
    else:
        assert run.best is not None
        assert run.value == pytest.approx(expected[0], rel=CLOSE)
        assert run.lower_bound == pytest.approx(expected[0], rel=CLOSE)


@costly
@given(problems(max_ops=4, objectives=("bottleneck",), stages=True))
def test_splits_never_bound_above_the_optimum(asked: Problem) -> None:
    assume(asked.stages.rule != "any")
    expected = brute_force(asked)
    assume(expected is not None)
    run, _ = run_solver("dp", asked)
    assert run.lower_bound <= expected[0] * (1 + CLOSE)


@pytest.mark.parametrize("solver", ["dp", "cpsat"])
def test_weights_that_four_stages_share(solver: str) -> None:
    chain = layers(0, 2, 0, 1, 1, 1, 1, 0, 0, 2, 0)
    assert talos_opt.solve(loaded(chain).with_stages("acyclic"), solver).value == 2
    tied = [replace(item, colocate="tied") if item.time["gpu"] == 2 else item for item in chain]
    assert talos_opt.solve(loaded(tied), "cpsat").value == 4
    # All that lies between the tied layers would be left and entered again: one stage holds it.
    result = talos_opt.solve(loaded(tied).with_stages("acyclic"), solver)
    assert (result.value, result.status) == (8, Status.OPTIMAL)


def test_use_all_leaves_no_device_empty() -> None:
    asked = loaded(layers(1, 1, 1, 1, 1)).with_stages({"rule": "acyclic", "use_all": True})
    result = talos_opt.solve(asked, "dp")
    assert result.value == 2
    assert set(result.placement.values()) == set(FOUR.split())
    assert talos_opt.solve(asked.with_stages("acyclic"), "dp").value == 2


def test_many_layers_within_memory() -> None:
    chain = [replace(item, memory=Memory(10)) for item in layers(*[1.0] * 94)]
    asked = loaded(chain, [device(f"gpu{k}", 124) for k in range(8)]).with_stages("acyclic")
    result = talos_opt.solve(asked, "dp")
    assert (result.value, result.status) == (12, Status.OPTIMAL)


@pytest.mark.parametrize("solver", ["dp", "cpsat", "ilp"])
def test_a_chain_in_order(solver: str) -> None:
    chain = layers(16.4, *[3.15] * 6, 16.4, *[4.2] * 6, 16.4)
    result = talos_opt.solve(loaded(chain).with_stages("ordered"), solver)
    assert result.value == pytest.approx(25.85)
    assert result.status is Status.OPTIMAL


def test_chunks_that_grow_go_through_ordered_devices() -> None:
    ops = [
        op(
            f"l{k}c{c}",
            1 + c / 4,
            " ".join([f"l{k - 1}c{c}"] * (k > 0) + [f"l{k}c{c - 1}"] * (c > 0)),
            colocate=f"l{k}",
        )
        for k in range(5)
        for c in range(3)
    ]
    asked = problem(ops, "gpu0 gpu1", objective="makespan").with_stages("ordered")
    result = talos_opt.solve(asked, "cpsat")
    # The first stage has two layers: after 2 x 1 the other one has 3 x (1 + 1.25 + 1.5) to do.
    assert (result.value, result.status) == (13.25, Status.OPTIMAL)


def test_idle_ops_join_their_neighbours_without_loss() -> None:
    wide = [op("in", 0, output=1), *layers(3, 1, 2)]
    wide += [op(f"s{k}", 0, "in", output=1) for k in range(12)]
    wide += [op("out", 1, "l2 " + " ".join(f"s{k}" for k in range(12)))]
    asked = loaded(wide, "gpu0 gpu1").with_stages("acyclic")
    search = SplitSearch(asked, np.full(2, 0.5))
    assert search.blocks.count < len(wide)
    assert search.run(1000, lambda: False).bound == pytest.approx(4)


def test_too_few_ops_for_all_devices_are_an_obstacle() -> None:
    asked = loaded(layers(1, 1, 1)).with_stages({"use_all": True})
    for solver in ("auto", "fast"):
        result = talos_opt.solve(asked, solver)
        assert result.status is Status.INFEASIBLE
        assert "forward op on each of 4 devices, and only 3 can be apart" in result.reason


@pytest.mark.parametrize("solver", ["dp", "cpsat", "ilp", "auto"])
def test_what_fits_in_no_order_is_infeasible(solver: str) -> None:
    big, small = Memory(6), Memory(3)
    chain = [
        replace(item, memory=size)
        for item, size in zip(layers(1, 1, 1, 1), (small, big, small, small), strict=True)
    ]
    asked = loaded(chain, [device("gpu0", 9), device("gpu1", 6)])
    assert talos_opt.solve(asked, "cpsat").schedule is not None
    assert talos_opt.solve(asked.with_stages("acyclic"), "dp").schedule is not None
    free = [device("gpu0", 6), device("gpu1", 9)]
    result = talos_opt.solve(loaded(chain, free).with_stages("ordered"), solver)
    assert result.status is Status.INFEASIBLE
    assert "stages" in result.reason


@pytest.mark.timing
def test_long_chains_are_made_ready_in_time() -> None:
    """No block is compared with all others: that took half a minute."""
    ops = [op(f"a{k}", 1, f"a{k - 1}" if k else "") for k in range(8_000)]
    asked = problem(ops, "gpu0 gpu1", objective="bottleneck").with_stages("acyclic")
    watch = Stopwatch()
    assert SplitSearch(asked, np.full(2, 0.5)).blocks.count == 8_000
    watch.check(8.0)
