"""The least memory of a small problem, from docs/model.md: smaller and smaller devices by search.

A schedule is worth less than v exactly if it fits devices whose usable bytes are cut to what v
leaves; the search of `talos_opt.testing.reference.brute` says whether there is one. Each schedule
that it finds names the next v, so the last one is optimal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TypeVar

from talos_opt.core.errors import GraphError
from talos_opt.core.problem import Objective, Problem
from talos_opt.testing.reference.flat import usable_memory

FoundT = TypeVar("FoundT")


def units(problem: Problem) -> list[int | None]:
    """Bytes that are worth 1 on each device; None: they are worth nothing."""
    limits = [usable_memory(device) for device in problem.cluster.devices]
    return [1] * len(limits) if all(limit is None for limit in limits) else limits


def largest_share(problem: Problem, held: Sequence[int]) -> Fraction:
    """The objective of devices that hold some bytes each."""
    shares = [Fraction(size, unit) for size, unit in zip(held, units(problem), strict=True) if unit]
    return max(shares, default=Fraction(0))


def within(problem: Problem, value: Fraction) -> Problem | None:
    """The problem on devices on which every schedule is worth less than a value."""
    devices = []
    for device, unit in zip(problem.cluster.devices, units(problem), strict=True):
        usable = usable_memory(device)
        if unit:
            room = math.ceil(value * unit) - 1
            room = room if usable is None else min(room, usable)
            if room < 0:
                return None
            device = replace(device, memory=room, memory_fraction=1.0)
        devices.append(device)
    cluster = replace(problem.cluster, devices=tuple(devices))
    try:
        # Any schedule will do, and the placement alone decides what it is worth.
        return replace(problem, cluster=cluster, objective=Objective.BOTTLENECK)
    except GraphError:
        return None


def least_memory(
    problem: Problem,
    find_any: Callable[[Problem], FoundT | None],
    held: Callable[[FoundT], Sequence[int]],
) -> tuple[Fraction, FoundT] | None:
    """Return the least value and a schedule of it, None if nothing is feasible.

    Parameters
    ----------
    problem : Problem
    find_any : callable
        Finds some feasible schedule of a problem under the objective bottleneck.
    held : callable
        Bytes that a schedule needs on each device.
    """
    best: tuple[Fraction, FoundT] | None = None
    asked: Problem | None = replace(problem, objective=Objective.BOTTLENECK)
    while asked is not None:
        found = find_any(asked)
        if found is None:
            break
        value = largest_share(problem, held(found))
        assert best is None or value < best[0]
        best = value, found
        asked = within(problem, value) if value > 0 else None
    return best
