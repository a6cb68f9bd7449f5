"""Moves that may make a schedule tidier: single groups, and runs of ops that sit away from home."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from talos_opt.core.problem import Ints, Problem
from talos_opt.solvers.shared.paths import best_times, tails

#: Most ops of a run that are moved together.
_LONGEST = 64
#: Lengths of the pieces of runs that are tried beside whole ones.
_PIECES = (2, 3, 4, 6, 8)


class Step(NamedTuple):
    """Groups that move to a device."""

    groups: tuple[int, ...]
    target: int


class Neighbourhood:
    """The moves from a placement.

    Parameters
    ----------
    problem : Problem
    """

    def __init__(self, problem: Problem) -> None:
        self.problem, arrays = problem, problem.arrays
        self.group: list[int] = arrays.group.tolist()
        self.allowed = arrays.allowed
        self.devices = range(arrays.device_count)
        self.rank: list[int] = arrays.rank.tolist()
        self.inputs: list[list[int]] = [[] for _ in self.group]
        self.readers: list[list[int]] = [[] for _ in self.group]
        for op, reader in zip(arrays.edge_src.tolist(), arrays.edge_dst.tolist(), strict=True):
            self.inputs[reader].append(op)
            self.readers[op].append(reader)

    def orders(self) -> list[Ints]:
        """Return orders that owe nothing to a schedule, as a position of each op.

        By topological order; by how long a path follows; model by model.
        """
        arrays = self.problem.arrays
        rank = arrays.rank
        after = tails(arrays, best_times(arrays)) + best_times(arrays)
        keys = ((rank,), (rank, -after), (rank, arrays.model))
        return [np.argsort(np.lexsort(key)) for key in keys]

    def singles(self, device: Ints) -> list[Step]:
        """Every group to every other device that it may sit on; first to those of its neighbours.

        This is the neighbourhood of ``talos_opt.analysis.moves``.
        """
        home = self._homes(device)
        near: list[set[int]] = [set() for _ in home]
        for op, readers in enumerate(self.readers):
            for reader in readers:
                near[self.group[op]].add(home[self.group[reader]])
                near[self.group[reader]].add(home[self.group[op]])
        first: list[Step] = []
        rest: list[Step] = []
        for g, here in enumerate(home):
            for d in np.flatnonzero(self.allowed[g]).tolist():
                if d != here:
                    (first if d in near[g] else rest).append(Step((g,), d))
        return first + rest

    def runs(self, device: Ints) -> Iterator[Step]:
        """Runs of ops that share a device, and pieces of them, to the devices that they touch."""
        where: list[int] = device.tolist()
        seen: set[tuple[tuple[int, ...], int]] = set()
        for ops in self._runs(where):
            if len(ops) < 2:
                continue
            groups = tuple(sorted({self.group[op] for op in ops}))
            here = where[ops[0]]
            touched = {where[k] for op in ops for k in (*self.inputs[op], *self.readers[op])}
            for target in sorted(touched - {here}):
                key = (groups, target)
                if key not in seen and self.allowed[list(groups), target].all():
                    seen.add(key)
                    yield Step(groups, target)

    def _homes(self, device: Ints) -> list[int]:
        home = [0] * len(self.allowed)
        for op, d in enumerate(device.tolist()):
            home[self.group[op]] = d
        return home

    def _runs(self, where: list[int]) -> Iterator[list[int]]:
        """Yield whole runs if they are short, then pieces from every op at which one ends."""
        reached: set[int] = set()
        border = []
        for op, here in enumerate(where):
            ends_in = any(where[k] != here for k in self.inputs[op])
            ends_out = any(where[k] != here for k in self.readers[op])
            if not (ends_in or ends_out):
                continue
            border.append((op, ends_in, ends_out))
            if op not in reached:
                run = self._grow(where, op, (self.inputs, self.readers), _LONGEST + 1)
                reached.update(run)
                if len(run) <= _LONGEST:
                    yield run
        for op, ends_in, ends_out in border:
            for ends, ways in ((ends_in, (self.readers,)), (ends_out, (self.inputs,))):
                if ends:
                    piece = self._grow(where, op, ways, _PIECES[-1])
                    for length in _PIECES:
                        if length <= len(piece):
                            yield piece[:length]

    def _grow(
        self, where: list[int], op: int, ways: tuple[list[list[int]], ...], most: int
    ) -> list[int]:
        """Return ops of one device that hang together with an op, nearest first."""
        found, known = [op], {op}
        for other in found:
            for way in ways:
                for k in sorted(way[other], key=self.rank.__getitem__):
                    if where[k] == where[op] and k not in known and len(found) < most:
                        known.add(k)
                        found.append(k)
        return found
