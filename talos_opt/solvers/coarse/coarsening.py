"""Merging ops into convex packs, and their colocation groups with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from talos_opt.core.columns import NONE
from talos_opt.core.problem import UNLIMITED, Arrays, Ints, Problem
from talos_opt.core.topology import build_topology
from talos_opt.solvers.shared.quotient import Packed, quotient

if TYPE_CHECKING:
    from talos_opt.kernels.contracting import Clusters

#: A group that others are merged into takes as much time as so many packs, at the most: the
#: forward, the backward and the update ops of a layer share a device.
_PACKS_PER_GROUP = 4.0
#: Merged groups fill at the most this share of the smallest device that they may go to.
_MEMORY_SHARE = 1 / 16
#: How many times the sum of their best times packs may take on a device that suits them all.
_STRETCH = 1.1
#: Rounds go on while each merges at least this share of the packs.
_WORTHWHILE = 0.02
_MOST_ROUNDS = 60


class Caps(NamedTuple):
    """How far ops are merged.

    Parameters
    ----------
    packs : int
        No pack takes more than one part in so many of all work.
    per_group, memory, stretch : float
        See the constants of this module.
    """

    packs: int
    per_group: float = _PACKS_PER_GROUP
    memory: float = _MEMORY_SHARE
    stretch: float = _STRETCH


def coarsen(problem: Problem, caps: Caps) -> Packed:
    """Merge ops in rounds, until few more can be merged within the caps.

    Packs stay convex (see `talos_opt.kernels.contracting.gather`). Ops of different colocation
    groups merge by merging the groups, which then share a device as one group: only where
    nothing is left to merge inside the groups, so that the forward and the backward ops of the
    same layers end up in the same groups.
    """
    merger = _Merger(problem.arrays, caps)
    for _ in range(_MOST_ROUNDS):
        while merger.merge(across=False):
            pass
        if not merger.merge(across=True):
            break
    return quotient(problem, merger.pack, merger.groups())


class _Merger:
    """Packs while they grow.

    Parameters
    ----------
    arrays : Arrays
    caps : Caps
    """

    def __init__(self, arrays: Arrays, caps: Caps) -> None:
        self.arrays = arrays
        self.clusters = _singles(arrays, caps)
        self.pack = np.arange(arrays.op_count)  # of each op
        self.edges = _distinct(arrays.edge_src, arrays.edge_dst, arrays.op_count)
        share = float(self.clusters.busy.sum()) / caps.packs
        self.limits = np.array([share, caps.per_group * share, caps.stretch, 0.0])

    def merge(self, *, across: bool) -> bool:
        """Merge packs with their producers, then with their readers; tell if that was many.

        Parameters
        ----------
        across : bool
            Whether groups may be merged.
        """
        before = len(self.clusters.time)
        self.limits[3] = across
        for _ in range(2):
            self._gather()
            self.edges = self.edges[1], self.edges[0]
        return len(self.clusters.time) < (1 - _WORTHWHILE) * before

    def _gather(self) -> None:
        from talos_opt.kernels.contracting import gather

        count = len(self.clusters.time)
        graph = build_topology(count, *self.edges, self.edges[0])
        owner = gather(
            graph.order,
            graph.level,
            graph.in_ptr,
            graph.edge_src[graph.in_edge],
            self.clusters,
            self.limits,
        )
        kept, number = np.unique(owner, return_inverse=True)
        self.pack = number[self.pack]
        self.clusters = self.clusters._replace(
            time=self.clusters.time[kept],
            kind=self.clusters.kind[kept],
            group=self.clusters.group[kept],
        )
        self.edges = _distinct(number[graph.edge_src], number[graph.edge_dst], len(kept))

    def groups(self) -> Ints:
        """Return the merged group of each op (n,), `NONE` where it is alone."""
        root = self.clusters.root
        while not np.array_equal(root, root[root]):
            root = root[root]
        group = root[self.arrays.group]
        shared = np.bincount(group, minlength=len(root)) > 1
        return np.where(shared[group], group, NONE)


def _singles(arrays: Arrays, caps: Caps) -> Clusters:
    """Every op a pack of its own."""
    from talos_opt.kernels.contracting import Clusters

    allowed = arrays.allowed[arrays.group]
    time = np.where(allowed, arrays.time, np.inf)
    best = time.min(axis=1)
    work_time = np.where(np.isfinite(best), best, 0.0)
    groups = arrays.group_count
    held, work = arrays.group_held.copy(), arrays.group_workspace.copy()
    alike = np.column_stack([arrays.model, arrays.demand, allowed])
    kinds, kind = np.unique(alike, axis=0, return_inverse=True)
    homes = kinds[:, 2:] > 0
    least = np.where(homes, arrays.capacity, UNLIMITED).min(axis=1)
    room = np.where(least < UNLIMITED, caps.memory * least, UNLIMITED)
    return Clusters(
        time=time,
        kind=kind.ravel().astype(np.int64),
        group=arrays.group.copy(),
        root=np.arange(groups),
        held=held,
        work=work,
        busy=np.asarray(np.bincount(arrays.group, work_time, groups), dtype=np.float64),
        room=room.astype(np.int64),
        top=np.where(homes, arrays.capacity, 0).max(axis=1),
    )


def _distinct(source: Ints, target: Ints, count: int) -> tuple[Ints, Ints]:
    """Edges between different packs, each pair once."""
    keys = np.sort((source * count + target)[source != target])
    keys = keys[np.flatnonzero(np.diff(keys, prepend=-1))]
    return keys // count, keys % count
