"""Random problems of which a part has started: a schedule of some, stopped at some moment."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

from talos_opt.core.errors import InputError
from talos_opt.core.feasibility import check
from talos_opt.core.problem import Problem
from talos_opt.core.replanning import MoveCost, Replanning, freeze, join_models
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import MemoryDeadlockError, simulate
from talos_opt.core.transfers import NoRouteError
from talos_opt.testing.drawing import draw_problem

#: What may have started knows times.
OBJECTIVES = ("toct", "makespan")


def draw_replanning(rng: random.Random, count: int, **features: Any) -> Replanning | None:
    """Draw what is left of a random schedule of up to so many ops; None where there is none."""
    problem = draw_problem(rng, count, **{"objectives": OBJECTIVES, **features})
    if problem is None:
        return None
    models = problem.graph.models
    joins = len(models) > 1 and rng.random() < 0.3
    first = problem
    if joins:
        graph = dataclasses.replace(problem.graph, models=tuple(models)[:-1])
        first = dataclasses.replace(problem, graph=graph)
    running = _schedule(rng, first)
    if running is None:
        return None
    moment = _moment(rng, running)
    whole = first
    if joins:
        last = dataclasses.replace(problem.graph, models=tuple(models)[-1:])
        whole = join_models(first, [dataclasses.replace(problem, graph=last)], moment)
    ids = problem.device_ids
    without = (rng.choice(ids),) if len(ids) > 1 and rng.random() < 0.25 else ()
    costs = (None, None, MoveCost(0.5), MoveCost(0.25, 1.0), MoveCost(0.3))
    try:
        return freeze(whole, running, moment, without=without, move_cost=rng.choice(costs))
    except InputError:  # nowhere to go without the device
        return None


@st.composite
def replannings(draw: st.DrawFn, *, max_ops: int = 5, **features: Any) -> Replanning:
    """Draw what is left of a random schedule."""
    rng = random.Random(draw(st.integers(0, 2**32 - 1)))
    for _ in range(20):
        found = draw_replanning(rng, rng.randint(2, max_ops), **features)
        if found is not None:
            return found
    reject()
    raise AssertionError("unreachable")


def _schedule(rng: random.Random, problem: Problem) -> Schedule | None:
    """Return a feasible schedule of a random placement."""
    arrays = problem.arrays
    if not arrays.allowed.any(axis=1).all():
        return None
    for _ in range(4):
        home = np.array([rng.choice(np.flatnonzero(row).tolist()) for row in arrays.allowed])
        device = home[arrays.group]
        priority = np.array([rng.random() for _ in device])
        try:
            found = simulate(problem, device, priority, insertion=rng.random() < 0.5)
        except (MemoryDeadlockError, NoRouteError):
            continue
        if not check(problem, found):
            return found
    return None


def _moment(rng: random.Random, running: Schedule) -> float:
    """Return a moment at which something happens, or between two of them."""
    moves = running.transfers
    parts = [running.start, running.end, moves.start, moves.end]
    events = sorted({0.0, *np.concatenate(parts).tolist()})
    at = rng.randrange(len(events))
    if rng.random() < 0.4 and at + 1 < len(events):
        return (events[at] + events[at + 1]) / 2
    return events[at]
