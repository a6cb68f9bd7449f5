"""No bound exceeds the optimum, on random problems with every feature of the model."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from talos_opt.core.feasibility import check
from talos_opt.core.metrics import objective_value
from talos_opt.core.problem import Floats, MemoryRule, Problem
from talos_opt.core.result import Status
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from talos_opt.solvers.bounds.diagram import Diagrams
from talos_opt.solvers.bounds.joins import Joins
from talos_opt.solvers.bounds.mixed import mixed_bound
from talos_opt.solvers.bounds.path_memory import PathMemory
from talos_opt.solvers.bounds.root import quick_bound
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.budget import Budget
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.ilp.backend import Job
from talos_opt.solvers.ilp.highs import solve_highs
from talos_opt.solvers.relax.contents import Contents
from talos_opt.solvers.relax.covering import prove_by_contents
from talos_opt.solvers.relax.superblocks import (
    SuperblockFormulation,
    partitions,
    prove_bottleneck,
)
from tests.builders import device, link, op
from tests.builders import problem as make
from tests.naive import best_schedule, brute_force
from tests.strategies import costly, problems

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
    assume(expected is not None)
    assert_holds(memory, expected[0])


@given(problems(max_ops=6, **CORE))
def test_path_memory_never_exceeds_the_optimum_of_core_problems(problem: Problem) -> None:
    expected = brute_force(problem)
    memory = PathMemory(problem)
    memory.improve()
    assume(expected is not None)
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
    assume(expected is not None)
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
    assume(schedule is not None)
    value = objective_value(problem, schedule)
    memory = PathMemory(problem)
    memory.improve()
    assert_respects(memory, schedule)
    Diagrams(memory).improve(value if limited else math.inf, most, never)
    assert_respects(memory, schedule)


@given(problems(max_ops=5, objectives=TIMED), st.booleans())
def test_joins_never_exceed_the_optimum(problem: Problem, limited: bool) -> None:
    check_joins(problem, limited)


@costly
@given(problems(max_ops=6, **CORE), st.booleans())
def test_joins_never_exceed_the_optimum_of_core_problems(problem: Problem, limited: bool) -> None:
    check_joins(problem, limited)


@costly
@given(problems(max_ops=5, objectives=TIMED))
def test_loads_and_paths_never_exceed_the_optimum(problem: Problem) -> None:
    expected = brute_force(problem)
    assume(expected is not None)
    assert mixed_bound(problem) <= expected[0] * (1 + CLOSE) + CLOSE


def test_loads_and_paths_are_seen_together() -> None:
    """A chain that only the GPU does fast, beside work that fills it: neither alone shows it."""
    chain = [op(f"c{k}", {"cpu": 4, "gpu": 1}, f"c{k - 1}" if k else "") for k in range(6)]
    beside = [op(f"b{k}", {"cpu": 2, "gpu": 1}) for k in range(12)]
    problem = make([*chain, *beside], [device("cpu0"), device("gpu0")], objective="makespan")
    assert quick_bound(problem) < mixed_bound(problem) <= best_value(problem)


def best_value(problem: Problem) -> float:
    """Optimum, as CP-SAT proves it."""
    run = Run(problem, time_limit=30.0, workers=2)
    registry.create("cpsat").solve(problem, run)
    assert run.proven
    return run.value


def check_joins(problem: Problem, limited: bool) -> None:
    """Bound, heads and tails against an optimal schedule, whose value is never refuted."""
    schedule = best_schedule(problem)
    assume(schedule is not None)
    value = objective_value(problem, schedule)
    memory = PathMemory(problem)
    memory.improve()
    joins = Joins(memory)
    assert joins.improve(value if limited else math.inf)
    assert_respects(memory, schedule)
    assert_holds(memory, value)
    if joins.applies:
        arrays, origin = memory.arrays, float(memory.arrays.release.min())
        ops = np.arange(arrays.op_count)
        done = arrays.release.copy()
        np.maximum.at(done, arrays.model, schedule.end)
        head = joins.head[ops, schedule.device] + origin
        assert (schedule.start >= head - CLOSE).all()
        tail = joins.tail[ops, schedule.device]
        assert (done[arrays.model] - schedule.end >= tail - CLOSE).all()
    for upper in (value, 1.5 * value):
        assert joins.refute(upper) <= value * (1 + CLOSE) + CLOSE


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


@given(problems(max_ops=5), st.booleans())
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
    ops = [op("a", weights=3), op("b", 1, "a", weights=3), op("c", 1, "b", weights=3)]
    problem = make(ops, [device("cpu0", 4), device("gpu0", 4)], rule=rule, objective="makespan")
    run = Run(problem, time_limit=20.0, workers=1)
    verdict = registry.create("relax").solve(problem, run)
    assert verdict.status is Status.INFEASIBLE


@given(problems(max_ops=5, objectives=("bottleneck",), memory=False, traffic=True))
def test_superblocks_never_exceed_the_optimum(problem: Problem) -> None:
    check_superblocks(problem)


@given(problems(max_ops=5, objectives=("bottleneck",)))
def test_superblocks_never_exceed_the_optimum_with_memory(problem: Problem) -> None:
    check_superblocks(problem)


def check_superblocks(problem: Problem) -> None:
    """Each partition alone, and all together, against the optimal schedule."""
    schedule = best_schedule(problem)
    assume(schedule is not None)
    run = Run(problem, time_limit=20.0, workers=1)
    run.offer(schedule, "brute force")
    if run.value > 0:
        prove_bottleneck(problem, run, "relax")  # raises if a bound exceeds the optimum
        assert run.lower_bound <= run.value


@st.composite
def twins(draw: st.DrawFn) -> Problem:
    """Three identical devices, perhaps beside a host: what superblocks are made for."""
    count = draw(st.integers(3, 6))
    ops = []
    for i in range(count):
        inputs = draw(st.sets(st.integers(0, i - 1), max_size=2)) if i else set()
        ops.append(
            op(
                f"o{i}",
                {"gpu": draw(st.sampled_from((1, 2, 3))), "cpu": draw(st.sampled_from((4, 8)))},
                " ".join(f"o{k}" for k in sorted(inputs)),
                weights=draw(st.integers(0, 2)),
                output=draw(st.sampled_from((0, 1, 2))),
            )
        )
    room = draw(st.sampled_from((None, 8)))
    devices = [device(f"gpu{k}", room, copy_engine=False) for k in range(3)]
    host = draw(st.booleans())
    links = [link("gpu gpu", 0.0, draw(st.sampled_from((1.0, 4.0))))]
    if host:
        devices.append(device("cpu0"))
        links = [link("cpu gpu", 0.0, 2.0), link("gpu gpu", via="cpu0")]
    return make(ops, devices, links, objective="bottleneck")


@settings(max_examples=max(1, settings.default.max_examples // 6))  # all placements take a second
@given(twins(), st.sampled_from((1.0, 1.4)))
def test_contents_never_exceed_the_optimum_on_identical_devices(
    problem: Problem, above: float
) -> None:
    schedule = best_placement(problem)
    assume(schedule is not None)
    value = objective_value(problem, schedule)
    for prices in (np.ones(len(problem.ops)), 1.0 + np.arange(len(problem.ops))):
        check_contents(problem, value, above, prices)
    run = Run(problem, time_limit=2.0, workers=1)
    run.offer(schedule, "all placements")
    prove_by_contents(problem, run, "relax")  # raises if a bound exceeds the optimum


@given(
    problems(max_ops=5, objectives=("bottleneck",)),
    st.sampled_from((1.0, 1.4, 3.0)),
    st.lists(st.floats(0.01, 1.0), min_size=5, max_size=5),
)
def test_contents_never_exceed_the_optimum(
    problem: Problem, above: float, prices: list[float]
) -> None:
    schedule = best_schedule(problem)
    assume(schedule is not None)
    check_contents(problem, objective_value(problem, schedule), above, np.array(prices))


def check_contents(problem: Problem, value: float, above: float, prices: Floats) -> None:
    """Any prices, at any incumbent's value."""
    limit = value * above
    contents = Contents(problem, limit, never)
    if value <= 0 or not contents.covered:
        return
    for levels in (3, 40):
        whole = contents.whole(prices[: contents.parts], levels)
        fillings = contents.fill_all(whole, limit)
        assert fillings is not None
        assert contents.bound(whole, fillings, limit) <= value * (1 + CLOSE)


