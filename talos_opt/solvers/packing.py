"""Talos' sv/tv packing: adjacent ops with similar speedups become one op."""

from __future__ import annotations

import numpy as np

from talos_opt.core.problem import Floats, Problem
from talos_opt.solvers.quotient import Packed, quotient

__all__ = ["Packed", "pack", "reference_speedups"]


def reference_speedups(problem: Problem) -> Floats:
    """Time on the reference over the best time on another kind, per op (n,).

    1 where an op has a time on one side only, or takes none.
    """
    arrays = problem.arrays
    kinds = [device.kind for device in problem.cluster.devices]
    others = [d for d, kind in enumerate(kinds) if kind != problem.cluster.reference]
    here = arrays.time[:, problem.reference_device]
    there = arrays.time[:, others].min(axis=1) if others else here
    known = np.isfinite(here) & np.isfinite(there) & (there > 0) & (here > 0)
    return np.divide(here, there, out=np.ones(len(here)), where=known)


def pack(problem: Problem, sv_low: float, sv_high: float, tv: float) -> Packed:
    """Merge adjacent ops (Talos, section III-B).

    An op joins the pack of a predecessor if its speedup lies within [sv_low, sv_high] times that
    of the pack's first op, the pack's total reference time stays within `tv`, both may sit on
    the same devices, and the pack still fits into one of these. Packs stay convex: an edge is
    contracted only if it is the only way into the op, or the only way out of the pack, so that
    no cycle can arise.

    Parameters
    ----------
    problem : Problem
    sv_low, sv_high : float
        Multiples of the first op's speedup.
    tv : float
        In the graph's time unit.
    """
    arrays = problem.arrays
    speedup = reference_speedups(problem)
    time = arrays.time[:, problem.reference_device]
    time = np.where(np.isfinite(time), time, arrays.time.min(axis=1))
    inputs: list[list[int]] = [[] for _ in range(arrays.op_count)]
    open_edges = np.diff(arrays.out_ptr).tolist()  # edges that leave each pack
    for op, reader in zip(arrays.edge_src.tolist(), arrays.edge_dst.tolist(), strict=True):
        inputs[reader].append(op)
    owner = list(range(arrays.op_count))
    members: list[list[int]] = [[i] for i in range(arrays.op_count)]
    total = time.tolist()
    for i in arrays.order.tolist():
        into: dict[int, int] = {}  # pack -> edges from it into op i
        for op in inputs[i]:
            into[owner[op]] = into.get(owner[op], 0) + 1
        for home, edges in sorted(into.items()):
            first = members[home][0]
            alone = len(into) == 1 or open_edges[home] == edges
            similar = sv_low * speedup[first] <= speedup[i] <= sv_high * speedup[first]
            short = total[home] + total[i] <= tv
            if alone and similar and short and _may_join(problem, members[home], i):
                open_edges[home] += open_edges[i] - edges
                total[home] += total[i]
                members[home].append(i)
                owner[i] = home
                break
    return quotient(problem, np.array(owner, dtype=np.int64))


def _may_join(problem: Problem, pack_: list[int], op: int) -> bool:
    """Tell whether an op may join a pack.

    Same devices, slots and colocation group; and some device holds all members at once.
    """
    arrays, first = problem.arrays, pack_[0]
    homes = np.isfinite(arrays.time[first])
    if (
        problem.ops[first].colocate != problem.ops[op].colocate
        or arrays.demand[first] != arrays.demand[op]
        or not np.array_equal(homes, np.isfinite(arrays.time[op]))
    ):
        return False
    both = [*pack_, op]
    need = int((arrays.weights[both] + arrays.output[both]).sum() + arrays.workspace[both].max())
    return need <= int(arrays.capacity[homes].max())
