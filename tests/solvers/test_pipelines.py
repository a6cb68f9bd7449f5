"""Steps of pipelines: optima against all placements, bounds, memory, and who refuses what."""

from __future__ import annotations

import inspect
import sys
from dataclasses import replace

import pytest
from hypothesis import assume, given

import talos_opt
from talos_opt.core.errors import GraphError, UnsupportedError
from talos_opt.core.pipelining.step import step_memory
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.pipelines.blocks import StepBlocks
from talos_opt.solvers.pipelines.bounds import path_bound, rounds_problem
from talos_opt.solvers.pipelines.chains import ChainSearch
from talos_opt.testing.reference.steps import best_step
from tests.builders import device, link, op, problem
from tests.strategies import costly, problems

CLOSE = 1e-6


def training(times: str, names: str, *, send: float = 0.0, **pipeline: object) -> Problem:
    """A chain of layers, backward twice as long as forward, in stages that are ordered."""
    lengths = [float(text) for text in times.split()]
    ops = [
        op(f"f{k}", time, f"f{k - 1}" if k else "", output=4, colocate=f"g{k}")
        for k, time in enumerate(lengths)
    ]
    for k in reversed(range(len(lengths))):
        read = f"f{k}" if k == len(lengths) - 1 else f"f{k} b{k + 1}"
        ops.append(op(f"b{k}", 2 * lengths[k], read, phase="backward", colocate=f"g{k}", output=4))
    asked = problem(ops, names, [link("gpu gpu", send)]).with_objective("step")
    order = {"microbatches": 4, "schedule": "1f1b"} | pipeline
    return asked.with_stages("ordered").with_pipeline(order)


@costly
@given(problems(max_ops=5, pipelines=True))
def test_optima_are_those_of_all_placements(asked: Problem) -> None:
    expected = best_step(asked)
    run = Run(asked, time_limit=60.0, workers=1)
    status = registry.create("pipeline").solve(asked, run).status
    if expected is None:
        assert status is Status.INFEASIBLE
        assert run.best is None
    else:
        assert run.best is not None
        assert run.value == pytest.approx(expected[0], rel=CLOSE)
        assert run.lower_bound == pytest.approx(expected[0], rel=CLOSE)


@given(problems(max_ops=5, pipelines=True, memory=False, pins=False, no_copy_engine=False))
def test_bounds_are_below_all_placements(drawn: Problem) -> None:
    asked = drawn.with_objective("step")
    expected = best_step(asked)
    assume(expected is not None)
    assert expected is not None
    assert path_bound(asked) <= expected[0] * (1 + 1e-12)
    rounds = rounds_problem(asked)
    found = talos_opt.solve(rounds, "dp", time_limit=5.0, workers=1, explain=False)
    assert found.lower_bound <= expected[0] * (1 + 1e-9)


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
def test_equal_layers_are_shared_equally(schedule: str) -> None:
    asked = training("1 1 1 1", "gpu0 gpu1 gpu2 gpu3", microbatches=8, schedule=schedule)
    result = talos_opt.solve(asked, time_limit=20.0)
    assert result.status is Status.OPTIMAL
    assert result.value == 3 * (8 + 4 - 1)


def test_few_micro_batches_want_few_stages() -> None:
    one = talos_opt.solve(training("1 1 1 1", "gpu0 gpu1", send=3.0, microbatches=1))
    assert one.value == 12  # all on one device: nothing is sent
    many = talos_opt.solve(training("1 1 1 1", "gpu0 gpu1", send=3.0, microbatches=16))
    assert many.value == 150  # two in flight, and 6 for a way there and back; 192 on one device


def test_memory_in_flight_decides_where_stages_end() -> None:
    # Each layer keeps 4 bytes of each micro-batch; the first of two stages has two in flight.
    given = training("1 1 1 1", "gpu0 gpu1", schedule="1f1b")
    small = [device("gpu0", memory=20), device("gpu1", memory=100)]
    tight = replace(
        given, cluster=replace(given.cluster, devices=tuple(small)), memory_rule="pipeline"
    )
    result = talos_opt.solve(tight, time_limit=20.0)
    assert result.schedule is not None
    held = step_memory(tight, result.schedule.device)
    assert (held <= tight.arrays.capacity).all()
    ample = talos_opt.solve(given, time_limit=20.0)
    assert result.value > ample.value
    flood = tight.with_pipeline({"microbatches": 4, "schedule": "gpipe"})
    alone = talos_opt.solve(flood, time_limit=20.0)
    assert alone.schedule is not None
    assert set(alone.schedule.device.tolist()) == {1}  # four in flight fit nowhere else


def test_what_a_step_needs_to_know() -> None:
    given = training("1 1", "gpu0 gpu1")
    with pytest.raises(GraphError, match=r"objective step needs .*--pipeline 1f1b:8"):
        talos_opt.solve(given.with_pipeline(None))
    with pytest.raises(GraphError, match="objective step needs stages that are acyclic or ordered"):
        talos_opt.solve(given.with_stages("any"))
    with pytest.raises(GraphError, match="pipeline is that of steps, objective toct is"):
        talos_opt.solve(replace(given, objective="toct", memory_rule="pipeline"))
    with pytest.raises(GraphError, match="microbatches is 0, expected a whole number of 1"):
        given.with_pipeline({"microbatches": 0, "schedule": "gpipe"})
    with pytest.raises(GraphError, match="schedule is 'zb', expected one of gpipe, 1f1b"):
        given.with_pipeline({"microbatches": 2, "schedule": "zb"})
    many = training("1 1 1", "gpu0 gpu1 gpu2", microbatches=50_000, schedule="gpipe")
    with pytest.raises(GraphError, match=r"pipeline\.microbatches: .*at most 43690 on 3 device"):
        talos_opt.solve(many)
    with pytest.raises(UnsupportedError, match="objective step; use pipeline or auto"):
        talos_opt.solve(given, "cpsat")


@pytest.mark.parametrize("info", talos_opt.list_solvers(), ids=lambda info: info.name)
def test_others_refuse_by_name(info: registry.SolverInfo) -> None:
    asked = training("1 1", "gpu0 gpu1")
    held = replace(asked, objective="bottleneck", memory_rule="pipeline")
    solver = registry.create(info.name)
    if info.name in ("auto", "pipeline"):
        assert solver.covers(asked)
        assert solver.covers(held)
        return
    with pytest.raises(UnsupportedError, match="objective step"):
        solver.require(asked)
    # A device without a limit is no reason to be silent about the rule.
    with pytest.raises(UnsupportedError, match="memory_rule pipeline"):
        solver.require(held)


def test_plain_problems_are_not_for_it() -> None:
    plain = problem([op("a"), op("b", 1, "a")], "gpu0 gpu1", objective="bottleneck")
    with pytest.raises(UnsupportedError, match="problems without a pipeline"):
        talos_opt.solve(plain, "pipeline")


def test_chains_may_be_longer_than_calls_nest() -> None:
    names = " ".join(f"gpu{k}" for k in range(60))
    asked = training("1 " * 60, names, microbatches=2, schedule="1f1b")
    asked = asked.with_stages({"rule": "ordered", "use_all": True})
    search = ChainSearch(asked, StepBlocks(asked), lambda home: 1.0, lambda: False)
    most = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 50)
    try:
        _, home = next(search.run(1e6))
    finally:
        sys.setrecursionlimit(most)
    assert home.tolist() == list(range(60))
