"""Linear passes over a problem: placing all ops, and what a placement is worth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from talos_opt.core.problem import NO_ROUTE, Bools, Floats, Ints, MemoryRule, Objective, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.bounds import load_shares
from talos_opt.solvers.shared.instance import make_instance, make_times, read_times

if TYPE_CHECKING:
    from talos_opt.kernels.instance import Times


#: Ops that the prices of the devices are found with: a sample tells them well enough.
_SAMPLE = 20_000


class Knobs(NamedTuple):
    """What steers a pass.

    Parameters
    ----------
    thrift : float
        How much an op keeps to the devices that it is best on (times the devices' prices).
    window : float
        Share of the ops that compete for being next: 0 takes them as they become ready, 1 by
        their rank alone.
    stagger : float
        How far models start after one another: 0 all at once, 1 each after the work before it.
    ranked : bool
        Whether urgency follows the best placement so far, instead of best times.
    tilt : tuple of float
        Factor on the price of each device.
    """

    thrift: float
    window: float = 0.0
    stagger: float = 0.0
    ranked: bool = False
    tilt: tuple[float, ...] = ()


class Candidate(NamedTuple):
    """A placement with an order, and its value; infinite if it is not feasible."""

    value: float
    device: Ints
    order: Ints


class Passes:
    """A problem made ready for passes, and the passes.

    Parameters
    ----------
    problem : Problem
    seed : int
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        arrays = problem.arrays
        self.problem, self.arrays = problem, arrays
        self.bottleneck = problem.objective is Objective.BOTTLENECK
        self.instance = make_instance(problem, near=False)
        self.peak = bool(self.instance.rule[2])
        self.random = np.random.default_rng(seed)
        self.spaces = [make_times(problem)]
        # Placement whose times each working space holds.
        self._written: dict[int, Ints] = {}
        self.best_time = self.instance.time.min(axis=1)
        self.rank = self.instance.tail + self.best_time
        self.usable = np.ascontiguousarray(arrays.allowed & self._fits())
        self.count_outputs(1.0)
        self.price = self._prices()
        self.hold = self._holds()

    # ---- what passes are steered by --------------------------------------------------------

    def count_outputs(self, share: float) -> None:
        """Count a share of the outputs as resident; under liveness few are there at a time.

        Placements are then tried against liveness itself (see `value`).
        """
        arrays = self.arrays
        self.size = np.ascontiguousarray(self.instance.group[:, 0])
        if share < 1:
            held = arrays.weights + np.ceil(share * arrays.output)
            total = np.bincount(arrays.group, weights=held, minlength=arrays.group_count)
            self.size = total.astype(np.int64)
        self.reserve = self._reserve(self.usable)

    def _fits(self) -> Bools:
        if self.problem.memory_rule is MemoryRule.PEAK:
            return np.ones_like(self.arrays.allowed)
        need = self.instance.group.sum(axis=1)
        return np.asarray(need[:, None] <= self.arrays.capacity)

    def _reserve(self, usable: Bools) -> Ints:
        """Keep room for groups that may not go everywhere: their bytes, spread over where."""
        confined = ~usable.all(axis=1)
        if not confined.any():
            return np.zeros(self.arrays.device_count, dtype=np.int64)
        places = usable[confined]
        share = self.size[confined] / np.maximum(1, places.sum(axis=1))
        largest = int(self.instance.group[confined].sum(axis=1).max())
        room = share @ places + largest * places.any(axis=0)
        return np.asarray(np.minimum(room, self.arrays.capacity), dtype=np.int64)

    def _prices(self) -> Floats:
        """Price of a unit of time on each device, 1 on average: a dual of the load bound."""
        arrays = self.arrays
        step = max(1, arrays.op_count // _SAMPLE)
        work = self.instance.time[::step] * arrays.demand[::step, None] / arrays.slots
        shares = load_shares(work)[1] / arrays.slots
        return np.asarray(shares / shares.mean())

    def _holds(self) -> Floats:
        """When each model would start if they were done one after another, shortest job first."""
        arrays = self.arrays
        time = np.where(np.isfinite(self.best_time), self.best_time, 0.0)
        work = np.bincount(arrays.model, weights=time, minlength=len(arrays.release))
        weight = np.maximum(arrays.model_weight, 1e-12 * max(1.0, arrays.model_weight.max()))
        order = np.argsort(work / weight, kind="stable")
        share = work[order] / max(1, int(arrays.slots.sum()))
        hold = np.empty(len(work))
        hold[order] = np.cumsum(share) - share
        return hold

    # ---- passes ----------------------------------------------------------------------------

    def place(
        self, knobs: Knobs, usable: Bools | None = None, like: Ints | None = None
    ) -> Candidate | None:
        """Place every op where it ends first; None if memory or routes ran out.

        Parameters
        ----------
        knobs : Knobs
        usable : (g, m) bool, optional
            Default: where each group may go.
        like : (n,) int, optional
            Placement that ranks follow if the knobs ask for it.
        """
        from talos_opt.kernels.listing import upward_ranks
        from talos_opt.kernels.placing import place_earliest

        arrays = self.arrays
        device, order = (np.zeros(arrays.op_count, dtype=np.int64) for _ in range(2))
        rank = self.rank
        if knobs.ranked and like is not None:
            rank = upward_ranks(self.instance, like, arrays.order)
        tilt = np.array(knobs.tilt) if knobs.tilt else 1.0
        ends = place_earliest(
            self.instance,
            knobs.stagger * self.hold,
            -rank,
            max(1, round(knobs.window * arrays.op_count)),
            self.size,
            self.usable if usable is None else usable,
            self.reserve,
            knobs.thrift * self.price * tilt,
            device,
            order,
        )
        return Candidate(math.inf, device, order) if math.isfinite(ends) else None

    def fill(
        self, sequence: Ints, turn: Ints, usable: Bools, target: float, order: Ints
    ) -> Candidate | None:
        """Fill the devices one after another along a sequence of the ops."""
        from talos_opt.kernels.placing import fill_in_order

        device = np.zeros(self.arrays.op_count, dtype=np.int64)
        top = fill_in_order(self.instance, sequence, self.size, usable, turn, target, device)
        return Candidate(math.inf, device, order) if math.isfinite(top) else None

    def spread(self, scale: float, order: Ints) -> Candidate | None:
        """Place every group where its work is cheapest, loads evened out; None: out of memory.

        Parameters
        ----------
        scale : float
            Load by which a device gets e times dearer.
        order : (n,) int
            Topological.
        """
        from talos_opt.kernels.placing import spread_evenly

        device = np.zeros(self.arrays.op_count, dtype=np.int64)
        price = self.price * self.arrays.slots
        top = spread_evenly(self.instance, order, self.size, self.usable, price, scale, device)
        return Candidate(math.inf, device, order) if math.isfinite(top) else None

    def depth_first(self) -> Ints:
        """Return the ops in an order whose stretches are cut off by few edges."""
        from talos_opt.kernels.graphs import depth_first_order

        arrays = self.arrays
        order = depth_first_order(arrays.order, arrays.out_ptr, arrays.edge_dst, arrays.in_ptr)
        return np.asarray(order)

    # ---- what a placement is worth ---------------------------------------------------------

    def value(self, candidate: Candidate | None, space: int = 0) -> Candidate | None:
        """Return a candidate with its value; None if it is not feasible.

        Parameters
        ----------
        candidate : Candidate or None
        space : int
            Number of the working space: one for each thread.
        """
        from talos_opt.kernels.listing import list_schedule
        from talos_opt.kernels.liveness import peak_overflow

        if candidate is None or not self._routed(candidate.device):
            return None
        value = math.inf
        if self.peak or not self.bottleneck:
            instance, times = self.instance, self.spaces[space]
            value = float(list_schedule(instance, times, candidate.device, candidate.order, np.inf))
            self._written[space] = candidate.device
            if self.peak and peak_overflow(instance, times, candidate.device):
                return None
        if self.bottleneck:
            load, channel = self.loads(candidate.device)
            value = max(float(load.max()), float(channel.max(initial=0.0)))
        return candidate._replace(value=value)

    def _routed(self, device: Ints) -> bool:
        via = self.arrays.via
        if not (via == NO_ROUTE).any():
            return True
        source, target = device[self.arrays.edge_src], device[self.arrays.edge_dst]
        return not bool((via[source, target] == NO_ROUTE).any())

    def loads(self, device: Ints) -> tuple[Floats, Floats]:
        """Loads of the devices and of the serial links under a placement."""
        from talos_opt.kernels.loads import placement_loads

        load = np.zeros(self.arrays.device_count)
        channel = np.zeros(int(self.arrays.channel.max(initial=-1)) + 1)
        size = np.zeros(self.arrays.device_count, dtype=np.int64)
        placement_loads(self.instance, device, size, load, channel)
        return load, channel

    def schedule(self, candidate: Candidate) -> Schedule:
        """Return a candidate's schedule."""
        from talos_opt.kernels.listing import list_schedule

        device = candidate.device
        for space, times in enumerate(self.spaces):
            if self._written.get(space) is device:
                return read_times(self.problem, times, device)
        list_schedule(self.instance, self.spaces[0], device, candidate.order, np.inf)
        self._written[0] = device
        return read_times(self.problem, self.spaces[0], device)

    def new_space(self) -> Times:
        """Return a working space for one more thread."""
        return make_times(self.problem)

    def use_others(self) -> None:
        """Call the kernels that not every search comes by."""
        from talos_opt.kernels.listing import upward_ranks
        from talos_opt.kernels.liveness import peak_overflow

        candidate = self.place(Knobs(1.0))
        assert candidate is not None, "the tiny problem fits everywhere"
        self.schedule(candidate)
        upward_ranks(self.instance, candidate.device, self.arrays.order)
        peak_overflow(self.instance, self.spaces[0], candidate.device)
