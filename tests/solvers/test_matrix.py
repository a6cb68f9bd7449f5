"""Every feature alone and every pair of them, with every solver, against brute force.

A solver covers a feature or refuses it by name; there is no third way.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest

import talos_opt
from talos_opt import Device, Problem, Result, UnsupportedError
from talos_opt.testing.drawing import OBJECTIVES, Features, draw_problem
from talos_opt.testing.judging import Truth, features, judge, judge_refusal, uncovered
from talos_opt.testing.reference.brute import exact_optimum
from talos_opt.testing.reference.flat import Flat, best_link

#: `pipeline` covers none of these.
SOLVERS = [info.name for info in talos_opt.list_solvers() if info.name != "pipeline"]
EXACT = ("auto", "cpsat", "dp", "ilp")
#: Go on until their limit unless the bound is met: each pair is for one of them.
LOCAL = ("fast", "lns", "large", "coarse", "shop")
OFF: dict[str, Any] = {item.name: False for item in fields(Features) if item.type == "bool"}


@dataclass(frozen=True)
class Feature:
    """What a problem may have: what `Features` turns it on, and whether it is there."""

    name: str
    on: dict[str, Any]
    is_there: Callable[[Problem], bool]

    def __str__(self) -> str:
        return self.name


def _limited(problem: Problem) -> bool:
    return any(device.memory is not None for device in problem.cluster.devices)


def _pairs(problem: Problem) -> list[tuple[int, int]]:
    count = range(len(problem.cluster.devices))
    return [(a, b) for a in count for b in count if a != b]


def _lacks_a_route(problem: Problem) -> bool:
    links = (best_link(problem.cluster, a, b) for a, b in _pairs(problem))
    return problem.cluster.links is not None and any(link is None for link in links)


def _shares_a_device(problem: Problem) -> bool:
    groups = [op.colocate for op in problem.ops if op.colocate is not None]
    return len(groups) > len(set(groups))


FEATURES = [
    Feature("static memory", {"memory": True, "tight": True},
            lambda p: p.memory_rule == "static" and _limited(p)),
    Feature("peak memory", {"memory": True, "tight": True, "peak": True},
            lambda p: "memory_rule peak" in features(p)),
    Feature("serial links", {"links": True, "serial": True},
            lambda p: "contention serial" in features(p) and bool(Flat(p).edges)),
    Feature("via", {"links": True, "via": True}, lambda p: "links via a device" in features(p)),
    Feature("no copy engine", {"links": True, "no_copy_engine": True},
            lambda p: not all(d.copy_engine for d in p.cluster.devices) and bool(Flat(p).edges)),
    Feature("slots", {"slots": True}, lambda p: any(d.slots > 1 for d in p.cluster.devices)),
    Feature("demands", {"slots": True, "demands": True},
            lambda p: any(op.slots > 1 for op in p.ops)),
    Feature("colocation", {"colocation": True}, _shares_a_device),
    Feature("pins", {"pins": True}, lambda p: any(op.devices for op in p.ops)),
    Feature("release", {"releases": True}, lambda p: any(m.release for m in p.graph.models)),
    Feature("zero times", {"zero_times": True},
            lambda p: any(0.0 in op.time.values() for op in p.ops)),
    Feature("unequal bytes", {"links": True, "edge_bytes": True},
            lambda p: "readers name different bytes" in features(p)),
    Feature("missing routes", {"links": True, "missing_routes": True}, _lacks_a_route),
    Feature("weight 0", {"weights": True},
            lambda p: any(m.weight == 0 for m in p.graph.models) and len(p.graph.models) > 1),
    Feature("device times", {"device_times": True, "absent_kinds": True},
            lambda p: len({key for op in p.ops for key in op.time}) > len(p.cluster.kinds)),
]  # fmt: skip

#: Each feature with itself and with those behind it.
CASES = [(a, b) for a in range(len(FEATURES)) for b in range(a, len(FEATURES))]


@functools.cache
def case(a: int, b: int) -> tuple[Problem, Truth]:
    """Draw a problem that has both features, and no other on purpose."""
    both = FEATURES[a], FEATURES[b]
    on = OFF | both[0].on | both[1].on
    number = CASES.index((a, b))
    objective = OBJECTIVES[number % 3]
    rng = random.Random(number)
    if {both[0].name, both[1].name} == {"static memory", "peak memory"}:
        both = both[1], both[1]  # only one rule can hold
    away = {both[0].name, both[1].name} == {"via", "missing routes"}
    for _ in range(20_000):
        problem = draw_problem(rng, rng.choice((3, 4)), **on)
        if problem is not None and away:
            problem = with_a_device_out_of_reach(problem)
        if problem is not None and all(feature.is_there(problem) for feature in both):
            problem = replace(problem, objective=objective)
            return problem, Truth(problem, exact_optimum(problem))
    raise AssertionError(f"no problem has {both[0]} and {both[1]}")


def with_a_device_out_of_reach(problem: Problem) -> Problem:
    """One more device that runs all ops, and that no link names."""
    devices = (*problem.cluster.devices, Device("far0", "far"))
    models = tuple(
        replace(
            model,
            ops=tuple(
                replace(op, time={**op.time, "far": min(op.time.values())}) for op in model.ops
            ),
        )
        for model in problem.graph.models
    )
    graph = replace(problem.graph, models=models)
    return replace(problem, graph=graph, cluster=replace(problem.cluster, devices=devices))


def limit_of(solver: str) -> float:
    return 0.05 if solver in LOCAL else 20.0


def answer(problem: Problem, solver: str) -> Result | UnsupportedError:
    limit = limit_of(solver)
    try:
        return talos_opt.solve(problem, solver, time_limit=limit, workers=1, explain=False)
    except UnsupportedError as refusal:
        return refusal


def is_asked(solver: str, number: int) -> bool:
    return solver not in LOCAL or LOCAL[number % len(LOCAL)] == solver


def test_most_cases_are_feasible_and_some_are_not() -> None:
    feasible = [case(a, b)[1].optimum is not None for a, b in CASES]
    assert 0.6 * len(CASES) < sum(feasible) < len(CASES)


@pytest.mark.parametrize("a", range(len(FEATURES)), ids=lambda a: str(FEATURES[a]))
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_feature_alone_and_beside_others(solver: str, a: int, compiled: None) -> None:
    for b in range(a, len(FEATURES)):
        if a != b and not is_asked(solver, CASES.index((a, b))):
            continue
        problem, truth = case(a, b)
        about = f"{solver}: {FEATURES[a]}, {FEATURES[b]}, {problem.objective}"
        missing = uncovered(problem, solver)
        result = answer(problem, solver)
        if isinstance(result, UnsupportedError):
            assert judge_refusal(problem, solver, str(result)) == [], about
            continue
        # What is infeasible by an obstacle needs no solver, hence no refusal.
        assert not missing or (truth.optimum is None and result.status == "infeasible"), about
        assert judge(truth, result) == [], about
        if solver in EXACT:
            assert result.status == ("infeasible" if truth.optimum is None else "optimal"), about
        assert math.isinf(result.lower_bound) == (result.status == "infeasible"), about
