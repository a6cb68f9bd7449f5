"""Contiguous splits: chains of order ideals, a stage of the pipeline between any two.

A placement whose stages are acyclic is a chain of order ideals {} < I1 < I2 < ... < all: the
devices in an order that all arcs follow, stage s being what I(s) has and I(s - 1) has not
(Tarnawski et al., NeurIPS 2020). The dynamic programme over ideals and the devices that are used
up finds the chain of the smallest largest load; docs/bounds.md says when that is the optimum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from talos_opt.core.problem import (
    UNLIMITED,
    Arrays,
    Floats,
    Ints,
    MemoryRule,
    Problem,
    StageRule,
)
from talos_opt.core.rounding import sum_error
from talos_opt.solvers.shared.splits.blocks import Blocks
from talos_opt.solvers.shared.splits.ideals import Ideals, block_order, list_ideals
from talos_opt.solvers.shared.splits.joining import Joins, Tensors
from talos_opt.solvers.shared.symmetry import device_kinds

if TYPE_CHECKING:
    from talos_opt.kernels.splits import Lattice, Plans

#: Ideals times uses of devices that are kept at the most: 16 bytes each.
_MOST_CELLS = 24_000_000
#: Stages that the kernel looks at between two looks at the clock: some hundredths of a second.
_CHUNK = 300_000
#: By how much the largest load of a balanced split may exceed the bound: as a share of what is
#: known; and of the bound, which is no excess. Walks for each, and their steps for each block.
_EXCESSES, _EVEN, _WALKS, _STEPS = (0.0, 1e-3, 1e-2, 0.1), 3e-7, 3, 4_000


@dataclass(frozen=True)
class Split:
    """What the programme over ideals came to.

    Parameters
    ----------
    device : (n,) int or None
        Placement of the best chain below the limit, if there is one.
    bound : float
        No acyclic placement of one model has a smaller largest load; 0 where that is not proven.
    impossible : bool
        Whether no placement of any value fits the devices.
    """

    device: Ints | None
    bound: float
    impossible: bool = False


class SplitSearch:
    """The programme over ideals of one problem.

    Parameters
    ----------
    problem : Problem
    shares : (m,) float
        Prices of devices, at least 0, that sum to 1: `load_shares` finds good ones.
    below : float
        Only chains of a smaller value are wanted.
    """

    def __init__(self, problem: Problem, shares: Floats, below: float = math.inf) -> None:
        self.problem, self.arrays = problem, problem.arrays
        self.below = below
        self.kinds = device_kinds(self.arrays)
        self.blocks = Blocks(self.arrays, self._bundles())
        self.shares = np.array([float(shares[members].mean()) for members in self.kinds])
        self.work = self._work(counted=True)
        self.tensors = self._tensors()
        self._join_cheap()
        #: Everything one after another: no load reaches it.
        self.most = 1.0 + 2 * float(
            np.where(np.isfinite(self.work), self.work, 0.0).max(axis=1).sum()
            + self.tensors.out_time.max(axis=1, initial=0.0).sum()
            + self.tensors.readers @ self.tensors.in_time.max(axis=1, initial=0.0)
        )

    def run(self, most_ideals: int, stopped: Callable[[], bool], *, narrow: bool = False) -> Split:
        """Find the best chain of a value below the limit.

        Parameters
        ----------
        most_ideals : int
            With more than these, only some of them are looked at, and nothing is proven.
        stopped : callable
            Asked now and then, whether to give up.
        narrow : bool
            Look at some of them from the start: those of a few topological orders.
        """
        from talos_opt.kernels.splits import extend_chains

        limit = min(self.below, self.most)
        following, kind, price, last = self._uses()
        most_ideals = max(2, min(most_ideals, _MOST_CELLS // len(following)))
        whole, layers = not narrow, None
        order = block_order(self.problem, self.blocks)
        if not narrow:
            layers = list_ideals(self.blocks, self.tensors, order, math.inf, most_ideals, stopped)
        if layers is None:
            whole = False
            width = max(1, most_ideals // (self.blocks.count + 1))
            layers = list_ideals(self.blocks, self.tensors, order, width, math.inf, stopped)
        if layers is None:
            return Split(None, 0.0)
        lattice = self._lattice(layers)
        plans = _make_plans(len(layers[0]), following, kind, price)
        at, ideals = 0, len(layers[0])
        while at < ideals and not stopped():
            at = extend_chains(lattice, plans, at, limit, _CHUNK)
        ends = np.where(last, plans.value[-1], np.inf)
        use = int(ends.argmin())
        value = float(ends[use])
        device = self._placement(layers[0], plans, use) if value < limit else None
        proven = at >= ideals and whole and len(self.arrays.release) == 1
        terms = self.arrays.op_count + len(self.arrays.edge_src)
        bound = min(value, limit) * (1 - 2 * sum_error(terms)) if proven else 0.0
        return Split(device, bound, proven and value == self.below == math.inf)

    def _bundles(self) -> Ints:
        """Label groups that share a device (g,), since their tensors would cost too much else."""
        arrays = self.arrays
        label = np.arange(arrays.group_count)
        if not math.isfinite(self.below) or arrays.copy_engine.all():
            return label
        out = np.zeros((arrays.tensor_count, len(self.kinds)))
        into = np.zeros_like(out)
        size = np.full(arrays.tensor_count, UNLIMITED, dtype=np.int64)
        np.minimum.at(size, arrays.edge_tensor, arrays.edge_bytes)
        for k, members in enumerate(self.kinds):
            out[:, k], into[:, k] = self._hop_times(members[0], size)
        group = arrays.group
        rows = np.unique(
            np.column_stack([group[arrays.edge_src], group[arrays.edge_dst], arrays.edge_tensor]),
            axis=0,
        )
        paid: dict[tuple[int, int], Floats] = {}
        for maker, reader, t in rows[rows[:, 0] != rows[:, 1]].tolist():
            pair = (min(maker, reader), max(maker, reader))
            cost = paid.setdefault(pair, np.zeros((2, len(self.kinds))))
            cost += [out[t], into[t]] if maker < reader else [into[t], out[t]]
        for (a, b), cost in paid.items():
            if self._least_apart(cost, a, b) > self.below * (1 + sum_error(arrays.tensor_count)):
                label[label == label[b]] = label[a]
        return label

    def _least_apart(self, cost: Floats, a: int, b: int) -> float:
        """Least of the largest load that two groups on two devices cause by their tensors."""
        least = math.inf
        for k, at in enumerate(self.kinds):
            for other, there in enumerate(self.kinds):
                if k == other and len(at) == 1:
                    continue
                if self.arrays.allowed[a, at[0]] and self.arrays.allowed[b, there[0]]:
                    least = min(least, max(float(cost[0, k]), float(cost[1, other])))
        return least

    def balance(self, least: float, seed: int, stopped: Callable[[], bool]) -> Ints | None:
        """Return a placement of almost equal loads, None if random walks come to none.

        Where nobody pays for transfers and all devices are alike, each stage only has to be filled
        up to its share. On a wide graph some ideal does it, and walks come across one soon.

        Parameters
        ----------
        least : float
            A lower bound on the largest load.
        seed : int
        stopped : callable
        """
        from talos_opt.kernels.splits import walk_cuts

        paid = self.tensors.out_time.any() or self.tensors.in_time.any()
        if len(self.kinds) > 1 or paid or not math.isfinite(self.below):
            return None
        if not np.isfinite(self.work).all() or (self.blocks.of < 0).any():
            return None
        ptr, near, ahead = self._neighbours()
        stage = np.zeros(self.blocks.count, dtype=np.int64)
        random = np.array([seed], dtype=np.uint64)
        devices = self.kinds[0]
        for share in _EXCESSES:
            limit = least + max(share * (self.below - least), _EVEN * least)
            for _ in range(_WALKS):
                if stopped() or limit >= self.below:
                    return None
                if walk_cuts(
                    self.work[:, 0].copy(), ptr, near, ahead, stage, len(devices), limit,
                    _STEPS * self.blocks.count, random,
                ):  # fmt: skip
                    return np.array(devices)[stage[self.blocks.of]][self.arrays.group]
        return None

    def _neighbours(self) -> tuple[Ints, Ints, Ints]:
        """Return `ptr`, `near` and `ahead` as `walk_cuts` takes them."""
        rows = []
        for a, readers in enumerate(self.blocks.readers):
            for b in readers:
                rows += [(a, b, 0), (b, a, 1)]
        table = np.array(sorted(rows), dtype=np.int64).reshape(-1, 3)
        ptr = np.searchsorted(table[:, 0], np.arange(self.blocks.count + 1)).astype(np.int64)
        return ptr, table[:, 1].copy(), table[:, 2].copy()

    def _join_cheap(self) -> None:
        """Join blocks to a neighbour beside which they never cost more, for good.

        What they hold is forgotten, so that the rest is a relaxation: see docs/bounds.md. So is
        then what loose blocks take that are left, and where they would cost least still counts.
        """
        blocks = self.blocks
        self._join(counted=True)
        if blocks.are_loose().any():
            self.work = self._work(counted=False)
            self._join(counted=False)
            blocks.leave_out()
            self._join(counted=True)

    def _join(self, *, counted: bool) -> None:
        """Join blocks until none can be; `counted`: with what loose blocks take."""
        blocks = self.blocks
        while True:
            self.work, self.tensors = self._work(counted=counted), self._tensors()
            chosen = blocks.are_loose()
            if counted and not self.problem.stages.use_all:  # else a device could become empty
                chosen[:] = True
            into = Joins(blocks, chosen, self.work, self.tensors, self.below).find()
            if (into == np.arange(blocks.count)).all():
                return
            blocks.join(into, counted=counted)

    # ---- what devices pay ------------------------------------------------------------------

    def _work(self, *, counted: bool) -> Floats:
        """Load of each block on a device of each kind (b, k); infinite where it cannot run.

        `counted`: that of loose blocks is not 0.
        """
        arrays, blocks = self.arrays, self.blocks
        work = np.zeros((blocks.count, len(self.kinds)))
        block = blocks.of[arrays.group]
        inside = block >= 0
        for k, members in enumerate(self.kinds):
            d = members[0]
            time = np.where(arrays.allowed[arrays.group, d], arrays.time[:, d], np.inf)
            load = time * arrays.demand / arrays.slots[d]
            if not counted:
                load[blocks.loose[arrays.group] & np.isfinite(load)] = 0.0
            load[blocks.free[arrays.group] & np.isfinite(load)] = 0.0
            np.add.at(work[:, k], block[inside], load[inside])
        return work

    def _tensors(self) -> Tensors:
        """Tensors that go from a block to another: who makes and reads them, and their times."""
        arrays, of = self.arrays, self.blocks.of
        source, target = of[arrays.group[arrays.edge_src]], of[arrays.group[arrays.edge_dst]]
        cross = (source >= 0) & (target >= 0) & (source != target)
        number, tensor = np.unique(arrays.edge_tensor[cross], return_inverse=True)
        size = np.full(len(number), UNLIMITED, dtype=np.int64)
        np.minimum.at(size, tensor, arrays.edge_bytes[cross])
        reads = np.unique(np.column_stack([tensor, target[cross]]), axis=0)
        makes = np.column_stack(
            [np.arange(len(number)), of[arrays.group[arrays.tensor_op[number]]]]
        )
        out = np.zeros((len(number), len(self.kinds)))
        into = np.zeros((len(number), len(self.kinds)))
        for k, members in enumerate(self.kinds):
            out[:, k], into[:, k] = self._hop_times(members[0], size)
        count = np.bincount(reads[:, 0], minlength=len(number))
        return Tensors(makes, reads, count.astype(np.int64), out, into)

    def _hop_times(self, device: int, size: Ints) -> tuple[Floats, Floats]:
        """Least load of a device by sending, and by receiving, so many bytes (t,)."""
        arrays = self.arrays
        nothing = np.zeros(len(size))
        if arrays.copy_engine[device]:
            return nothing, nothing
        found = []
        for way in (0, 1):
            times = []
            for other in range(arrays.device_count):
                ends = (device, other) if way == 0 else (other, device)
                hops = arrays.path(*ends)
                if hops:
                    hop = hops[0] if way == 0 else hops[-1]
                    times.append(arrays.latency[hop] + size * arrays.per_byte[hop])
            found.append(np.min(times, axis=0) if times else nothing)
        return found[0], found[1]

    def _uses(self) -> tuple[Ints, Ints, Floats, Floats]:
        """Return `Plans.following`, `kind` and `price`, and which uses a chain may end with."""
        stages, shares = self.problem.stages, self.shares
        if stages.rule is StageRule.ORDERED:
            count = self.arrays.device_count
            kind = np.empty(count, dtype=np.int64)
            for k, members in enumerate(self.kinds):
                kind[members] = k
            following = np.full((count + 1, count), -1, dtype=np.int64)
            for passed in range(count):
                nexts = range(passed, passed + 1 if stages.use_all else count)
                following[passed, list(nexts)] = [d + 1 for d in nexts]
            price = np.array([shares[kind[d:]].sum() for d in range(count + 1)])
            full = np.arange(count + 1) == count
        else:
            sizes = [len(members) for members in self.kinds]
            uses = list(product(*(range(size + 1) for size in sizes)))
            place = {use: number for number, use in enumerate(uses)}
            kind = np.arange(len(sizes))
            following = np.full((len(uses), len(sizes)), -1, dtype=np.int64)
            for use, number in place.items():
                for k, size in enumerate(sizes):
                    if use[k] < size:
                        more = (*use[:k], use[k] + 1, *use[k + 1 :])
                        following[number, k] = place[more]
            price = np.array([float(shares @ (np.array(sizes) - use)) for use in uses])
            full = np.arange(len(uses)) == len(uses) - 1
        return following, kind, price, full if stages.use_all else np.ones_like(full)

    def _lattice(self, layers: Ideals) -> Lattice:
        from talos_opt.kernels.splits import Lattice

        arrays, tensors, blocks = self.arrays, self.tensors, self.blocks
        ideals, steps = layers
        static = self.problem.memory_rule is MemoryRule.STATIC
        ends = np.cumsum([0, *map(len, steps)]).astype(np.int64)
        rows = np.array([step for row in steps for step in row], dtype=np.int64).reshape(-1, 2)
        touches = np.concatenate(
            [
                np.column_stack([tensors.makes[:, ::-1], np.full(len(tensors.makes), 1)]),
                np.column_stack([tensors.reads[:, ::-1], np.full(len(tensors.reads), 2)]),
            ]
        )
        touches = touches[np.lexsort((touches[:, 1], touches[:, 0]))]
        held = arrays.group_held if static else arrays.group_weights
        widest = arrays.group_workspace if static else np.zeros_like(arrays.group_workspace)
        priced = (np.where(self.shares > 0, self.work, 0.0) * self.shares).min(axis=1)
        priced[~np.isfinite(priced)] = 0.0  # it runs nowhere, which loads say
        return Lattice(
            up_ptr=ends,
            up_ideal=rows[:, 1].copy(),
            up_block=rows[:, 0].copy(),
            work=self.work,
            held=blocks.sums(np.where(blocks.joined, 0, held)),
            wide=blocks.largest(np.where(blocks.joined, 0, widest)),
            room=np.array([arrays.capacity[members[0]] for members in self.kinds]),
            left=self._left(ideals, steps, priced),
            touch_ptr=np.searchsorted(touches[:, 0], np.arange(blocks.count + 1)).astype(np.int64),
            touch_tensor=touches[:, 1].copy(),
            touch_role=touches[:, 2].copy(),
            readers=tensors.readers,
            out_time=tensors.out_time,
            in_time=tensors.in_time,
        )

    def _left(
        self, ideals: list[int], steps: list[list[tuple[int, int]]], priced: Floats
    ) -> Floats:
        """Priced load outside of each ideal (i,), less what rounding may have added."""
        count = self.blocks.count
        left = np.full(len(ideals), float(priced.sum()))
        known = np.zeros(len(ideals), dtype=bool)
        for at, row in enumerate(steps):
            for b, after in row:
                if not known[after]:
                    known[after] = True
                    left[after] = left[at] - priced[b]
        slack = 4 * sum_error(count) * float(priced.sum())
        return np.maximum(0.0, left - slack)

    # ---- the way back ----------------------------------------------------------------------

    def _placement(self, ideals: list[int], plans: Plans, use: int) -> Ints:
        """Return the device of every op for the chain that ends with a use of devices."""
        arrays, blocks = self.arrays, self.blocks
        choices = len(plans.kind)
        ordered = self.problem.stages.rule is StageRule.ORDERED
        free = [list(members) for members in self.kinds]
        home = np.full(arrays.group_count, -1, dtype=np.int64)
        at = len(ideals) - 1
        while at > 0:
            before, code = int(plans.before[at, use]), int(plans.choice[at, use])
            use, choice = divmod(code, choices)
            device = choice if ordered else free[choice].pop()
            stage = ideals[at] & ~ideals[before]
            inside = np.array([bool(stage >> b & 1) for b in range(blocks.count)])
            home[(blocks.of >= 0) & inside[blocks.of]] = device
            at = before
        _place_free(arrays, home)
        return home[arrays.group]


def _make_plans(ideals: int, following: Ints, kind: Ints, price: Floats) -> Plans:
    from talos_opt.kernels.splits import Plans

    shape = (ideals, len(following))
    value = np.full(shape, np.inf)
    value[0, 0] = 0.0
    nothing = np.zeros(shape, dtype=np.int32)
    return Plans(following, kind, price, value, nothing, nothing.copy())


def _place_free(arrays: Arrays, home: Ints) -> None:
    """Put groups of no stage beside most of what they exchange tensors with."""
    left = set(np.flatnonzero(home < 0).tolist())
    if not left:
        return
    ends = arrays.group[arrays.edge_src], arrays.group[arrays.edge_dst]
    near: dict[int, list[tuple[int, int]]] = {g: [] for g in left}
    for a, b, size in zip(
        *(side.tolist() for side in ends), arrays.edge_bytes.tolist(), strict=True
    ):
        for one, other in ((a, b), (b, a)):
            if one in left and one != other:
                near[one].append((other, size + 1))
    while left:
        pull = {g: sum(size for o, size in near[g] if home[o] >= 0) for g in left}
        g = max(sorted(left), key=pull.__getitem__)
        left.remove(g)
        votes = np.zeros(arrays.device_count)
        for other, size in near[g]:
            if home[other] >= 0:
                votes[home[other]] += size
        home[g] = int(np.where(arrays.allowed[g], votes, -1.0).argmax())


def use_splits() -> None:
    """Call the kernel of splits."""
    from talos_opt.solvers.engine.warmup import tiny_problem

    tiny = tiny_problem()
    shares = np.full(tiny.arrays.device_count, 1 / tiny.arrays.device_count)
    SplitSearch(tiny, shares).run(10, lambda: False)
