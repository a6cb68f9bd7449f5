"""Random formulations that are hard for integer grids, their optima, and what a solver claims.

Awkward floats, large horizons, decimals, whole numbers and wide ratios of times; at most four ops.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.errors import GraphError
from talos_opt.core.graph import Graph, Input, Memory, Model, Op
from talos_opt.core.problem import MemoryRule, Objective, Problem
from talos_opt.core.result import Status
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.run import Run
from talos_opt.testing.reference.brute import brute_force

#: Relative error of the comparison: `optimal` allows 1e-6, float sums the rest.
OPTIMAL, ROUNDING = 2e-6, 1e-9

Times = Callable[[], float]


def time_maker(draw: random.Random) -> Times:
    """Return a maker of op times, all of one kind."""
    scale = draw.choice((1.0, 1.0, 1e-3, 1e3, 1e6, 1e9))
    odd = (1 / 3, math.pi / 3, math.sqrt(2), 0.1, 0.3000000001, 1 / 7, 2.0, 3.0)
    kinds: tuple[Times, ...] = (
        lambda: float(draw.randint(0, 6)),
        lambda: float(draw.randint(1, 10**6)),
        lambda: draw.randint(1, 60) / 10,
        lambda: draw.randint(1, 10**5) / 1000,
        lambda: draw.choice(odd),
        lambda: draw.uniform(0.1, 10),
        lambda: 10 ** draw.uniform(-3, 3),
        lambda: draw.choice((*odd, 1e9)),
        lambda: draw.choice((1e-4, 1e-4 / 3, 1.0, 2.0, 1e4 / 3)),
    )
    kind = draw.choice(kinds)
    return lambda: kind() * scale


def weights_maker(draw: random.Random) -> Times:
    """Return a maker of model weights, all of one kind."""
    scale = draw.choice((1.0, 1.0, 1e-6, 1e3))
    kinds: tuple[Times, ...] = (
        lambda: 1.0,
        lambda: float(draw.randint(0, 5)),
        lambda: draw.randint(1, 40) / 10,
        lambda: draw.choice((1 / 3, math.pi, 1.0, 0.7)),
        lambda: draw.uniform(0.01, 10),
    )
    kind = draw.choice(kinds)
    return lambda: kind() * scale


def _devices(draw: random.Random, scale: int) -> tuple[Device, ...]:
    return tuple(
        Device(
            f"d{d}",
            draw.choice(("cpu", "gpu")),
            memory=draw.choice((None, None, draw.randint(4, 16) * scale)),
            slots=draw.choice((1, 1, 2, 3)),
            copy_engine=draw.random() < 0.7,
        )
        for d in range(draw.choice((1, 2, 2, 2, 3)))
    )


def _links(draw: random.Random, devices: tuple[Device, ...], make: Times, scale: int) -> list[Link]:
    links = []
    for a in devices:
        for b in devices:
            if a.id < b.id and draw.random() < 0.85:
                latency = draw.choice((0.0, make() / 8))
                bandwidth = draw.choice((math.inf, 4e6 * scale / max(make(), 1e-9)))
                duplex = draw.choice(("full", "half"))
                links.append(Link(a.id, b.id, latency, bandwidth, duplex=duplex))
    return links


def make_problem(seed: int) -> Problem:
    """Return the problem of a seed."""
    draw = random.Random(seed)
    while True:
        try:
            return _draw_problem(draw)
        except GraphError:  # an op that fits no device: refused as input
            continue


def _draw_problem(draw: random.Random) -> Problem:
    make, weigh = time_maker(draw), weights_maker(draw)
    scale = draw.choice((1, 1, 1000, 2**30))  # of bytes
    devices = _devices(draw, scale)
    kinds = sorted({item.kind for item in devices})
    models = []
    left = draw.randint(1, 4)
    while left:
        count = draw.randint(1, left)
        left -= count
        ops = []
        for i in range(count):
            able = [kind for kind in kinds if draw.random() < 0.85] or kinds
            times = {kind: make() for kind in able}
            if draw.random() < 0.15:
                times[draw.choice(devices).id] = make()
            size = [scale * draw.choice((0, 1, 2, 3)) for _ in range(3)]
            inputs = tuple(
                Input(f"o{k}", draw.choice((None, scale * draw.randint(0, 3))))
                for k in range(i)
                if draw.random() < 0.5
            )
            slots = draw.choice((1, 1, 1, min(item.slots for item in devices)))
            group = draw.choice((None, None, None, "g"))
            ops.append(Op(f"o{i}", times, Memory(*size), inputs, slots=slots, colocate=group))
        release = draw.choice((0.0, 0.0, make() / 2))
        models.append(Model(f"m{len(models)}", tuple(ops), weight=weigh(), release=release))
    links = None
    if draw.random() < 0.6:
        links = tuple(_links(draw, devices, make, scale))
    contention = draw.choice(("none", "none", "serial"))
    return Problem(
        Graph("random", tuple(models), "us"),
        Cluster(devices, links, contention=contention),
        draw.choice([Objective.TOCT, Objective.MAKESPAN, Objective.BOTTLENECK, Objective.MEMORY]),
        draw.choice([MemoryRule.STATIC, MemoryRule.PEAK]),
    )


def optimum(problem: Problem) -> float | None:
    """Return the true optimum, None where there is none.

    The exhaustive search compares with an absolute tolerance: weights are brought near 1 for it.
    """
    models = problem.graph.models
    heaviest = max(model.weight for model in models) or 1.0
    if problem.objective is not Objective.TOCT:
        heaviest = 1.0
    scaled = tuple(replace(model, weight=model.weight / heaviest) for model in models)
    found = brute_force(replace(problem, graph=replace(problem.graph, models=scaled)))
    return None if found is None else found[0] * heaviest


def judge(problem: Problem, truth: float | None, solver: str, seconds: float) -> Iterator[str]:
    """Run a solver and yield what is wrong with its answer, or `unproven`."""
    run = Run(problem, time_limit=seconds, workers=1)
    try:
        verdict = registry.create(solver).solve(problem, run)
    except Exception as error:  # whatever it is, it is counted
        yield f"error: {type(error).__name__}: {str(error)[:120]}"
        return
    yield from (f"note: {note}" for note in run.notes)
    if truth is None:
        if run.best is not None:
            yield "schedule of the infeasible"
        elif verdict.status is not Status.INFEASIBLE:
            yield "unproven"
        return
    if verdict.status is Status.INFEASIBLE:
        yield "wrong infeasible"
    elif run.lower_bound > truth * (1 + ROUNDING):
        yield "wrong bound"
    if run.proven and run.value > truth * (1 + OPTIMAL):
        yield "wrong optimum"
    elif run.best is not None and run.value < truth * (1 - OPTIMAL):
        yield "brute force is wrong"
    elif not run.proven and solver != "relax":
        yield "unproven"
