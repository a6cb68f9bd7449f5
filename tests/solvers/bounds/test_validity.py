"""No bound exceeds the optimum, on random problems with every feature of the model."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.metrics import objective_value
from talos_opt.core.problem import MemoryRule, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.solvers import registry
from talos_opt.solvers.bounds.diagram import Diagrams
from talos_opt.solvers.bounds.path_memory import PathMemory
from talos_opt.solvers.run import Run
from tests.naive import best_schedule, brute_force
from tests.strategies import problems

CLOSE = 1e-6
TIMED = ("toct", "makespan")
#: Little but memory, transfers and colocation: what these bounds argue about.
CORE = {
    "objectives": TIMED,
    "peak": False,
    "serial": False,
    "no_copy_engine": False,
    "slots": False,
    "releases": False,
    "pins": False,
    "max_models": 1,
    "traffic": True,
}


def never() -> bool:
    return False


def assert_holds(memory: PathMemory, optimum: float) -> None:
    assert memory.bound() <= optimum * (1 + CLOSE) + CLOSE


@given(problems(max_ops=5, objectives=TIMED))
def test_path_memory_never_exceeds_the_optimum(problem: Problem) -> None:
    expected = brute_force(problem)
    memory = PathMemory(problem)
    memory.improve()
    if expected is not None:
        assert_holds(memory, expected[0])


@given(problems(max_ops=6, **CORE))
def test_path_memory_never_exceeds_the_optimum_of_core_problems(problem: Problem) -> None:
    expected = brute_force(problem)
    memory = PathMemory(problem)
    memory.improve()
    if expected is not None:
        assert_holds(memory, expected[0])


@given(problems(max_ops=5, objectives=TIMED), st.sampled_from((4, 100)), st.booleans())
def test_diagrams_never_exceed_the_optimum(problem: Problem, most: int, limited: bool) -> None:
    check_diagrams(problem, most, limited)


@given(problems(max_ops=6, **CORE), st.sampled_from((4, 6, 100)), st.booleans())
def test_diagrams_never_exceed_the_optimum_of_core_problems(
    problem: Problem, most: int, limited: bool
) -> None:
    check_diagrams(problem, most, limited)


def check_diagrams(problem: Problem, most: int, limited: bool) -> None:
    expected = brute_force(problem)
    if expected is None:
        return
    memory = PathMemory(problem)
    memory.improve()
    diagrams = Diagrams(memory)
    for _ in range(2):
        diagrams.improve(expected[0] if limited else math.inf, most, never)
        assert_holds(memory, expected[0])


@given(problems(max_ops=5, objectives=TIMED), st.sampled_from((4, 100)), st.booleans())
def test_an_optimal_schedule_keeps_every_head_and_tail(
    problem: Problem, most: int, limited: bool
) -> None:
    schedule = best_schedule(problem)
    if schedule is None:
        return
    value = objective_value(problem, schedule)
    memory = PathMemory(problem)
    memory.improve()
    assert_respects(memory, schedule)
    Diagrams(memory).improve(value if limited else math.inf, most, never)
    assert_respects(memory, schedule)


def assert_respects(memory: PathMemory, schedule: Schedule) -> None:
    arrays = memory.arrays
    kind = np.zeros(arrays.device_count, dtype=np.int64)
    for c, members in enumerate(memory.classes.members):
        kind[members] = c
    ops = np.arange(arrays.op_count)
    done = arrays.release.copy()
    np.maximum.at(done, arrays.model, schedule.end)
    head = memory.head[ops, kind[schedule.device]]
    tail = memory.tail[ops, kind[schedule.device]]
    assert (schedule.end >= head - CLOSE).all()
    assert (done[arrays.model] - schedule.end >= tail - CLOSE).all()
    assert (done >= memory.completions() - CLOSE).all()


@given(problems(max_ops=5, objectives=TIMED), st.booleans())
def test_relax_never_exceeds_the_optimum(problem: Problem, warm: bool) -> None:
    found = best_schedule(problem)
    run = Run(problem, time_limit=30.0, workers=2)
    if found is not None and warm:
        run.offer(found, "warm start")
    registry.create("relax").solve(problem, run)
    if found is None:
        assert run.best is None
    else:
        value = objective_value(problem, found)
        assert run.lower_bound <= value * (1 + CLOSE) + CLOSE
        assert run.value >= value * (1 - CLOSE) - CLOSE


@pytest.mark.parametrize("rule", MemoryRule)
def test_relax_says_that_nothing_fits(rule: MemoryRule) -> None:
    from talos_opt.core.result import Status
    from tests.builders import device, op
    from tests.builders import problem as make

    ops = [op("a", weights=3), op("b", 1, "a", weights=3), op("c", 1, "b", weights=3)]
    problem = make(ops, [device("cpu0", 4), device("gpu0", 4)], rule=rule, objective="makespan")
    run = Run(problem, time_limit=20.0, workers=1)
    verdict = registry.create("relax").solve(problem, run)
    assert verdict.status is Status.INFEASIBLE
