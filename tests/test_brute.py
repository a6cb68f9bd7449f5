"""The brute force itself: against Fig. 1, against every schedule on a fine grid, against luck."""

from __future__ import annotations

import math
import random
from itertools import product

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from talos_opt.core.problem import Problem
from talos_opt.testing.reference.brute import Plan, as_schedule, make_plan, placements
from tests.builders import device, fig1, link, op, problem
from tests.naive import best_schedule, brute_force, naive_check, naive_metrics
from tests.strategies import problems

# ---- values known by hand ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objective", "value", "non_idling"), [("toct", 9, 10.5), ("makespan", 4.5, 6)]
)
def test_fig1(objective: str, value: float, non_idling: float) -> None:
    best = [1, 0, 1, 0, 1, 0]  # op1, op5 and op3 on the GPU; op4, op2 and op6 on the CPU
    assert brute_force(fig1(objective)) == (value, best)
    found = brute_force(fig1(objective), non_idling=True)
    assert found is not None
    assert found[0] == non_idling


def test_fig1_has_one_optimal_placement() -> None:
    given = fig1()
    values = []
    for where in placements(given):
        names = [given.device_ids[d] for d in where]
        pinned = [op(o.id, o.time, " ".join(e.op for e in o.inputs), devices=name)
                  for o, name in zip(given.ops, names, strict=True)]  # fmt: skip
        found = brute_force(problem({"m1": pinned[:3], "m2": pinned[3:]}))
        assert found is not None
        values.append(found[0])
    assert sorted(values)[0] == 9
    assert sorted(values)[1] > 9


@pytest.mark.parametrize(("room", "starts"), [(6, [0, 0, 3]), (5, [3, 0, 4])])
def test_waiting_can_save_memory(room: int, starts: list[float]) -> None:
    """The output of a is alive until r ends: too much beside what z works with, so a waits."""
    ops = [op("a", 1, output=4), op("z", 3, workspace=2), op("r", 1, "a z")]
    best = best_schedule(problem(ops, [device("cpu0", room, slots=2)], rule="peak"))
    assert best is not None
    assert best.start.tolist() == starts


def test_a_zero_time_op_can_wait_for_its_reader() -> None:
    """The output of p lives from p until r ends, so p waits for z though nothing takes time."""
    given = problem(
        {"m1": [op("p", 0, output=5), op("z", 3, workspace=5), op("r", 0, "p z")]},
        [device("cpu0", 5, slots=2)],
        rule="peak",
    )
    best = best_schedule(given)
    assert best is not None
    assert best.start.tolist() == [3, 0, 3]


def test_a_shared_link_delays() -> None:
    ops = [op("a", 1, output=2, devices="cpu0"), op("b", 1, output=2, devices="cpu0")]
    ops += [op("r", 1, "a b", devices="gpu0")]
    for contention, value in (("none", 4), ("serial", 6)):
        wire = [link("cpu gpu", 0, 1)]
        cpu = device("cpu0", slots=2)
        given = problem(ops, [cpu, device("gpu0")], wire, contention=contention)
        assert brute_force(given) == (value, [0, 0, 1])


def test_nothing_is_feasible() -> None:
    ops = [op("a", weights=3, devices="cpu"), op("b", weights=3, devices="cpu")]
    assert brute_force(problem(ops, [device("cpu0", 5)])) is None
    ops = [op("a", devices="cpu"), op("b", 1, "a", devices="gpu")]
    assert brute_force(problem(ops, links=[])) is None


# ---- every schedule on a grid --------------------------------------------------------------


def grid_value(problem: Problem, step: int, horizon: int) -> float | None:
    """Best value over all schedules whose times are multiples of a step, one check for each."""
    best: float | None = None
    for where in placements(problem):
        plan = make_plan(problem, where)
        if plan is None:
            continue
        for starts in product(range(0, horizon + 1, step), repeat=len(plan.acts)):
            answer = as_schedule(plan, where, starts)
            if not naive_check(problem, answer):
                value = naive_metrics(problem, answer)[problem.objective.value]
                assert isinstance(value, float)
                best = value if best is None else min(best, value)
    return best


def grid_of(problem: Problem) -> tuple[int, int, int]:
    """Step that all times are multiples of, a time by which all can be over, and the schedules."""
    horizon, count = 0, 0
    plans = [plan for where in placements(problem) if (plan := make_plan(problem, where))]
    times = [time for plan in plans for act in plan.acts for time in (act.time, act.release)]
    step = math.gcd(*times) or 1
    for plan in plans:
        longest = sum(act.time for act in plan.acts) + max(act.release for act in plan.acts)
        horizon = max(horizon, longest)
    for plan in plans:
        count += (horizon // step + 1) ** len(plan.acts)
    return step, horizon, count


@settings(max_examples=max(10, settings.default.max_examples // 2))
@given(problems(max_ops=3, max_devices=2))
def test_no_schedule_on_a_grid_is_better(problem: Problem) -> None:
    step, horizon, count = grid_of(problem)
    assume(count <= 4_000)
    found, best = brute_force(problem), grid_value(problem, step, horizon)
    event("infeasible" if found is None else "feasible")
    assert (None if found is None else found[0]) == best


# ---- luck ----------------------------------------------------------------------------------


@given(problems(max_ops=5))
def test_the_schedule_found_has_the_value_and_placement_claimed(problem: Problem) -> None:
    found, schedule = brute_force(problem), best_schedule(problem)
    assert (found is None) == (schedule is None)
    if found is not None and schedule is not None:
        assert naive_check(problem, schedule) == []
        assert naive_metrics(problem, schedule)[problem.objective.value] == found[0]
        assert schedule.device.tolist() == found[1]


@given(problems(max_ops=5), st.integers(0, 2**32 - 1))
def test_no_schedule_found_by_luck_is_better(problem: Problem, seed: int) -> None:
    """Random placements; each act starts at a random event, in a random order."""
    rng = random.Random(seed)
    found = brute_force(problem)
    for where in rng.sample(list(placements(problem)), k=min(4, len(list(placements(problem))))):
        plan = make_plan(problem, where)
        if plan is None:
            continue
        for _ in range(5):
            answer = as_schedule(plan, where, lucky_starts(plan, rng))
            if not naive_check(problem, answer):
                assert found is not None
                value = naive_metrics(problem, answer)[problem.objective.value]
                assert isinstance(value, float)
                assert value >= found[0]


def lucky_starts(plan: Plan, rng: random.Random) -> tuple[int, ...]:
    starts = [0] * len(plan.acts)
    ends = [0]
    for k in plan.order:
        act = plan.acts[k]
        ready = max([act.release, *(starts[b] + plan.acts[b].time for b in act.before)])
        starts[k] = rng.choice([ready, *(end for end in ends if end >= ready)])
        ends.append(starts[k] + act.time)
    return tuple(starts)
