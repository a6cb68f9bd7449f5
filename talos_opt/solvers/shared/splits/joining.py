"""Tensors between blocks, and blocks that are nowhere better than beside a neighbour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talos_opt.core.problem import Bools, Floats, Ints
from talos_opt.solvers.shared.splits.blocks import Blocks


@dataclass(frozen=True)
class Tensors:
    """Tensors that go from a block to another one.

    Parameters
    ----------
    makes : (t, 2) int
        Tensor, and block that makes it.
    reads : (e, 2) int
        Tensor, and a block that reads it; each pair once.
    readers : (t,) int
        Blocks that read each tensor.
    out_time, in_time : (t, k) float
        Least load of a device of each kind by sending it, and by receiving it.
    """

    makes: Ints
    reads: Ints
    readers: Ints
    out_time: Floats
    in_time: Floats


class Joins:
    """Blocks that are nowhere better than beside a neighbour, and which one.

    Parameters
    ----------
    blocks : Blocks
    chosen : (b,) bool
        Blocks that may be joined to another.
    work : (b, k) float
    tensors : Tensors
    below : float
        Only chains of a smaller value are wanted.
    """

    def __init__(
        self, blocks: Blocks, chosen: Bools, work: Floats, tensors: Tensors, below: float
    ) -> None:
        self.blocks, self.tensors, self.chosen = blocks, tensors, chosen
        self.work, self.below = work, below
        self.loose = blocks.are_loose()
        self.able = np.isfinite(work)
        self.maker: list[int] = tensors.makes[:, 1].tolist()
        self.users: list[set[int]] = [{b} for b in self.maker]
        for t, b in tensors.reads.tolist():
            self.users[t].add(b)
        self.touches: list[list[int]] = [[] for _ in range(blocks.count)]
        for t, users in enumerate(self.users):
            for b in users:
                self.touches[b].append(t)

    def find(self) -> Ints:
        """Return the block that each one is joined to, itself where it stays (b,).

        No block that something is joined to moves itself.
        """
        into = np.arange(self.blocks.count)
        still = np.zeros(self.blocks.count, dtype=bool)
        for b in np.flatnonzero(self.chosen).tolist():
            target = -1 if still[b] else self._target(b)
            if target >= 0 and into[target] == target:
                into[b] = target
                still[target] = True
                for t in self.touches[b]:  # what was said of them holds no more
                    for other in self.users[t]:
                        still[other] = True
        return into

    def _target(self, b: int) -> int:
        """Return the neighbour that a block is to be joined to, -1 if there is none."""
        blocks = self.blocks
        near = {*blocks.makers[b], *blocks.readers[b]}
        for t in self.touches[b]:
            near |= self.users[t] if self.maker[t] == b else {self.maker[t]}
        near -= {b}
        if not 1 <= len(near) <= 2:
            return -1
        between = [len(near.intersection(side)) for side in (blocks.makers[b], blocks.readers[b])]
        if len(near) == 2 and not self.loose[b] and between != [1, 1]:
            return -1  # it is not between them
        for target in sorted(near, reverse=True):
            (other,) = near - {target} or {-1}
            if self._may(b, target) and self._is_no_dearer(b, target, other):
                return target
        return -1

    def _may(self, b: int, target: int) -> bool:
        fits = bool((self.able[b] | ~self.able[target]).all())
        return fits and bool(self.loose[b] or not self.loose[target])

    def _is_no_dearer(self, b: int, target: int, other: int) -> bool:
        """Whether no stage gets worse where a block comes to its target, from wherever it is.

        Then `other`, its second neighbour if there is one (-1), may have to send and receive what
        they exchange, and the target has to do its work.
        """
        out, into, maker = self.tensors.out_time, self.tensors.in_time, self.maker
        kinds = out.shape[1]
        # Where the block was, or the other is; and at the target.
        paid, saved = np.zeros((2, kinds)), np.zeros((2, kinds))
        paid[1] = np.where(self.able[b], self.work[b], 0.0)
        for t in self.touches[b]:
            here, users = maker[t] == b, self.users[t]
            if users == {b, target}:
                saved += [out[t], into[t]] if here else [into[t], out[t]]
            elif here and target in users:
                return False  # both read it
            elif here:
                paid += [into[t], out[t]]
            elif maker[t] == other and target not in users:
                paid += [out[t], into[t]]
        ends = [other] if other >= 0 else []
        fine = [self.work[end] < self.below for end in (*ends, target)]
        rows = [0, 1][-len(fine) :]
        return all(
            bool((paid[row] <= saved[row])[possible].all())
            for row, possible in zip(rows, fine, strict=True)
        )