@costly
@given(twins())
def test_superblocks_never_exceed_the_optimum_on_identical_devices(problem: Problem) -> None:
    schedule = best_placement(problem)
    assume(schedule is not None)
    run = Run(problem, time_limit=20.0, workers=1)
    run.offer(schedule, "all placements")
    for partition in partitions(problem):
        formulation = SuperblockFormulation(problem, partition, run.value, never)
        assert solve_formulation(formulation) <= run.value * (1 + CLOSE)


def best_placement(problem: Problem) -> Schedule | None:
    """Return the best of all placements; the bottleneck knows no order."""
    arrays = problem.arrays
    best: Schedule | None = None
    for homes in product(*(np.flatnonzero(row).tolist() for row in arrays.allowed)):
        where = np.array(homes, dtype=np.int64)[arrays.group]
        schedule = simulate(problem, where, arrays.level)
        if check(problem, schedule):
            continue  # memory
        if best is None or objective_value(problem, schedule) < objective_value(problem, best):
            best = schedule
    return best


def solve_formulation(formulation: SuperblockFormulation) -> float:
    job = Job(
        formulation.write.program, Budget().within(20.0), 1e-9, 0, 1, never,
        lambda values: None, lambda bound: None,
    )  # fmt: skip
    outcome = solve_highs(job)
    assert outcome.bound is not None
    return outcome.bound * formulation.unit
