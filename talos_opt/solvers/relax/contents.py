"""The contents bound on the bottleneck: what every device can hold at most, by prices of ops.

Give each part of the graph a price. Within a load of T a device holds parts of at most some sum
of prices, with the transfers in and out that these cost it; if all devices together hold less
than everything, no placement has a bottleneck of T. The largest sums come from a dynamic
programme along the graph, which is long and narrow. Argument in docs/bounds.md, "Contents".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from talos_opt.core.problem import Floats, Ints, Problem
from talos_opt.core.rounding import sum_error
from talos_opt.solvers.bounds.root import group_work
from talos_opt.solvers.bounds.routes import Legs, route_legs
from talos_opt.solvers.relax.binding import bindings, union
from talos_opt.solvers.relax.layers import Crossing, Layer, build_layers, narrow_order
from talos_opt.solvers.shared.symmetry import device_kinds
from talos_opt.solvers.shared.tensors import Tensor, tensors

#: More parts, or more different devices that pay for transfers, are not looked at.
_MOST_PARTS, _MOST_KINDS = 2000, 4
#: Up to this number of parts an order of few open tensors is looked for.
_ORDERED_UP_TO = 600
#: States of all layers of one kind of devices.
_MOST_STATES = 60_000
#: Shares of the incumbent's value that a transfer may take and be left out; the first that has
#: few enough states counts.
_NEGLIGIBLE = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
#: With no more states than this, none is left out if that is possible.
_FEW_STATES = 12_000
#: Share of a value that sums in floating point stay far below.
_CLOSE = 1e-9
#: Layers between two looks at the clock.
_LAYERS_PER_LOOK = 8
#: Halvings of the interval that a bound lies in.
_HALVINGS = 60


@dataclass(frozen=True)
class Kind:
    """Devices that can be swapped.

    Parameters
    ----------
    devices : tuple of int
    work : (p,) float
        Load by each part, infinite where it may not go.
    crossings : list of Crossing
        None where the devices have a copy engine.
    layers : list of Layer
    """

    devices: tuple[int, ...]
    work: Floats
    crossings: list[Crossing]
    layers: list[Layer]

    @property
    def states(self) -> int:
        """States of all layers."""
        return sum(layer.count for layer in self.layers)

    def load(self, content: frozenset[int]) -> float:
        """Least load of a device that holds exactly these parts."""
        total = float(self.work[sorted(content)].sum())
        for crossing in self.crossings:
            if crossing.maker in content:
                total += crossing.out if crossing.readers - content else 0.0
            elif crossing.readers & content:
                total += crossing.into
        return total


@dataclass(frozen=True)
class Filling:
    """What one device of a kind may hold for given prices.

    Parameters
    ----------
    sums : (q,) int
        Sums of prices; increasing.
    loads : (q,) float
        Least load with at least that sum; increasing.
    missing : int
        A sum that may be possible for any load: smaller ones were not told apart.
    content : callable
        From a position in `sums` to the parts of a device with that load.
    """

    sums: Ints
    loads: Floats
    missing: int
    content: Callable[[int], frozenset[int]]

    def most(self, limit: float) -> int:
        """Largest sum within a load."""
        place = int(np.searchsorted(self.loads, limit, side="right"))
        return max(int(self.sums[place - 1]) if place else 0, self.missing)


class Knapsack:
    """What devices hold at most if transfers cost nothing and parts can be cut.

    Parameters
    ----------
    work : (p,) float
        Infinite where a part may not go.
    prices : (p,) int
    """

    def __init__(self, work: Floats, prices: Ints) -> None:
        idle = work == 0
        self.gift = int(prices[idle].sum())
        some = np.flatnonzero(np.isfinite(work) & ~idle & (prices > 0))
        some = some[np.argsort(-prices[some] / work[some], kind="stable")]
        self.room = np.concatenate([[0.0], np.cumsum(work[some])])
        self.sums = np.concatenate([[0.0], np.cumsum(prices[some])])

    def worth(self, room: float) -> float:
        """Return the price of a unit of load that, charged for all parts, leaves least to gain."""
        place = int(np.searchsorted(self.room, room))
        if place >= len(self.room):
            return 0.0
        return float(self.sums[place] - self.sums[place - 1]) / float(
            self.room[place] - self.room[place - 1]
        )

    def most(self, room: float) -> int:
        """Largest sum of prices within a load; whole contents have whole sums."""
        found = float(np.interp(room * (1 + _CLOSE), self.room, self.sums))
        return self.gift + math.floor(found * (1 + _CLOSE) + _CLOSE)


class Contents:
    """A problem as the contents bound sees it.

    Parameters
    ----------
    problem : Problem
        Objective bottleneck.
    upper : float
        Value of an incumbent: larger bottlenecks do not matter.
    stopped : callable
        Looked at all the time.
    """

    def __init__(self, problem: Problem, upper: float, stopped: Callable[[], bool]) -> None:
        self.problem, self.stopped = problem, stopped
        #: What a bound may refute at the most.
        self.upper = upper
        arrays = problem.arrays
        #: Colocation groups that are placed as one have one number.
        self.part = union(arrays.group_count, bindings(problem, upper).together)
        self.parts = int(self.part.max()) + 1
        groups = group_work(arrays)
        self.work = np.zeros((self.parts, arrays.device_count))
        np.add.at(self.work, self.part, groups)
        #: Devices that pay for transfers, and those that do not.
        self.paying: list[Kind] = []
        self.free: list[Kind] = []
        self.covered = self._set_up()

    @property
    def kinds(self) -> list[Kind]:
        """All kinds of devices."""
        return [*self.paying, *self.free]

    @property
    def count(self) -> int:
        """Number of devices that pay for transfers."""
        return sum(len(kind.devices) for kind in self.paying)

    def _set_up(self) -> bool:
        """Write the layers of each kind; False where the bound does not suit the problem."""
        arrays = self.problem.arrays
        everything = [tuple(members) for members in device_kinds(arrays)]
        kinds = [devices for devices in everything if not arrays.copy_engine[devices[0]]]
        if not kinds or len(kinds) > _MOST_KINDS or self.parts > _MOST_PARTS:
            return False
        if arrays.device_count < 2:
            return False
        known = tensors(self.problem)
        start = self._flow()
        for devices in kinds:
            kind = self._pay(devices, known, start)
            if kind is None or not kind.crossings:
                return False
            self.paying.append(kind)
        for devices in everything:
            if arrays.copy_engine[devices[0]]:
                work = self.work[:, devices[0]]
                layers = build_layers(
                    start, np.isfinite(work).tolist(), [], _MOST_STATES, self.stopped
                )
                if layers is None:
                    return False
                self.free.append(Kind(devices, work, [], layers))
        return True

    def _flow(self) -> list[int]:
        """Parts by where their first op that takes time stands in the graph."""
        arrays = self.problem.arrays
        time = np.where(np.isfinite(arrays.time), arrays.time, 0.0).max(axis=1)
        level = np.where(time > 0, arrays.level, arrays.level.max(initial=0) + 1)
        first = np.full(self.parts, np.inf)
        np.minimum.at(first, self.part[arrays.group], level)
        return [int(part) for part in np.argsort(first, kind="stable")]

    def _pay(self, devices: tuple[int, ...], known: list[Tensor], start: list[int]) -> Kind | None:
        arrays = self.problem.arrays
        inside = np.arange(arrays.device_count) == devices[0]
        legs = route_legs(arrays, inside)
        work = self.work[:, devices[0]]
        able = np.isfinite(work).tolist()

        def leave_out(share: float) -> Kind | None:
            crossings = self._crossings(known, legs, share * self.upper)
            layers = self._layers(crossings, able, start)
            return None if layers is None else Kind(devices, work, crossings, layers)

        found = leave_out(_NEGLIGIBLE[-1])
        if found is None:  # and so it is for the others
            return None
        finer = map(leave_out, _NEGLIGIBLE[:-1])
        found = next((kind for kind in finer if kind is not None), found)
        exact = leave_out(0.0) if found.states <= _FEW_STATES else None
        return exact or found

    def _layers(
        self, crossings: list[Crossing], able: list[bool], start: list[int]
    ) -> list[Layer] | None:
        """Layers of one of two orders; None if both have too many states, or if stopped."""
        if self.parts <= _ORDERED_UP_TO:
            order = narrow_order(self.parts, crossings, start, self.stopped)
            layers = build_layers(order, able, crossings, _MOST_STATES, self.stopped)
            if layers is not None:
                return layers
        return build_layers(start, able, crossings, _MOST_STATES, self.stopped)

    def _crossings(
        self, known: list[Tensor], legs: tuple[Legs, Legs], negligible: float
    ) -> list[Crossing]:
        """Tensors that cost a device something, those of the same parts as one."""
        leaving, arriving = legs
        prices: dict[tuple[int, frozenset[int]], tuple[float, float]] = {}
        for tensor in known:
            maker = int(self.part[tensor.group])
            groups = self.problem.arrays.group
            readers = frozenset(int(self.part[groups[i]]) for i in tensor.readers) - {maker}
            if not readers:
                continue
            size = min(tensor.readers.values())
            out, into = leaving.time(size), arriving.time(size)
            # Where there is no hop at all, crossing is not possible: to ignore that is valid.
            out, into = (cost if math.isfinite(cost) else 0.0 for cost in (out, into))
            before = prices.get((maker, readers), (0.0, 0.0))
            prices[maker, readers] = (before[0] + out, before[1] + into)
        return [
            Crossing(maker, readers, *pair)
            for (maker, readers), pair in prices.items()
            if max(pair) > negligible
        ]

    # ---- prices ----------------------------------------------------------------------------

    def most_levels(self, budget: int) -> int:
        """Return how many sums each state may keep, for so many entries of all layers."""
        return budget // max(kind.states for kind in self.paying)

    def whole(self, prices: Floats, levels: int) -> Ints:
        """Return prices as whole numbers, so many for a device's share of the sum.

        Rounded so that sums along the graph are off by less than 1.
        """
        total = levels * self.count
        order = [layer.part for layer in self.paying[0].layers]
        ends = np.floor(np.cumsum(prices[order]) / prices.sum() * total + 0.5)
        rounded = np.zeros(self.parts, dtype=np.int64)
        rounded[order] = np.diff(ends, prepend=0.0).astype(np.int64)
        return rounded

    def fill(
        self,
        kind: Kind,
        prices: Ints,
        limit: float,
        cap: int,
        least: int = 0,
        elsewhere: frozenset[int] = frozenset(),
    ) -> Filling | None:
        """Find what a device may hold; None if stopped.

        Parameters
        ----------
        kind : Kind
        prices : (p,) int
        limit : float
            Largest load.
        cap, least : int
            Larger sums count as `cap`; smaller ones than `least` need not be told apart.
        elsewhere : frozenset of int
            Parts that the device does not hold.
        """
        from talos_opt.kernels.contents import extend_contents

        limit *= 1 + _CLOSE
        work = kind.work
        if elsewhere:
            work = work.copy()
            work[sorted(elsewhere)] = np.inf
        slope = Knapsack(work, prices).worth(limit)
        able = np.isfinite(work)
        gain = np.where(able, prices - slope * np.where(able, work, 0.0), 0.0)
        gain = np.maximum(gain, 0.0)[[layer.part for layer in kind.layers]]
        spare = gain[::-1].cumsum()[::-1] - gain
        load = np.full((1, cap + 1), np.inf)
        load[0, 0] = 0.0
        span = np.zeros((1, 2), dtype=np.int64)
        steps = []
        for number, (layer, rest) in enumerate(zip(kind.layers, spare.tolist(), strict=True)):
            if number % _LAYERS_PER_LOOK == 0 and self.stopped():
                return None
            load, span, origin, before = extend_contents(
                load,
                span,
                layer.moves,
                layer.costs,
                float(work[layer.part]),
                int(prices[layer.part]),
                layer.count,
                limit,
                least,
                rest,
                slope,
            )
            steps.append((layer.part, origin, before))
        sums = np.flatnonzero(np.isfinite(load[0]))

        def content(place: int) -> frozenset[int]:
            total, state, held = int(sums[place]), 0, []
            for part, origin, before in reversed(steps):
                after = state
                state, taken = divmod(int(origin[after, total]), 2)
                if total == cap:
                    total = int(before[after])
                elif taken:
                    total -= int(prices[part])
                if taken:
                    held.append(part)
            return frozenset(held)

        return Filling(sums, load[0, sums], max(0, least - 1), content)

    def share(self, kind: Kind, prices: Ints) -> int:
        """Return an equal share of everything: a device that holds more is no better."""
        return -(-int(prices.sum()) // len(kind.devices))

    def fill_all(self, prices: Ints, limit: float) -> list[Filling] | None:
        """Find what devices of every kind may hold where no load exceeds a limit.

        Sums are told apart only where all devices together may hold everything.

        Returns
        -------
        list of Filling or None
            In the order of `kinds`; None if stopped.
        """
        kinds, total = self.kinds, int(prices.sum())
        rooms = [Knapsack(kind.work, prices) for kind in kinds]
        most = [
            room.most(limit * len(kind.devices)) for room, kind in zip(rooms, kinds, strict=True)
        ]
        found: list[Filling] = []
        # The devices that pay come last: tables of the others are small, and narrow theirs.
        for number in reversed(range(len(kinds))):
            kind = kinds[number]
            others = sum(most) - most[number]
            least = max(0, -(-(total - others) // len(kind.devices)))
            cap = min(self.share(kind, prices), rooms[number].most(limit) + 1)
            filling = self.fill(kind, prices, limit, cap, min(cap, least))
            if filling is None:
                return None
            most[number] = min(most[number], len(kind.devices) * filling.most(limit))
            found.append(filling)
        return found[::-1]

    def bound(self, prices: Ints, fillings: list[Filling], limit: float) -> float:
        """Return a bottleneck that some prices refute: the bound is at least that.

        Parameters
        ----------
        prices : (p,) int
        fillings : list of Filling
            Of every kind, for the limit.
        limit : float
            Nothing is said beyond it.
        """
        total = int(prices.sum())
        rooms = [Knapsack(kind.work, prices) for kind in self.kinds]

        def possible(load: float) -> bool:
            held = 0
            for kind, filling, room in zip(self.kinds, fillings, rooms, strict=True):
                count = len(kind.devices)
                held += min(count * filling.most(load), room.most(count * load))
            return held >= total

        low, high = 0.0, limit * (1 - _CLOSE)
        if possible(low):
            return 0.0
        if not possible(high):
            low = high
        else:
            for _ in range(_HALVINGS):
                middle = 0.5 * (low + high)
                low, high = (low, middle) if possible(middle) else (middle, high)
        return low * (1.0 - sum_error(10 * self.parts))
