"""Blocks of colocation groups as stages take them: their loads by phase, and what they exchange."""

from __future__ import annotations

import numpy as np

from talos_opt.core.columns import BACKWARD, FORWARD
from talos_opt.core.problem import Floats, Ints, Problem
from talos_opt.solvers.pipelines.facts import held_bytes, op_loads, route_times
from talos_opt.solvers.shared.splits.blocks import Blocks


class StepBlocks:
    """What shares a stage in every pipeline.

    Groups without a forward op are in no block: they may be on any device, whatever the stages.

    Parameters
    ----------
    problem : Problem
    """

    def __init__(self, problem: Problem) -> None:
        arrays = problem.arrays
        self.inner = Blocks(arrays, np.arange(arrays.group_count))
        self.inner.leave_out()
        self.count = self.inner.count
        #: Block of each group (g,), -1 for those in none.
        self.of: Ints = self.inner.of
        self.loose: Ints = np.flatnonzero(self.of < 0)
        self.everything = (1 << self.count) - 1
        self.capacity = arrays.capacity
        op_block = self.of[arrays.group]
        phase = problem.graph.columns.phases
        #: Time of each block on each device by phase (b, m, 3); infinite where it cannot be.
        self.load: Floats = np.zeros((self.count, arrays.device_count, 3))
        times = op_loads(problem)
        inside = op_block >= 0
        for d in range(arrays.device_count):
            np.add.at(self.load[:, d], (op_block[inside], phase[inside]), times[inside, d])
        impossible = ~np.isfinite(self.load).all(axis=2)
        self.load[impossible] = np.inf
        held, stash = held_bytes(problem)
        #: Bytes that each device holds for each block at the least (b, m).
        self.least_held: Ints = np.zeros((self.count, arrays.device_count), dtype=np.int64)
        np.add.at(self.least_held, op_block[inside], (held + stash)[inside])
        self._latency, self._per_byte = route_times(problem)
        best = self.load.min(axis=1)
        self._forward, self._backward = best[:, FORWARD], best[:, BACKWARD]
        self._connect(problem, op_block, phase)
        self._measure()

    def _connect(self, problem: Problem, op_block: Ints, phase: Ints) -> None:
        arrays = problem.arrays
        source, target = op_block[arrays.edge_src], op_block[arrays.edge_dst]
        kinds = phase[arrays.edge_src], phase[arrays.edge_dst]
        #: Blocks whose forward ops each one reads, with the bytes of the largest tensor.
        self.reads = self._largest(source, target, arrays.edge_bytes, kinds, FORWARD)
        back = self._largest(target, source, arrays.edge_bytes, kinds, BACKWARD)
        #: Blocks that read backward ops of each one, with the bytes of the largest tensor.
        self.gradients = back

    def _largest(
        self, source: Ints, target: Ints, size: Ints, kinds: tuple[Ints, Ints], phase: int
    ) -> list[list[tuple[int, int]]]:
        """Return, for each target, its sources within a phase and the largest bytes."""
        found: list[dict[int, int]] = [{} for _ in range(self.count)]
        chosen = (kinds[0] == phase) & (kinds[1] == phase) & (source != target)
        chosen &= (source >= 0) & (target >= 0)
        rows = zip(
            source[chosen].tolist(), target[chosen].tolist(), size[chosen].tolist(), strict=True
        )
        for a, b, count in rows:
            found[b][a] = max(found[b].get(a, 0), count)
        return [list(row.items()) for row in found]

    def _measure(self) -> None:
        """Longest ways from each block to the end, and there and back again (b,)."""
        followers = self._followers = self.inner.readers
        self.out = self._forward.copy()
        self.loop = self._forward + self._backward
        back = [{reader for reader, _ in self.gradients[b]} for b in range(self.count)]
        #: Followers that send a gradient back (b).
        self._returning = [[b for b in row if a in back[b]] for a, row in enumerate(followers)]
        for a in self._backwards():
            if followers[a]:
                self.out[a] += max(self.out[b] for b in followers[a])
            if self._returning[a]:
                self.loop[a] += max(self.loop[b] for b in self._returning[a])

    def _backwards(self) -> list[int]:
        """Blocks, each after all that follow it."""
        order: list[int] = []
        waits = [len(row) for row in self._followers]
        free = [a for a in range(self.count) if not waits[a]]
        while free:
            b = free.pop()
            order.append(b)
            for a in self.inner.makers[b]:
                waits[a] -= 1
                if not waits[a]:
                    free.append(a)
        return order

    # ---- what a search asks ----------------------------------------------------------------

    def ready(self, placed: int) -> list[int]:
        """Blocks that may come next to those that are placed (bits)."""
        needs = self.inner.needs
        return [b for b in range(self.count) if not placed >> b & 1 and not needs[b] & ~placed]

    def members(self, some: int) -> list[int]:
        """Blocks of a set (bits)."""
        return [b for b in range(self.count) if some >> b & 1]

    def route(self, source: int, target: int, size: int) -> float:
        """Time of a tensor from one device to another; infinite without a route."""
        return float(self._latency[source, target] + self._per_byte[source, target] * size)

    def backward_on(self, block: int, home: Ints) -> float:
        """Time of the backward ops of the stage that a block is in."""
        stage = home == home[block]
        return float(self.load[stage, int(home[block]), BACKWARD].sum())

    def rest_after(self, inside: list[int], placed: int) -> tuple[float, float]:
        """Least time from a stage's forward block to the end, and to what comes back to it."""
        out = loop = 0.0
        for a in inside:
            for b in self._followers[a]:
                if not placed >> b & 1:
                    out = max(out, float(self.out[b]))
            for b in self._returning[a]:
                if not placed >> b & 1:
                    loop = max(loop, float(self.loop[b]))
        return out, loop
