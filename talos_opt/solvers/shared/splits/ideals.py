"""Order ideals of blocks: sets that hold, with each block, all that it follows; as bits."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from talos_opt.core.problem import Problem
from talos_opt.solvers.shared.constructive import depth_first_rank
from talos_opt.solvers.shared.splits.blocks import Blocks
from talos_opt.solvers.shared.splits.joining import Tensors

Ideals = tuple[list[int], list[list[tuple[int, int]]]]


def list_ideals(
    blocks: Blocks,
    tensors: Tensors,
    order: list[int],
    width: float,
    most: float,
    stopped: Callable[[], bool],
) -> Ideals | None:
    """Return ideals as bits, smaller ones first, and (block, ideal) for the steps from each.

    None if there are more than `most`, or the time is over. Of each size `width` are kept at
    the most: the next one of a topological order, and those whose cut is cheapest.

    Parameters
    ----------
    blocks : Blocks
    tensors : Tensors
    order : list of int
        A topological order of the blocks.
    width, most : float
    stopped : callable
    """
    prefix = 0
    ideals: list[int] = [0]
    steps: list[list[tuple[int, int]]] = [[]]
    layer: dict[int, tuple[float, int, tuple[int, ...]]] = {
        0: (0.0, 0, tuple(b for b in range(blocks.count) if not blocks.needs[b]))
    }
    cuts = _Cuts(tensors, blocks.count)
    for block in order:
        prefix |= 1 << block
        above: dict[int, tuple[float, int, tuple[int, ...]]] = {}
        into: list[tuple[int, int, int]] = []
        for members, (cut, at, ready) in layer.items():
            if stopped():
                return None
            for b in ready:
                more = members | 1 << b
                into.append((at, b, more))
                if more not in above:
                    after = tuple(
                        r
                        for r in (*ready, *blocks.readers[b])
                        if r != b and not blocks.needs[r] & ~more
                    )
                    price = cuts.after(cut, members, b) if width < math.inf else 0.0
                    above[more] = (price, 0, tuple(dict.fromkeys(after)))
        if len(above) > width:
            kept = sorted(above, key=lambda m: (m != prefix, above[m][0]))[: int(width)]
            above = {members: above[members] for members in kept}
        if len(ideals) + len(above) > most:
            return None
        layer = {}
        for members, (price, _, ready) in above.items():
            layer[members] = (price, len(ideals), ready)
            ideals.append(members)
            steps.append([])
        for at, b, more in into:
            if more in layer:
                steps[at].append((b, layer[more][1]))
    return ideals, steps


def block_order(problem: Problem, blocks: Blocks) -> list[int]:
    """Blocks in a topological order that goes deep first."""
    arrays = problem.arrays
    block = blocks.of[arrays.group]
    inside = arrays.forward
    rank = np.full(blocks.count, arrays.op_count, dtype=np.int64)
    np.minimum.at(rank, block[inside], depth_first_rank(problem)[inside])
    order: list[int] = []
    done = 0
    left = sorted(range(blocks.count), key=rank.__getitem__)
    ready = [b for b in left if not blocks.needs[b]]
    while ready:
        b = min(ready, key=rank.__getitem__)
        ready.remove(b)
        order.append(b)
        done |= 1 << b
        ready += [r for r in blocks.readers[b] if not blocks.needs[r] & ~done]
    return order


class _Cuts:
    """What is sent over the cut between an ideal and the rest.

    Parameters
    ----------
    tensors : Tensors
    count : int
        Of blocks.
    """

    def __init__(self, tensors: Tensors, count: int) -> None:
        self.worth = (tensors.out_time + tensors.in_time).max(axis=1, initial=0.0).tolist()
        if not any(self.worth):  # nobody pays: few tensors are a good cut too
            self.worth = [1.0] * len(self.worth)
        self.readers = [0] * len(self.worth)
        self.maker = [0] * len(self.worth)
        self.touches: list[list[int]] = [[] for _ in range(count)]
        for t, b in tensors.makes.tolist():
            self.maker[t] = 1 << b
            self.touches[b].append(t)
        for t, b in tensors.reads.tolist():
            self.readers[t] |= 1 << b
            self.touches[b].append(t)

    def after(self, cut: float, members: int, block: int) -> float:
        """Return the price of the cut once a block has joined an ideal of a cut of some price."""
        more = members | 1 << block
        for t in self.touches[block]:
            cut += self.worth[t] * (self._crosses(t, more) - self._crosses(t, members))
        return cut

    def _crosses(self, tensor: int, members: int) -> bool:
        every = self.readers[tensor] | self.maker[tensor]
        return bool(every & members) and bool(every & ~members)
