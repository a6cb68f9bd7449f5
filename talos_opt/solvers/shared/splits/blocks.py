"""What shares a stage in every placement, and the order between such blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from talos_opt.core.problem import Arrays, Bools, Ints
from talos_opt.core.sums import max_by, sum_by
from talos_opt.solvers.shared.stages import stage_edges


class Blocks:
    """Colocation groups that share a stage in every placement, and the order between them.

    Groups on a cycle of forward edges share a device; they are one block. Groups without a
    forward op are loose blocks, of which the rule says nothing, until they are joined or left out.

    Parameters
    ----------
    arrays : Arrays
    bundle : (g,) int
        A label of each group; groups of one label share a device.
    """

    def __init__(self, arrays: Arrays, bundle: Ints) -> None:
        self.arrays = arrays
        edges = [pair for pairs in stage_edges(arrays).values() for pair in pairs]
        placed = np.unique(bundle[arrays.group[arrays.forward]]).tolist()
        follows: dict[int, list[int]] = {label: [] for label in placed}
        for a, b in edges:
            follows[int(bundle[a])].append(int(bundle[b]))
        parts = _components(follows)
        loose = sorted(set(bundle.tolist()) - set(placed))
        number = np.full(int(bundle.max()) + 1, -1, dtype=np.int64)
        for block, part in enumerate([*parts, *([label] for label in loose)]):
            number[part] = block
        #: Block of each group (g,), -1 for those in none.
        self.of: Ints = number[bundle]
        #: Groups of loose blocks (g,), and those of them whose time is not counted.
        self.loose: Bools = np.isin(bundle, loose)
        self.free: Bools = np.zeros_like(self.loose)
        self.edges = edges
        #: Groups that were in a block of their own before it was joined to another (g,).
        self.joined = np.zeros(arrays.group_count, dtype=bool)
        self._connect(len(parts) + len(loose))

    def leave_out(self) -> None:
        """Leave out what is still loose."""
        alone = np.ones(self.count, dtype=bool)
        alone[self.of[~self.loose]] = False
        number = np.where(alone, -1, np.cumsum(~alone) - 1)
        self.of = number[self.of]
        self._connect(int((~alone).sum()))

    def are_loose(self) -> Bools:
        """Tell which blocks are loose (b,)."""
        found = np.ones(self.count, dtype=bool)
        found[self.of[(self.of >= 0) & ~self.loose]] = False
        return found

    def _connect(self, count: int) -> None:
        self.count = count
        inner = {(int(self.of[a]), int(self.of[b])) for a, b in self.edges}
        #: Blocks that each one follows, as bits and in a list, and those that follow it.
        self.needs = [0] * count
        self.makers: list[list[int]] = [[] for _ in range(count)]
        self.readers: list[list[int]] = [[] for _ in range(count)]
        for a, b in sorted(inner):
            if a != b:
                self.needs[b] |= 1 << a
                self.makers[b].append(a)
                self.readers[a].append(b)

    def join(self, into: Ints, *, counted: bool) -> None:
        """Join each block to another one (b,), or to itself; `counted`: with what it takes."""
        roots = into.copy()
        while (roots[roots] != roots).any():
            roots = roots[roots]
        inside, loose = self.of >= 0, self.are_loose()
        moved = inside & (roots[self.of] != self.of)
        self.joined |= moved
        if not counted:
            self.free |= moved
        self.loose &= inside & loose[roots[self.of]]
        kept, number = np.unique(roots, return_inverse=True)
        self.of[inside] = number[self.of[inside]]
        self._connect(len(kept))

    def sums(self, amount: Ints) -> Ints:
        """Return the sum of an amount of groups over each block."""
        inside = self.of >= 0
        return sum_by(self.of[inside], amount[inside], self.count)

    def largest(self, amount: Ints) -> Ints:
        """Return the largest amount of a group in each block."""
        inside = self.of >= 0
        return max_by(self.of[inside], amount[inside], self.count)


def _components(follows: dict[int, list[int]]) -> list[list[int]]:
    """Return the strongly connected components, each before those that follow it (Tarjan, 1972)."""
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on: set[int] = set()
    found: list[list[int]] = []
    for root in follows:
        if root in number:
            continue
        trail: list[tuple[int, Iterator[int]]] = [(root, iter(follows[root]))]
        number[root] = low[root] = len(number)
        stack.append(root)
        on.add(root)
        while trail:
            here, ways = trail[-1]
            after = next(ways, None)
            if after is None:
                trail.pop()
                if trail:
                    low[trail[-1][0]] = min(low[trail[-1][0]], low[here])
                if low[here] == number[here]:
                    part = [stack.pop()]
                    while part[-1] != here:
                        part.append(stack.pop())
                    found.append(sorted(part))
                    on.difference_update(part)
            elif after not in number:
                number[after] = low[after] = len(number)
                stack.append(after)
                on.add(after)
                trail.append((after, iter(follows[after])))
            elif after in on:
                low[here] = min(low[here], number[after])
    return found[::-1]
