"""Talos' sv/tv packing: which adjacent ops become one, and how many are left (Table IV)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from talos_opt.core import units
from talos_opt.core.columns import NONE
from talos_opt.core.problem import Floats, Ints, Problem

#: What the paper's Table IV packs by: sv, and tv in ms.
PAPER = (
    (0.3, 3.33, 10.0),
    (0.5, 2.0, 10.0),
    (0.7, 1.43, 10.0),
    (0.5, 2.0, 5.0),
    (0.5, 2.0, 20.0),
)


@dataclass(frozen=True, slots=True)
class PackingRow:
    """How many ops are left of each model under one setting.

    Parameters
    ----------
    sv_low, sv_high : float
        Multiples of the first op's speedup within which an op joins its pack.
    tv : float
        Reference time that a pack may reach, in the graph's unit.
    left : tuple of int
        Packs of each model.
    """

    sv_low: float
    sv_high: float
    tv: float
    left: tuple[int, ...]


def packing_table(
    problem: Problem,
    settings: Iterable[tuple[float, float, float]],
    *,
    progress: Callable[[tuple[float, float, float]], None] = lambda setting: None,
) -> tuple[PackingRow, ...]:
    """Count the packs of each model for several settings.

    Parameters
    ----------
    problem : Problem
    settings : iterable of (float, float, float)
        sv_low, sv_high and tv, the last in the graph's unit.
    progress : callable
        Called with each setting before it is counted.
    """
    model = problem.arrays.model
    count = len(problem.arrays.release)
    rows = []
    for setting in settings:
        progress(setting)
        first = np.unique(pack_owners(problem, *setting))
        rows.append(
            PackingRow(*setting, tuple(np.bincount(model[first], minlength=count).tolist()))
        )
    return tuple(rows)


def paper_settings(time_unit: str) -> tuple[tuple[float, float, float], ...]:
    """Return the settings of Table IV, with tv in a graph's unit."""
    scale = units.PER_SECOND[time_unit] / units.PER_SECOND["ms"]
    return tuple((low, high, tv * scale) for low, high, tv in PAPER)


def packing_speedups(problem: Problem) -> Floats:
    """Time on the reference over the best time on another kind, per op (n,).

    1 where an op has a time on one side only, or takes none.
    """
    arrays = problem.arrays
    kinds = [device.kind for device in problem.cluster.devices]
    others = [d for d, kind in enumerate(kinds) if kind != problem.cluster.reference]
    here = arrays.time[:, problem.reference_device]
    there = arrays.time[:, others].min(axis=1) if others else here
    known = np.isfinite(here) & np.isfinite(there) & (there > 0) & (here > 0)
    speedup = np.ones(len(here))
    speedup[known] = here[known] / there[known]
    return speedup


def pack_owners(problem: Problem, sv_low: float, sv_high: float, tv: float) -> Ints:
    """Return the pack of each op (n,), by the number of the pack's first op (Talos, III-B).

    An op joins the pack of a predecessor if its speedup lies within [sv_low, sv_high] times that
    of the pack's first op, the pack's reference time stays within `tv`, both may sit on the same
    devices with the same slots and colocation group, and the pack fits into one of these
    devices. The edge must be the only way into the op or the only way out of the pack, so that
    no cycle can arise.
    """
    arrays = problem.arrays
    speedup = packing_speedups(problem)
    low, high = (sv_low * speedup).tolist(), (sv_high * speedup).tolist()
    own = speedup.tolist()
    time = arrays.time[:, problem.reference_device]
    total = np.where(np.isfinite(time), time, arrays.time.min(axis=1)).tolist()
    inputs = _inputs(problem)
    open_edges = np.diff(arrays.out_ptr).tolist()  # edges that leave each pack
    sort, room = _sorts(problem)
    held = (arrays.weights + arrays.output).tolist()
    workspace = arrays.workspace.tolist()
    owner = list(range(arrays.op_count))
    for i in arrays.order.tolist():
        into: dict[int, int] = {}  # pack -> edges from it into op i
        for op in inputs[i]:
            into[owner[op]] = into.get(owner[op], 0) + 1
        for pack, edges in sorted(into.items()):
            alone = len(into) == 1 or open_edges[pack] == edges
            similar = low[pack] <= own[i] <= high[pack] and sort[pack] == sort[i]
            short = total[pack] + total[i] <= tv
            largest = max(workspace[pack], workspace[i])
            fits = held[pack] + held[i] + largest <= room[pack]
            if alone and similar and short and fits:
                open_edges[pack] += open_edges[i] - edges
                total[pack] += total[i]
                held[pack] += held[i]
                workspace[pack] = largest
                owner[i] = pack
                break
    return np.array(owner, dtype=np.int64)


def _inputs(problem: Problem) -> Sequence[Sequence[int]]:
    arrays = problem.arrays
    source = arrays.edge_src[arrays.in_edge].tolist()
    ptr = arrays.in_ptr.tolist()
    return [source[a:b] for a, b in itertools.pairwise(ptr)]


def _sorts(problem: Problem) -> tuple[list[int], list[int]]:
    """Ops of one sort may share a pack: same devices, slots and colocation group.

    Also the usable bytes of the largest device that each op may sit on.
    """
    arrays, group = problem.arrays, problem.graph.columns.group
    homes = np.isfinite(arrays.time)
    keys = np.column_stack([homes, arrays.demand, np.where(group == NONE, -1, group)])
    sort = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
    room = np.where(homes, arrays.capacity, 0).max(axis=1)
    return sort.tolist(), room.tolist()
