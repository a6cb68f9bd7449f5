"""A problem whose ops are packs of another's: how it is built, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from talos_opt.core.columns import NONE, Columns, Texts, pointers
from talos_opt.core.graph import ColumnarModels, Graph
from talos_opt.core.problem import Ints, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.sums import max_by, sum_by


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
        order = np.lexsort((self.problem.arrays.rank, schedule.start))
        return device, [op for k in order.tolist() for op in self.packs[k]]


class _Edges(NamedTuple):
    """Edges between packs, by their readers."""

    reader: Ints
    producer: Ints
    size: Ints


def quotient(problem: Problem, owner: Ints, groups: Ints | None = None) -> Packed:
    """Return a problem with one op for each pack.

    Times and resident bytes add up, the largest workspace counts, and a pack reads from another
    all distinct tensors that pass between them. Pins are in the times already.

    Parameters
    ----------
    problem : Problem
    owner : (n,) int
        A label for each op; ops of the same label form a pack. Packs are convex, lie within a
        model, and their ops hold the same slots.
    groups : (n,) int, optional
        Colocation group of each op; default: those that the graph names.
    """
    arrays, names = problem.arrays, problem.graph.columns
    groups = names.group if groups is None else groups
    pack, heads = _number(problem, owner)
    count = len(heads)
    time = np.column_stack([np.bincount(pack, row, minlength=count) for row in arrays.time.T])
    edges = _edges(problem, pack)
    group = groups[heads]
    columns = Columns(
        model_ids=names.model_ids,
        model_weight=arrays.model_weight,
        release=arrays.release,
        model_ptr=pointers(np.bincount(arrays.model[heads], minlength=len(arrays.release))),
        ids=Texts.join([names.ids[i] for i in heads.tolist()]),
        time_keys=problem.device_ids,
        time=np.where(np.isfinite(time), time, np.nan),
        weights=sum_by(pack, arrays.weights, count),
        output=sum_by(pack, arrays.output, count),
        workspace=max_by(pack, arrays.workspace, count),
        input_ptr=pointers(np.bincount(edges.reader, minlength=count)),
        input_op=edges.producer,
        input_bytes=edges.size,
        slots=arrays.demand[heads],
        types=("",),
        type=np.zeros(count, dtype=np.int64),
        groups=tuple(f"g{g}" for g in range(int(group.max(initial=NONE)) + 1)),
        group=group,
        pins=(),
        pin=np.full(count, NONE),
    )
    graph = Graph(problem.graph.name, ColumnarModels(columns), problem.graph.time_unit)
    packed = Problem(
        graph, problem.cluster, problem.objective, problem.memory_rule,
        stages=problem.stages, pipeline=problem.pipeline,
    )  # fmt: skip
    return Packed(problem, packed, _members(problem, pack))


def _number(problem: Problem, owner: Ints) -> tuple[Ints, Ints]:
    """Pack of each op (n,), numbered by their first ops in topological order (p,)."""
    order = problem.arrays.order
    labels, spot, pack = np.unique(owner[order], return_index=True, return_inverse=True)
    first = order[spot]
    rank = np.empty(len(labels), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(labels))
    result = np.empty(len(order), dtype=np.int64)
    result[order] = rank[pack]
    return result, np.sort(first)


def _members(problem: Problem, pack: Ints) -> tuple[tuple[int, ...], ...]:
    order = problem.arrays.order
    by_pack = order[np.argsort(pack[order], kind="stable")]
    ends = np.cumsum(np.bincount(pack)).tolist()
    listed = by_pack.tolist()
    return tuple(tuple(listed[a:b]) for a, b in zip([0, *ends[:-1]], ends, strict=True))


def _edges(problem: Problem, pack: Ints) -> _Edges:
    """Edges between packs; a tensor that several ops of a pack read counts once."""
    arrays = problem.arrays
    cross = pack[arrays.edge_src] != pack[arrays.edge_dst]
    tensor, size = arrays.edge_tensor[cross], arrays.edge_bytes[cross]
    reader, producer = pack[arrays.edge_dst[cross]], pack[arrays.edge_src[cross]]
    # By reading pack, producing pack, and tensor: the largest size of each, then their sum.
    turn = np.lexsort((tensor, producer, reader))
    reader, producer, tensor, size = reader[turn], producer[turn], tensor[turn], size[turn]
    each = np.flatnonzero((np.diff(reader, prepend=-1) != 0) | (np.diff(tensor, prepend=-1) != 0))
    if len(each):
        size = np.maximum.reduceat(size, each)
    reader, producer = reader[each], producer[each]
    edge = np.flatnonzero((np.diff(reader, prepend=-1) != 0) | (np.diff(producer, prepend=-1) != 0))
    if len(edge):
        size = np.add.reduceat(size, edge)
    return _Edges(reader[edge], producer[edge], size)
