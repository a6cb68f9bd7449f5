"""The order of smallest peak on one device: a bottleneck path through the order ideals.

A step from an ideal runs one op, and costs the bytes alive meanwhile; an order is worth its dearest
step. Ideals are expanded as long as steps within the bound lead to new ones; then the cheapest step
beyond it is the next bound. So the first way to the top is an optimal order, and the bound rises on
the way (docs/bounds.md, "Peaks over order ideals").
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from talos_opt.core.problem import Arrays
from talos_opt.solvers.dp.ideals import IdealGraph

#: An ideal, the bytes alive, the ops that are ready, the ideal before, and the ops run since.
Step = tuple[int, int, list[int], int, tuple[int, ...]]
#: Ideals between two looks at the clock.
_LOOKS = 64


class PeakSearch:
    """Best-first search over the ideals of one device's ops.

    Parameters
    ----------
    arrays : Arrays
        With one device.
    bound : int
        Bytes beside the weights that any order needs, as far as is known.
    below : int
        Orders that need so many bytes are of no use.
    most : int
        Give up after so many ideals.
    stopped : callable
    """

    def __init__(
        self, arrays: Arrays, bound: int, below: int, most: int, stopped: Callable[[], bool]
    ) -> None:
        self.graph, self.count = IdealGraph(arrays), arrays.op_count
        self.output, self.work = arrays.output.tolist(), arrays.workspace.tolist()
        self.size: list[int] = arrays.tensor_size.tolist()
        tensors = arrays.edge_tensor[arrays.in_edge].tolist()
        self.reads = [tensors[a:b] for a, b in pairwise(arrays.in_ptr.tolist())]
        #: Bytes that are left of what an op makes: what nobody reads is gone when it ends.
        self.kept = [
            sum(self.size[r] for r in made if self.graph.feeds[r]) for made in self.graph.made
        ]
        #: What takes no time holds nothing while it runs.
        self.lasts = (arrays.time[:, 0] > 0).tolist()
        self.bound, self.below, self.most = bound, below, most
        self.stopped = stopped
        #: Ideal -> the one before, and the ops run in between.
        self.before: dict[int, tuple[int, tuple[int, ...]]] = {}

    def run(self, tell: Callable[[int], None]) -> np.ndarray | None:
        """Return an optimal order; None if none is below the limit, or the search was given up.

        In the first case the bound has reached the limit.

        Parameters
        ----------
        tell : callable
            Called with each new bound.
        """
        everything = (1 << self.count) - 1
        sources = [i for i, ops in enumerate(self.graph.inputs) if not ops]
        now: list[Step] = [(0, 0, sources, 0, ())]
        later: list[tuple[int, int, Step]] = []
        number = 0
        while True:
            while now:
                number += 1
                if number % _LOOKS == 0 and (self.stopped() or len(self.before) > self.most):
                    return None
                members, live, ready, origin, ops = now.pop()
                if members in self.before:
                    continue
                members, live, ready, ops = self._run_free(members, live, ready, ops)
                if members in self.before:
                    continue
                self.before[members] = origin, ops
                if members == everything:
                    return self._trace(members)
                for i in ready:
                    top = live + self.output[i] + self.work[i] if self.lasts[i] else 0
                    if top >= self.below or members | 1 << i in self.before:
                        continue
                    step = (*self._step(members, live, ready, i), members, (i,))
                    if top <= self.bound:
                        now.append(step)
                    else:
                        number += 1
                        heapq.heappush(later, (top, -number, step))
            if not later:
                self.bound = self.below
                tell(self.bound)
                return None
            if later[0][0] > self.bound:
                self.bound = later[0][0]
                tell(self.bound)
            while later and later[0][0] <= self.bound:
                now.append(heapq.heappop(later)[2])

    def _run_free(
        self, members: int, live: int, ready: list[int], ops: tuple[int, ...]
    ) -> tuple[int, int, list[int], tuple[int, ...]]:
        """Run what frees as much as it makes, within the bound: no order is the worse for it."""
        run = list(ops)
        again = True
        while again:
            again = False
            for i in ready:
                if self.lasts[i] and live + self.output[i] + self.work[i] > self.bound:
                    continue
                step = self._step(members, live, ready, i)
                if step[1] <= live:
                    members, live, ready = step
                    run.append(i)
                    again = True
                    break
        return members, live, ready, tuple(run)

    def _step(
        self, members: int, live: int, ready: list[int], op: int
    ) -> tuple[int, int, list[int]]:
        """Return ideal, bytes alive and ready ops after an op has run."""
        graph = self.graph
        members |= 1 << op
        live += self.kept[op]
        for tensor in self.reads[op]:
            if not graph.feeds[tensor] & ~members:
                live -= self.size[tensor]
        left = [i for i in ready if i != op]
        left += [r for r in dict.fromkeys(graph.readers[op]) if not graph.needs[r] & ~members]
        return members, live, left

    def _trace(self, members: int) -> np.ndarray:
        order: list[int] = []
        while members:
            members, ops = self.before[members]
            order += reversed(ops)
        return np.array(order[::-1], dtype=np.int64)
