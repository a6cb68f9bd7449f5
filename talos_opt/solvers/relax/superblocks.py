"""The superblock bound on the bottleneck: identical devices told apart only in part.

The placement MILP suffers from identical devices: its LP relaxation spreads every op over all of
them, and no tensor travels. Here the k devices of a class become blocks, some single and the rest
one block whose load counts k' times; what moves inside a block is free. Every placement gives a
solution, so the optimum is a lower bound; with two blocks it is a graph cut with weights, which a
MILP solver closes fast. Single devices are ordered by their work, each with at least the average
of what follows. Akin to the superblocks of Archer et al., "Practical Performance Guarantees for
Pipelined DNN Inference" (ICML 2024), without their order of stages; argument in docs/bounds.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from talos_opt.core.problem import ANY_STAGES, UNLIMITED, Floats, Ints, Problem
from talos_opt.solvers.bounds.routes import resident_bytes, route_legs
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.ilp.backend import Job
from talos_opt.solvers.ilp.bounding import safe_bound
from talos_opt.solvers.ilp.builder import Builder, Terms, Variable
from talos_opt.solvers.ilp.highs import solve_highs
from talos_opt.solvers.relax.binding import Bindings, bindings, union
from talos_opt.solvers.shared.offering import offer_placement
from talos_opt.solvers.shared.symmetry import identical_devices
from talos_opt.solvers.shared.tensors import Tensor, tensors

#: Value that the incumbent has on the scaled objective.
_SCALE = 100.0
#: Relative gap at which a stage counts as closed.
_GAP = 1e-6


@dataclass(frozen=True)
class Partition:
    """Devices in blocks.

    Parameters
    ----------
    blocks : tuple of tuple of int
        Devices of each block; those of one block are interchangeable.
    chains : tuple of tuple of int
        Blocks of each class of interchangeable devices, in order of falling work per device.
    """

    blocks: tuple[tuple[int, ...], ...]
    chains: tuple[tuple[int, ...], ...]


def partitions(problem: Problem) -> list[Partition]:
    """Return partitions to try: one device of each class by itself, and all of them."""
    classes = identical_devices(problem.with_stages(ANY_STAGES))
    largest = max((len(members) for members in classes), default=1)
    singles = [largest] if largest <= 2 else [1, largest]
    return [_partition(problem.arrays.device_count, classes, count) for count in singles]


def _partition(devices: int, classes: list[list[int]], singles: int) -> Partition:
    blocks: list[tuple[int, ...]] = []
    chains = []
    for members in classes:
        cut = min(singles, len(members))
        own: list[tuple[int, ...]] = [(d,) for d in members[:cut]]
        own += [tuple(members[cut:])] if cut < len(members) else []
        chains.append(tuple(range(len(blocks), len(blocks) + len(own))))
        blocks += own
    shared = {d for members in classes for d in members}
    blocks += [(d,) for d in range(devices) if d not in shared]
    return Partition(tuple(blocks), tuple(chains))


class SuperblockFormulation:
    """MILP over which block each colocation group sits in.

    Parameters
    ----------
    problem : Problem
        Objective bottleneck.
    partition : Partition
    upper : float
        Value of the incumbent.
    stopped : callable
        Looked at while writing; `BuildStoppedError` is raised.
    """

    def __init__(
        self,
        problem: Problem,
        partition: Partition,
        upper: float,
        stopped: Callable[[], bool],
    ) -> None:
        self.problem, self.partition = problem, partition
        self.arrays = problem.arrays
        #: What one unit of the scaled objective is worth.
        self.unit = upper / _SCALE
        self.write = Builder("superblocks", stopped)
        # No known lower bound here: an LP whose value is its variable's bound guides no branching
        # (gnmt training stood still for 30 s where it went on to 87.7 in 7 s without).
        self.bottleneck = self.write.continuous("T", 0.0, _SCALE * (1 + 1e-9))
        bound = bindings(problem, upper)
        #: Colocation groups that are placed as one have one number.
        self.part = union(self.arrays.group_count, bound.together)
        self.work = self._block_work()
        self._assign()
        self._bind(bound)
        self._limit_memory()
        loads = [self._op_load(b) for b in range(len(partition.blocks))]
        for block, terms in enumerate(loads):
            devices = partition.blocks[block]
            terms = terms + self._transfer_load(block)
            self.write.at_most([*terms, (self.bottleneck, -len(devices))], 0.0)
        self._order(loads)
        self.write.minimise([(self.bottleneck, 1.0)])

    def _block_work(self) -> Floats:
        """Scaled load of each part on a device of each block (p, b); infinite: not allowed."""
        arrays = self.arrays
        work = np.zeros((int(self.part.max()) + 1, len(self.partition.blocks)))
        for block, (device, *_) in enumerate(self.partition.blocks):
            own = arrays.time[:, device]
            scaled = np.where(np.isfinite(own), own, 0.0) * arrays.demand
            np.add.at(
                work[:, block], self.part[arrays.group], scaled / arrays.slots[device] / self.unit
            )
            work[self.part[~arrays.allowed[:, device]], block] = np.inf
        return work

    def _assign(self) -> None:
        self.x: list[dict[int, Variable]] = []
        for group, row in enumerate(self.work.tolist()):
            there = [block for block, load in enumerate(row) if math.isfinite(load)]
            self.x.append({block: self.write.binary(f"x{group}_{block}") for block in there})
            self.write.equal([(one, 1.0) for one in self.x[-1].values()], 1.0)

    def _bind(self, bound: Bindings) -> None:
        """Parts whose tensor is too dear for two paying devices: one on a free one, or together."""
        free = [k for k, (d, *_) in enumerate(self.partition.blocks) if not bound.paying[d]]
        pairs = {(int(self.part[a]), int(self.part[b])) for a, b in bound.near}
        for a, b in sorted({*pairs, *((b, a) for a, b in pairs)}):
            if a == b:
                continue
            outside = [(self.x[b][k], 1.0) for k in free if k in self.x[b]]
            for block, one in self.x[a].items():
                if block in free:
                    continue
                there = [(self.x[b][block], 1.0)] if block in self.x[b] else []
                self.write.at_least([*outside, *there, (one, -1.0)], 0.0)

    def _limit_memory(self) -> None:
        """What stays on the devices of a block fits into all of them together."""
        arrays = self.arrays
        held = np.zeros(len(self.work))
        np.add.at(held, self.part[arrays.group], resident_bytes(arrays, self.problem.memory_rule))
        for block, devices in enumerate(self.partition.blocks):
            capacity = int(arrays.capacity[devices[0]])
            if capacity >= UNLIMITED or held.sum() <= capacity * len(devices):
                continue
            terms = [
                (row[block], float(size) / capacity)
                for row, size in zip(self.x, held, strict=True)
                if block in row and size
            ]
            self.write.at_most(terms, len(devices) * (1 + 1e-9))

    def _op_load(self, block: int) -> Terms:
        return [
            (row[block], float(self.work[group, block]))
            for group, row in enumerate(self.x)
            if block in row and self.work[group, block] > 0
        ]

    def _order(self, loads: list[Terms]) -> None:
        """Interchangeable devices in order of falling work; the rest of a class on average."""
        for chain in self.partition.chains:
            for before, after in pairwise(chain):
                share = len(self.partition.blocks[after])
                rest = [(one, -load) for one, load in loads[after]]
                self.write.at_least([*((v, share * load) for v, load in loads[before]), *rest], 0.0)

    def placement(self, values: Callable[[Variable], float]) -> Ints | None:
        """Return the placement (n,) that a solution stands for; None where blocks hide it."""
        if any(len(devices) > 1 for devices in self.partition.blocks):
            return None
        home = [max(row, key=lambda block: values(row[block])) for row in self.x]
        device = np.array([self.partition.blocks[block][0] for block in home], dtype=np.int64)
        return device[self.part[self.arrays.group]]

    # ---- transfers -------------------------------------------------------------------------

    def _transfer_load(self, block: int) -> Terms:
        """Least time that tensors into and out of a block take of devices without a copy engine."""
        devices = self.partition.blocks[block]
        if self.arrays.copy_engine[devices[0]]:
            return []
        terms: Terms = []
        inside = np.isin(np.arange(self.arrays.device_count), devices)
        leaving, arriving = route_legs(self.arrays, inside)
        for tensor in tensors(self.problem):
            size = min(tensor.readers.values())
            if block in self.x[self.part[tensor.group]]:
                cost = leaving.time(size) / self.unit
                terms += self._crossing(tensor, block, cost, out=True)
            cost = arriving.time(size) / self.unit
            terms += self._crossing(tensor, block, cost, out=False)
        return terms

    def _crossing(self, tensor: Tensor, block: int, cost: float, *, out: bool) -> Terms:
        """A tensor costs a block once if it leaves it, or comes in, however many read it."""
        if not 0 < cost < math.inf:
            return []
        own = int(self.part[tensor.group])
        home = self.x[own].get(block)
        groups = {int(self.part[self.arrays.group[reader]]) for reader in tensor.readers} - {own}
        if not groups:
            return []
        crosses = self.write.continuous(f"c{tensor.number}_{block}_{int(out)}", 0.0, 1.0)
        for group in groups:
            there = self.x[group].get(block)
            plus, minus = (home, there) if out else (there, home)
            if plus is None:
                continue
            row = [(crosses, 1.0), (plus, -1.0)]
            self.write.at_least(row if minus is None else [*row, (minus, 1.0)], 0.0)
        return [(crosses, cost)]


def prove_bottleneck(problem: Problem, run: Run, name: str, share: float = 0.5) -> None:
    """Raise the bound by one partition after the other.

    Parameters
    ----------
    problem : Problem
        Objective bottleneck.
    run : Run
        Has an incumbent.
    name : str
        Who to report as.
    share : float
        Share of the remaining time for each partition but the last.

    Raises
    ------
    BuildStoppedError
        If stopped while a formulation was being written.
    """
    plan = partitions(problem)
    for number, partition in enumerate(plan):
        if run.stopped:
            return
        formulation = SuperblockFormulation(problem, partition, run.value, lambda: run.stopped)
        unit = formulation.unit
        last = number == len(plan) - 1
        part = run if last else run.limited(share * run.remaining)

        def claim(bound: float, unit: float = unit) -> None:
            if math.isfinite(bound):
                run.raise_bound(min(safe_bound(bound, unit, 0.0), run.value), name)

        def offer(
            values: Callable[[Variable], float],
            formulation: SuperblockFormulation = formulation,
        ) -> None:
            device = formulation.placement(values)
            if device is not None:
                offer_placement(run, device, problem.arrays.level, name)

        outcome = solve_highs(
            Job(
                formulation.write.program,
                part.budget,
                _GAP,
                run.seed,
                run.workers,
                lambda: run.stopped,
                offer,
                claim,
            )
        )
        if outcome.bound is not None:
            claim(outcome.bound)
