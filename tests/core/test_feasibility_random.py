"""`check` against the naive checker, on schedules that are feasible, almost so, or not at all."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import assume, event, given
from hypothesis import strategies as st

from talos_opt.core.errors import GraphError
from talos_opt.core.feasibility import check
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import MemoryDeadlockError, simulate
from talos_opt.core.transfers import NoRouteError
from tests.mutations import mutate, relax
from tests.naive import best_schedule, naive_check
from tests.strategies import large_problems, placed_problems, problems

Placed = tuple[Problem, list[int], list[int]]
seeds = st.integers(0, 2**32 - 1)


def agree(problem: Problem, schedule: Schedule) -> None:
    found = {item.rule for item in check(problem, schedule)}
    naive = {line.split(":")[0] for line in naive_check(problem, schedule)}
    for rule in found or {"feasible"}:
        event(rule)
    if "placement" in found:  # nothing else is looked at; an op too large for its device is one
        assert naive & {"placement", "memory"}
    elif (
        "transfer" in found
    ):  # how much memory a transfer fills that should not be is anyone's guess
        assert found - {"memory"} == naive - {"memory"}
    else:
        assert found == naive


def relaxed_schedule(placed: Placed, rng: random.Random) -> Schedule | None:
    problem, device, priority = placed
    try:
        return simulate(relax(problem, rng), np.array(device), priority)
    except (GraphError, NoRouteError, MemoryDeadlockError):
        return None


@given(placed_problems(max_ops=7, stages=True), seeds)
def test_agreement_on_schedules_that_know_only_some_limits(placed: Placed, seed: int) -> None:
    schedule = relaxed_schedule(placed, random.Random(seed))
    assume(schedule is not None)
    agree(placed[0], schedule)


@given(placed_problems(max_ops=7), seeds)
def test_agreement_on_mutated_schedules(placed: Placed, seed: int) -> None:
    rng = random.Random(seed)
    schedule = relaxed_schedule(placed, rng)
    assume(schedule is not None)
    for _ in range(6):
        changed = schedule
        for _ in range(rng.randint(1, 2)):
            changed = mutate(changed, placed[0], rng)
        agree(placed[0], changed)


@given(problems(max_ops=4, stages=True), seeds)
def test_agreement_around_the_optimum(problem: Problem, seed: int) -> None:
    schedule = best_schedule(problem)
    assume(schedule is not None)
    assert naive_check(problem, schedule) == []
    assert check(problem, schedule) == ()
    rng = random.Random(seed)
    for _ in range(6):
        agree(problem, mutate(schedule, problem, rng))


@given(placed_problems(large_problems(max_ops=30)), seeds)
def test_agreement_on_larger_schedules(placed: Placed, seed: int) -> None:
    rng = random.Random(seed)
    schedule = relaxed_schedule(placed, rng)
    assume(schedule is not None)
    agree(placed[0], schedule)
    agree(placed[0], mutate(schedule, placed[0], rng))
