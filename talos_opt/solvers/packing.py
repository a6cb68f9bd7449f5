"""Talos' sv/tv packing: adjacent ops with similar speedups become one op."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talos_opt.core.graph import Graph, Input, Memory, Model, Op
from talos_opt.core.problem import Floats, Ints, Problem
from talos_opt.core.schedule import Schedule


@dataclass(frozen=True)
class Packed:
    """A problem whose ops are packs of the original's.

    Parameters
    ----------
    original, problem : Problem
        Before and after packing.
    packs : tuple of tuple of int
        Members of each op of `problem`, in topological order.
    """

    original: Problem
    problem: Problem
    packs: tuple[tuple[int, ...], ...]

    def unpack(self, schedule: Schedule) -> tuple[Ints, list[int]]:
        """Return device and order of the original ops; members of a pack stand back to back."""
        device = np.empty(self.original.arrays.op_count, dtype=np.int64)
        for pack_, home in zip(self.packs, schedule.device.tolist(), strict=True):
            device[list(pack_)] = home
        rank = np.empty(len(self.packs))
        rank[self.problem.arrays.order] = np.arange(len(self.packs))
        order = np.lexsort((rank, schedule.start))
        return device, [op for k in order.tolist() for op in self.packs[k]]


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
    return _build(problem, owner, members)


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


def _build(problem: Problem, owner: list[int], members: list[list[int]]) -> Packed:
    arrays, ids = problem.arrays, problem.device_ids
    heads = [i for i in range(arrays.op_count) if owner[i] == i]
    edges = _edges(problem, owner)
    models = []
    for j, model in enumerate(problem.graph.models):
        ops = tuple(
            _merge(problem, members[h], edges.get(h, {}), ids)
            for h in heads
            if arrays.model[h] == j
        )
        models.append(Model(model.id, ops, model.weight, model.release))
    graph = Graph(problem.graph.name, tuple(models), problem.graph.time_unit)
    packed = Problem(graph, problem.cluster, problem.objective, problem.memory_rule)
    return Packed(problem, packed, tuple(tuple(members[h]) for h in heads))


def _edges(problem: Problem, owner: list[int]) -> dict[int, dict[int, int]]:
    """Reading pack -> producing pack -> bytes of all distinct tensors that pass between them."""
    arrays = problem.arrays
    sizes: dict[tuple[int, int, int], int] = {}
    for op, reader, size in zip(
        arrays.edge_src.tolist(), arrays.edge_dst.tolist(), arrays.edge_bytes.tolist(), strict=True
    ):
        if owner[op] != owner[reader]:
            key = (owner[reader], owner[op], op)
            sizes[key] = max(size, sizes.get(key, 0))
    result: dict[int, dict[int, int]] = {}
    for (reader, producer, _), size in sizes.items():
        row = result.setdefault(reader, {})
        row[producer] = row.get(producer, 0) + size
    return result


def _merge(problem: Problem, pack_: list[int], inputs: dict[int, int], ids: tuple[str, ...]) -> Op:
    """One op for a pack: times and resident bytes add up, the largest workspace counts."""
    arrays, ops = problem.arrays, problem.ops
    time = arrays.time[pack_].sum(axis=0)
    return Op(
        id=ops[pack_[0]].id,
        time={name: float(t) for name, t in zip(ids, time, strict=True) if np.isfinite(t)},
        memory=Memory(
            int(arrays.weights[pack_].sum()),
            int(arrays.output[pack_].sum()),
            int(arrays.workspace[pack_].max()),
        ),
        inputs=tuple(Input(ops[producer].id, size) for producer, size in inputs.items()),
        colocate=ops[pack_[0]].colocate,
        slots=int(arrays.demand[pack_[0]]),
    )
