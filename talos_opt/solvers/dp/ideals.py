"""Order ideals of a graph, layer by layer, and the tables that the label kernel reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from talos_opt.core.problem import Arrays, Ints


@dataclass(frozen=True)
class Ideal:
    """A set of ops closed under predecessors, and what follows from it.

    Parameters
    ----------
    members : int
        Bit i is set if op i is in the set.
    ready : tuple of int
        Ops outside whose predecessors are all inside.
    front : tuple of int
        Tensors made inside with a reader outside.
    """

    members: int
    ready: tuple[int, ...]
    front: tuple[int, ...]


class IdealGraph:
    """The lattice of order ideals, walked upwards one op at a time.

    Parameters
    ----------
    arrays : Arrays
    """

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays
        count = arrays.op_count
        self.inputs: list[list[int]] = [[] for _ in range(count)]
        self.readers: list[list[int]] = [[] for _ in range(count)]
        for op, reader in zip(arrays.edge_src.tolist(), arrays.edge_dst.tolist(), strict=True):
            self.inputs[reader].append(op)
            self.readers[op].append(reader)
        self.needs = [_bits(ops) for ops in self.inputs]
        reads = arrays.edge_dst.tolist()
        self.feeds = [_bits(reads[a:b]) for a, b in pairwise(arrays.read_ptr.tolist())]
        self.made = [range(a, b) for a, b in pairwise(arrays.tensor_ptr.tolist())]
        self.model = arrays.model.tolist()
        spans = [range(a, b) for a, b in pairwise(arrays.model_ptr.tolist())]
        self.model_bits = [_bits(span) for span in spans]
        self.sink_bits = [_bits(i for i in span if not self.readers[i]) for span in spans]
        self.group = arrays.group.tolist()
        self.group_bits = {
            g: _bits(members) for g, members in enumerate(arrays.members) if len(members) > 1
        }

    @cached_property
    def bottom(self) -> Ideal:
        """The empty ideal."""
        return Ideal(0, tuple(i for i, ops in enumerate(self.inputs) if not ops), ())

    def above(
        self, layer: list[Ideal], most: int, stopped: Callable[[], bool] = lambda: False
    ) -> tuple[list[Ideal], list[list[tuple[int, int]]]]:
        """Return the ideals with one op more, and how each is reached.

        Parameters
        ----------
        layer : list of Ideal
        most : int
            Stop with an empty list as soon as there would be more.
        stopped : callable
            Asked at every ideal, whether to stop with an empty list.

        Returns
        -------
        list of Ideal
        list of list of (position in `layer`, op)
        """
        position: dict[int, int] = {}
        ideals: list[Ideal] = []
        into: list[list[tuple[int, int]]] = []
        for p, ideal in enumerate(layer):
            if stopped():
                return [], []
            for op in ideal.ready:
                members = ideal.members | 1 << op
                spot = position.setdefault(members, len(ideals))
                if spot == len(ideals):
                    if len(ideals) == most:
                        return [], []
                    ideals.append(self._step(ideal, op, members))
                    into.append([])
                into[spot].append((p, op))
        return ideals, into

    def _step(self, ideal: Ideal, op: int, members: int) -> Ideal:
        ready = [i for i in ideal.ready if i != op]
        ready += [r for r in dict.fromkeys(self.readers[op]) if not self.needs[r] & ~members]
        front = [r for r in (*ideal.front, *self.made[op]) if self.feeds[r] & ~members]
        return Ideal(members, tuple(ready), tuple(front))

    def open_sinks(self, ideal: Ideal) -> list[int]:
        """Return the unfinished models with a finished sink."""
        return [
            j
            for j, bits in enumerate(self.model_bits)
            if self.sink_bits[j] & ideal.members and bits & ~ideal.members
        ]

    def open_groups(self, ideal: Ideal) -> list[int]:
        """Return the colocation groups with members inside and outside."""
        return [
            g
            for g, bits in self.group_bits.items()
            if bits & ideal.members and bits & ~ideal.members
        ]

    def finishes(self, ideal: Ideal, op: int) -> bool:
        """Tell whether an ideal that contains `op` holds its whole model."""
        return not self.model_bits[self.model[op]] & ~ideal.members


def _bits(ops: Iterable[int]) -> int:
    total = 0
    for op in ops:
        total |= 1 << int(op)
    return total


def ragged(lists: Iterable[Iterable[int]]) -> tuple[Ints, Ints]:
    """Return pointers and entries of a list of lists (CSR)."""
    ends = [0]
    entries: list[int] = []
    for row in lists:
        entries.extend(row)
        ends.append(len(entries))
    return np.array(ends, dtype=np.int64), np.array(entries, dtype=np.int64)
