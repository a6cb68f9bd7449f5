"""What is proven about every way to bundle before one is looked at (docs/bounds.md, "Bundles")."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from talos_opt.core.bundles import Bundle
from talos_opt.core.bundling import Derivation, Part
from talos_opt.core.errors import GraphError
from talos_opt.core.problem import Floats, Objective, Problem
from talos_opt.core.rounding import sum_error
from talos_opt.solvers.bounds import group_work, load_shares, quick_bound
from talos_opt.solvers.bundling.ways import EqualDevices, Shape
from talos_opt.solvers.shared.paths import critical_paths


def lowered(problem: Problem, bound: float) -> float:
    """Return a bound less what rounding may have added to its sums."""
    return bound - sum_error(problem.arrays.op_count) * abs(bound)


def cheap_bound(problem: Problem, stopped: Callable[[], bool]) -> float:
    """Return a bound on one way to bundle, in milliseconds."""
    return lowered(problem, quick_bound(problem, stopped))


def common_bound(
    derivation: Derivation, classes: Sequence[EqualDevices], stopped: Callable[[], bool]
) -> float:
    """Return a bound on all ways to bundle at the same time.

    Every op takes the best of its times on any device and any bundle that there may be. A bundle
    of r devices is priced as r devices, each of which works r times as long.

    Parameters
    ----------
    derivation : Derivation
    classes : sequence of EqualDevices
    stopped : callable
        Asked between two steps, whether to leave it at that.
    """
    problem = derivation.base
    if problem.objective not in (Objective.BOTTLENECK, Objective.MAKESPAN, Objective.TOCT):
        return 0.0
    try:
        menu, kinds = _menu(derivation, classes)
    except GraphError:  # something fits no bundle, or members have no link: each way will say so
        return 0.0
    arrays = menu.arrays
    if not arrays.allowed.any(axis=1).all():
        return 0.0
    work = group_work(arrays)
    priced = np.column_stack([_least(work, kinds, d) for d in range(len(problem.device_ids))])
    usable = np.isfinite(priced).any(axis=0)
    load, _ = load_shares(priced[:, usable], stopped)
    if problem.objective is Objective.BOTTLENECK:
        return lowered(menu, max(load, float(work.min(axis=1).max())))
    paths = critical_paths(menu)
    if problem.objective is Objective.MAKESPAN:
        return lowered(menu, max(float(paths.max()), float(arrays.release.min()) + load))
    return lowered(menu, float(arrays.model_weight @ paths))


def _least(work: Floats, kinds: Sequence[tuple[int, frozenset[int]]], d: int) -> Floats:
    """Least time that one device spends on each group, alone or as one of several (g,)."""
    least = np.full(len(work), np.inf)
    for column, (size, members) in enumerate(kinds):
        if d in members:
            np.minimum(least, size * work[:, column], out=least)
    return least


def _menu(
    derivation: Derivation, classes: Sequence[EqualDevices]
) -> tuple[Problem, list[tuple[int, frozenset[int]]]]:
    """Return a problem with a device for everything that a class may be part of.

    Returns
    -------
    Problem
    list of (int, frozenset of int)
        For each device of it, how many devices it is made of, and which may be among them.
    """
    devices = derivation.base.cluster.devices
    parts: list[tuple[int, Shape, frozenset[int]]] = []
    bundled = {d for equal in classes for d in equal.devices}
    for d in range(len(devices)):
        if d not in bundled:
            parts.append((d, Shape(1), frozenset((d,))))
    for equal in classes:
        members = frozenset(equal.devices)
        parts += [(equal.devices[0], shape, members) for shape in equal.shapes]
    rows: list[Part] = []
    for first, shape, members in parts:
        bundle = None
        if shape.mode is not None:
            names = [devices[d].id for d in sorted(members)[: shape.size]]
            bundle = Bundle(tuple(names), shape.mode)
        rows.append((devices[first], bundle))
    return derivation.menu(rows), [(shape.size, members) for _, shape, members in parts]
