"""What the kernel tests draw: placements with an order, and the arrays that kernels take."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from talos_opt.core.problem import Problem
from talos_opt.testing.reference.flat import Flat
from tests.strategies import large_problems, placed_problems


class Ordered(NamedTuple):
    """A placement and an order of the ops in which producers come first."""

    problem: Problem
    device: list[int]
    order: list[int]
    seed: int


@st.composite
def ordered_problems(
    draw: st.DrawFn, *, large: bool = True, min_ops: int = 20, max_ops: int = 30, **features: Any
) -> Ordered:
    """Draw a small or a middling problem with every feature on, a placement and an order."""
    source = None
    if large and draw(st.booleans()):
        # Limits are tight on small problems, and here on every other one.
        tight = draw(st.booleans())
        source = large_problems(min_ops=min_ops, max_ops=max_ops, tight=tight, **features)
        features = {}
    problem, device, priority = draw(placed_problems(source, **features))
    seed = draw(st.integers(0, 2**32 - 1))
    return Ordered(problem, device, topological(problem, priority), seed)


def topological(problem: Problem, priority: list[int]) -> list[int]:
    """Of the ops whose inputs are there, always the one of least priority."""
    edges = Flat(problem).edges
    order: list[int] = []
    left = set(range(len(priority)))
    while left:
        waiting = {reader for source, reader, _ in edges if source in left}
        order.append(min(left - waiting, key=lambda i: priority[i]))
        left.remove(order[-1])
    return order


def shuffled(count: int, seed: int) -> list[int]:
    numbers = list(range(count))
    random.Random(seed).shuffle(numbers)
    return numbers


def ints(values: list[int]) -> np.ndarray:
    """Kernels are compiled for 64-bit numbers; other types would be compiled anew."""
    return np.array(values, dtype=np.int64)


def interpreted(part: Any) -> Any:
    """Return what a compiled part was written as: parts have no entry from Python."""
    return getattr(part, "py_func", part)
