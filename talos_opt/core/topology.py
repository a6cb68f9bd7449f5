"""Edges of a DAG in both directions, a topological order, and levels; linear in its size."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

#: Levels with fewer edges than this are walked edge by edge: below it numpy's calls cost more.
_FEW = 100


class Topology(NamedTuple):
    """Edges sorted by tensor, then reader; n ops, e edges.

    Tensors are numbered op by op, so that edges are sorted by producer too.

    Parameters
    ----------
    edge_src, edge_dst, edge_bytes, edge_tensor : (e,) int
    out_ptr : (n + 1,) int
        Edges leaving op i are ``out_ptr[i]:out_ptr[i + 1]``.
    in_ptr, in_edge : (n + 1,), (e,) int
        Edges entering op i are ``in_edge[in_ptr[i]:in_ptr[i + 1]]``.
    order : (n - c,) int
        Ops by level, then by number; without the c ops that are on a cycle or behind one.
    level : (n,) int
        Longest path, in edges, from a source.
    missing : (n,) int
        Inputs of each op that no op in `order` produces: above 0 on cycles and behind them.
    """

    edge_src: Ints
    edge_dst: Ints
    edge_bytes: Ints
    edge_tensor: Ints
    out_ptr: Ints
    in_ptr: Ints
    in_edge: Ints
    order: Ints
    level: Ints
    missing: Ints


def build_topology(
    count: int, producer: Ints, reader: Ints, size: Ints, tensor: Ints | None = None
) -> Topology:
    """Sort edges and ops.

    Parameters
    ----------
    count : int
        Ops.
    producer, reader, size : (e,) int
        Ends and bytes of the edges, in any order.
    tensor : (e,) int, optional
        What is read, numbered op by op; no reader has two edges for one tensor. Default: one
        tensor for each op, with its number.
    """
    tensor = producer if tensor is None else tensor
    by_tensor = np.argsort(tensor * count + reader)
    source, target, tensor = producer[by_tensor], reader[by_tensor], tensor[by_tensor]
    in_edge = np.argsort(target * (int(tensor.max(initial=0)) + 1) + tensor)
    out_ptr = _pointers(source, count)
    in_ptr = _pointers(target, count)
    order, level, missing = _levels(out_ptr, target, np.diff(in_ptr))
    return Topology(
        source, target, size[by_tensor], tensor, out_ptr, in_ptr, in_edge, order, level, missing
    )


def _pointers(owner: Ints, count: int) -> Ints:
    ptr = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(owner, minlength=count), out=ptr[1:])
    return ptr


def _levels(out_ptr: Ints, readers: Ints, missing: Ints) -> tuple[Ints, Ints, Ints]:
    """Kahn's algorithm level by level: an op's level is that of its last input, and one."""
    walk = _Walk(out_ptr, readers, missing)
    ready = np.flatnonzero(missing == 0)
    while len(ready):
        ready = walk.few(ready.tolist()) if len(ready) < _FEW else walk.many(ready)
    return walk.order[: walk.done], walk.level, missing


class _Walk:
    """Takes ops level by level; `many` and `few` each take one level and return the next."""

    def __init__(self, out_ptr: Ints, readers: Ints, missing: Ints) -> None:
        self.out_ptr, self.readers, self.missing = out_ptr, readers, missing
        self.order = np.empty(len(missing), dtype=np.int64)
        self.level = np.zeros(len(missing), dtype=np.int64)
        self.done = self.depth = 0

    def many(self, ready: Ints) -> Ints:
        self.order[self.done : self.done + len(ready)] = ready
        self.level[ready] = self.depth
        self.done += len(ready)
        self.depth += 1
        first, length = self.out_ptr[ready], self.out_ptr[ready + 1] - self.out_ptr[ready]
        shift = np.repeat(first - (np.cumsum(length) - length), length)
        found = self.readers[shift + np.arange(len(shift))]
        ops, seen = np.unique(found, return_counts=True)
        self.missing[ops] -= seen
        return np.asarray(ops[self.missing[ops] == 0])

    def few(self, ready: list[int]) -> Ints:
        """Go on over all levels that are narrow: a chain has one for each op."""
        # Items of a memoryview are Python's own integers, several times as quick as numpy's.
        out_ptr, readers = self.out_ptr.data, self.readers.data
        missing, order, level = self.missing.data, self.order.data, self.level.data
        done, depth = self.done, self.depth
        while ready and len(ready) < _FEW:
            found: list[int] = []
            for op in ready:
                order[done] = op
                level[op] = depth
                done += 1
                for edge in range(out_ptr[op], out_ptr[op + 1]):
                    reader = readers[edge]
                    left = missing[reader] - 1
                    missing[reader] = left
                    if left == 0:
                        found.append(reader)
            found.sort()
            ready = found
            depth += 1
        self.done, self.depth = done, depth
        return np.array(ready, dtype=np.int64)


def order_by_number(reads: Sequence[Iterable[int]]) -> list[int]:
    """Return a topological order that keeps to the numbers of ops as far as it can.

    Parameters
    ----------
    reads : (n,) of int
        What each op reads.

    Returns
    -------
    list of int
        Each op behind what it reads; without those that are on a cycle or behind one.
    """
    waiting = [0] * len(reads)
    readers: list[list[int]] = [[] for _ in reads]
    for i, read in enumerate(reads):
        for j in read:
            readers[j].append(i)
            waiting[i] += 1
    ready = [i for i, count in enumerate(waiting) if not count]
    order = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for reader in readers[i]:
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    return order
