"""Random problems for Hypothesis, with every feature of the model on unless it is switched off."""

from __future__ import annotations

import math
import random
from typing import Any

from hypothesis import HealthCheck, reject, settings
from hypothesis import strategies as st

from talos_opt.core.errors import GraphError
from talos_opt.core.problem import Problem
from talos_opt.testing.drawing import Features, Pick, put_together

#: For property tests whose examples take a tenth of a second or more each: a third of the usual.
costly = settings(
    max_examples=max(1, settings.default.max_examples // 3),
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)


@st.composite
def problems(draw: st.DrawFn, *, max_ops: int = 5, min_ops: int = 1, **features: Any) -> Problem:
    """Draw a small problem; keyword arguments are fields of `Features`."""

    sizes = range(min_ops, max_ops + 1)
    count = draw(st.sampled_from([*sizes, *sizes[-2:], *sizes[-2:]]))  # mostly the larger ones
    on = Features(**features)
    # Hypothesis' own draws shrink well but lean to the plain; a seed gives the full variety.
    seed = draw(st.none() | st.integers(0, 2**32 - 1))
    if seed is not None:
        return make_problem(random.Random(seed).choice, count, on)
    return make_problem(lambda choices: draw(st.sampled_from(choices)), count, on)


@st.composite
def large_problems(
    draw: st.DrawFn, *, min_ops: int = 20, max_ops: int = 60, **features: Any
) -> Problem:
    """Draw a problem too big for brute force; it is drawn by a seed, so it shrinks by its size."""
    count = draw(st.integers(min_ops, max_ops))
    rng = random.Random(draw(st.integers(0, 2**32 - 1)))
    settings = {"max_models": 4, "tight": False, **features}
    return make_problem(rng.choice, count, Features(**settings))


@st.composite
def placed_problems(
    draw: st.DrawFn, source: st.SearchStrategy[Problem] | None = None, **features: Any
) -> tuple[Problem, list[int], list[int]]:
    """Draw a problem, a placement that keeps pins and colocation, and a priority for every op."""
    problem = draw(problems(**features) if source is None else source)
    groups: dict[object, list[int]] = {}
    for i, op in enumerate(problem.ops):
        groups.setdefault((i,) if op.colocate is None else op.colocate, []).append(i)
    device = [0] * len(problem.ops)
    rng = draw(st.randoms(use_true_random=False))
    for members in groups.values():
        allowed = [
            d
            for d in range(len(problem.device_ids))
            if all(_can_run(problem, i, d) for i in members)
        ]
        if not allowed:
            reject()
        chosen = rng.choice(allowed)
        for i in members:
            device[i] = chosen
    priority = list(range(len(device)))
    rng.shuffle(priority)
    return problem, device, priority


def _can_run(problem: Problem, i: int, d: int) -> bool:
    return math.isfinite(problem.arrays.time[i, d])


def make_problem(pick: Pick[Any], count: int, on: Features) -> Problem:
    try:
        return put_together(pick, count, on)
    except GraphError:  # an op that fits into no device's memory: rare, see _limits
        reject()
        raise AssertionError("unreachable") from None
