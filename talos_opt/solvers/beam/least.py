"""The objective memory by orders of small peak: one device, or the order cut up over several."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, permutations

import numpy as np

from talos_opt.core.problem import Ints, MemoryRule, Problem
from talos_opt.core.result import Status
from talos_opt.core.shares import room_for, share_units
from talos_opt.solvers.beam.lockstep import in_lockstep, place
from talos_opt.solvers.beam.orders import OrderSearch, Tensors
from talos_opt.solvers.bounds.cuts import MomentCuts
from talos_opt.solvers.bounds.least_memory import next_value
from talos_opt.solvers.engine.base import Verdict
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.shared.offering import offer_placement
from talos_opt.solvers.shared.sequences import offer_sequence
from talos_opt.solvers.shared.squeezing import SqueezedRun, squeeze

#: Share of the time for the bound.
_CUT_SHARE = 0.1
#: Share of the time for the order, where it is all that counts, and where it has to be cut up.
_ALONE, _FIRST = 0.9, 0.7
#: Sequences of devices that the order is cut up over.
_MOST_SEQUENCES = 24
#: By how much more than a cut seems to need it is given, one after the other, until it has a
#: schedule: what devices send each other is not foreseen.
_SLACK = (1.0, 1.03, 1.1, 1.25, 1.5)
#: What a byte sent counts beside a byte of the peak, where ops are placed one by one.
_THRIFT = (2.0, 1.0, 0.5, 4.0, 0.2, 8.0, 0.05, 0.0)
#: Steps of a bisection over shares.
_STEPS = 24


class LeastMemory:
    """One search.

    Parameters
    ----------
    problem : Problem
        Under the objective memory.
    run : Run
    name : str
        Who to report as.
    """

    def __init__(self, problem: Problem, run: Run, name: str) -> None:
        self.problem, self.run, self.name = problem, run, name
        self.arrays = problem.arrays
        self.units = share_units(self.arrays)
        self.tensors = Tensors.of(self.arrays)
        self.alone = np.flatnonzero(self.arrays.allowed.all(axis=0)).tolist()

    def search(self) -> Verdict:
        """Find an order, then offer what follows from it."""
        arrays, run = self.arrays, self.run
        share = _ALONE if arrays.device_count == 1 else _FIRST
        part = run.limited(share * run.remaining)
        orders = OrderSearch(self.tensors, arrays.order.copy(), run.seed, lambda: part.stopped)
        if self.problem.memory_rule is MemoryRule.PEAK:
            self._offer_alone(orders.order)
            self._bound(orders.tops())
            orders.reach(self._target())
        self._offer_alone(orders.order)
        if arrays.device_count > 1:
            if self.problem.memory_rule is MemoryRule.PEAK:
                self._in_lockstep(orders.order)
            self._cut_up(orders.order)
        if run.best is not None:
            return Verdict(Status.FEASIBLE)
        return Verdict(Status.UNKNOWN, "beam found no order that fits")

    def _bound(self, top: Ints) -> None:
        """Raise the bound to what all devices together need at some moment."""
        units, run = sum(self.units), self.run
        if not all(self.units):
            return
        part = run.limited(_CUT_SHARE * run.remaining)
        known = room_for(units, run.lower_bound)
        cuts = MomentCuts(self.arrays)
        moment = cuts.fullest(top, known, room_for(units, run.value), lambda: part.stopped)
        if moment is not None:
            run.raise_bound(
                min(next_value(self.problem, moment.held / units), run.value), self.name
            )

    def _target(self) -> int:
        """Peak, without weights, that no order is below, or that proves what is known."""
        rooms = [room_for(unit, self.run.lower_bound) for unit in self.units if unit]
        return max(0, max(rooms, default=0) - int(self.arrays.weights.sum()))

    def _offer_alone(self, order: Ints) -> None:
        for d in self.alone:
            offer_sequence(self.run, d, order, self.name)

    # ---- several devices -------------------------------------------------------------------

    def _in_lockstep(self, order: Ints) -> None:
        """Offer the order one op at a time, each on the device that then needs least."""
        for thrift in _THRIFT:
            if self.run.stopped:
                return
            device = place(self.problem, order, self.units, thrift)
            schedule = None if device is None else in_lockstep(self.problem, device, order)
            if schedule is not None:
                self.run.consider(schedule, self.name)

    def _cut_up(self, order: Ints) -> None:
        """Offer the order in as many pieces as there are devices, each as even as can be."""
        priority = np.empty(len(order))
        priority[order] = np.arange(len(order))
        found = []
        for number, sequence in enumerate(self._sequences()):
            if self.run.stopped:
                return
            cut = self._even_cut(order, sequence)
            if cut is not None:
                found.append((cut[0], number, cut[1]))
        for share, _, device in sorted(found, key=lambda item: item[:2]):
            for slack in _SLACK:
                if self.run.stopped or share * slack >= self.run.target:
                    break
                cut_to = squeeze(self.problem, share * slack).problem
                if cut_to is None:
                    continue
                inner = SqueezedRun(self.run, cut_to)
                if offer_placement(inner, device, priority, self.name):
                    break

    def _sequences(self) -> Iterator[tuple[int, ...]]:
        devices = range(self.arrays.device_count)
        return islice(permutations(devices), _MOST_SEQUENCES)

    def _even_cut(self, order: Ints, sequence: tuple[int, ...]) -> tuple[float, Ints] | None:
        """Return the least share for which the devices take the order in turns, and where."""
        low, high = self.run.lower_bound, max(1.0, self.run.value)
        if not np.isfinite(high):
            high = float(self.tensors.size.sum() + self.arrays.weights.sum() + 1)
        best = None
        for _ in range(_STEPS):
            middle = 0.5 * (low + high)
            device = self._fill(order, sequence, middle)
            if device is None:
                low = middle
            else:
                best, high = (middle, device), middle
        return best

    def _fill(self, order: Ints, sequence: tuple[int, ...], share: float) -> Ints | None:
        """Fill device after device with the next ops of the order; None if some are left over.

        A device needs its weights and the peak of what it runs; what comes from before counts
        while it is read, what goes on until the end.
        """
        arrays, static = self.arrays, self.problem.memory_rule is MemoryRule.STATIC
        home = np.full(arrays.group_count, -1)
        device = np.full(len(order), -1, dtype=np.int64)
        at, held, live, top, work = 0, 0, 0, 0, 0
        room = self._room(sequence[0], share)
        in_ptr, read = self.tensors.in_ptr, self.tensors.in_tensor
        made = self.tensors.tensor_ptr
        left = self.tensors.readers.copy()
        here: dict[int, int] = {}
        for i in order.tolist():
            group = int(arrays.group[i])
            if home[group] >= 0:
                device[i] = home[group]
                continue
            while True:
                d = sequence[at]
                inputs = read[in_ptr[i] : in_ptr[i + 1]].tolist()
                now = live + sum(int(self.tensors.size[u]) for u in inputs if u not in here)
                if static:
                    work_then = max(work, int(arrays.group_workspace[group]))
                    needs = held + int(arrays.group_held[group]) + work_then
                else:
                    if arrays.time[i, d] > 0:
                        now += int(arrays.output[i] + arrays.workspace[i])
                    elif now == live:
                        now = 0  # nothing takes any time here
                    needs = held + int(arrays.group_weights[group]) + max(top, now)
                if arrays.allowed[group, d] and needs <= room:
                    break
                at += 1
                if at == len(sequence):
                    return None
                held, live, top, work, here = 0, 0, 0, 0, {}
                room = self._room(sequence[at], share)
            home[group] = device[i] = d
            if static:
                held, work = held + int(arrays.group_held[group]), work_then
                continue
            held, top = held + int(arrays.group_weights[group]), max(top, now)
            for u in inputs:
                here.setdefault(u, int(self.tensors.size[u]))
                left[u] -= 1
                if left[u] == 0:
                    here.pop(u)
            for u in range(int(made[i]), int(made[i + 1])):
                if self.tensors.readers[u]:
                    here[u] = int(self.tensors.size[u])
            live = sum(here.values())
        return device

    def _room(self, d: int, share: float) -> int:
        unit, capacity = self.units[d], int(self.arrays.capacity[d])
        return min(capacity, room_for(unit, share)) if unit else capacity
