"""An order wherever two activities may want one device.

Disjunctive formulation with big-M (Manne, 1960, "On the job-shop scheduling problem"), an order
being needed only where both activities are on the device. Devices with several slots hand their
slots from activity to activity: the resource flows of Artigues, Michelon and Reusser (2003,
"Insertion techniques for static and dynamic resource-constrained project scheduling"), which
know demands above 1 and, unlike numbered lanes, no symmetry.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

from talos_opt.core.problem import Bools, Problem
from talos_opt.solvers.ilp.builder import Terms, Variable, scaled
from talos_opt.solvers.ilp.timing import OP, Activity, Key, TimingFormulation
from talos_opt.solvers.ilp.windows import Windows


class SequencingFormulation(TimingFormulation):
    """Columns and rows of placement, starts and orders.

    Parameters
    ----------
    problem : Problem
        With objective toct or makespan.
    possible : (g, m) bool
        Devices that each group may go to.
    scale : float
        Time units in one unit of the formulation.
    stopped : callable
        Whether to give up writing.
    windows : Windows
        In the graph's time unit.
    unit : float
        What one unit of the formulation's objective is worth in the problem's.
    """

    def __init__(
        self,
        problem: Problem,
        possible: Bools,
        scale: float,
        stopped: Callable[[], bool],
        windows: Windows,
        unit: float,
    ) -> None:
        super().__init__(problem, possible, scale, stopped, windows, unit)
        #: Order: 1 where the first activity ends before the second starts.
        self.order: dict[tuple[Key, Key], Variable] = {}
        self._fixed: dict[tuple[Key, Key], bool] = {}
        self._relations()
        self._share_devices()

    def known_orders(self) -> list[tuple[Key, Key]]:
        """Return the pairs whose first activity ends before the second starts in any case."""
        return [pair for pair, before in self._fixed.items() if before]

    # ---- what is known before -------------------------------------------------------------------

    def _relations(self) -> None:
        """Transitive closure, as bit sets: who must come after an op, or after all its readers."""
        arrays = self.arrays
        count = arrays.op_count
        self.after = [0] * count
        for i in arrays.order[::-1].tolist():
            for j in arrays.edge_dst[arrays.out_ptr[i] : arrays.out_ptr[i + 1]].tolist():
                self.after[i] |= self.after[j] | (1 << j)
        self.maker = arrays.tensor_op.tolist()
        self.after_hops = [0] * len(self.maker)
        for tensor in self.tensors:
            common = (1 << count) - 1
            for j in self.readers_of(tensor):
                common &= self.after[j] | (1 << j)
            self.after_hops[tensor.number] = common

    def _op_of(self, key: Key) -> int:
        """Return an activity's op; of a hop, that which makes its tensor."""
        return key[0] if key[1] == OP else int(self.maker[key[0]])

    def _precedes(self, a: Key, b: Key) -> bool:
        """Whether the edges alone order two activities, wherever they are.

        A hop happens after its producer, and before all that needs every one of its readers.
        """
        then = self._op_of(b)
        if a[1] == OP:
            return bool(self.after[a[0]] >> then & 1) or (b[1] != OP and a[0] == then)
        return bool(self.after_hops[a[0]] >> then & 1)

    # ---- orders ---------------------------------------------------------------------------------

    def _share_devices(self) -> None:
        """Slots of a device are never exceeded."""
        everything = [*self.ops, *self.hops.values()]
        slots = self.arrays.slots.tolist()
        users = {d: [a for a in everything if d in a.use] for d in range(len(slots))}
        busy = {d: use for d, use in users.items() if self._may_overrun(use, slots[d])}
        for a, b in combinations(everything, 2):
            common = [d for d in busy if d in a.use and d in b.use]
            if common:
                self._sequence(a, b, [d for d in common if a.demand + b.demand > slots[d]])
        for d, use in busy.items():
            if 2 * min(a.demand for a in use) <= slots[d]:
                self._hand_over_slots(d, use, slots[d])

    def _may_overrun(self, users: list[Activity], slots: int) -> bool:
        """Whether so much might run at once: chains of the precedence order run one by one."""
        chains: list[tuple[Key, int]] = []  # last activity and largest demand of each chain
        rank = self.arrays.rank
        for a in sorted(users, key=lambda a: (rank[self._op_of(a.key)], a.key)):
            for c, (last, demand) in enumerate(chains):
                if self._precedes(last, a.key):
                    chains[c] = (a.key, max(demand, a.demand))
                    break
            else:
                chains.append((a.key, a.demand))
        return sum(demand for _, demand in chains) > slots

    def _sequence(self, a: Activity, b: Activity, exclusive: list[int]) -> None:
        """Two activities that cannot share a device run one after the other if both are on it."""
        first, second = self._order(a, b), self._order(b, a)
        if first is True or second is True:
            return
        either: Terms = [(o, 1.0) for o in (first, second) if not isinstance(o, bool)]
        if len(either) == 2:
            self.write.at_most(either, 1.0)
        same = [d for d in exclusive if self._colocated(a, b)]
        if same:  # colocated ops: they meet wherever they are
            meet = [term for d in same for term in a.use[d]]
            self.write.at_least([*either, *scaled(meet, -1.0)], 0.0)
        for d in exclusive:
            if d not in same:
                self.write.at_least(
                    [*either, *scaled(a.use[d], -1.0), *scaled(b.use[d], -1.0)], -1.0
                )

    def _colocated(self, a: Activity, b: Activity) -> bool:
        group = self.arrays.group
        return a.key[1] == b.key[1] == OP and bool(group[a.key[0]] == group[b.key[0]])

    def _order(self, a: Activity, b: Activity) -> Variable | bool:
        """Return the column of "a ends before b starts", or its value if that is known."""
        pair = (a.key, b.key)
        if pair in self._fixed:
            return self._fixed[pair]
        if pair in self.order:
            return self.order[pair]
        before = self._precedes(*pair) or a.latest <= b.earliest
        if before or self._precedes(b.key, a.key) or b.latest <= a.earliest:
            self._fixed[pair] = before
            return before
        if a.earliest + a.shortest > b.latest - b.shortest + self.clear:
            self._fixed[pair] = False
            return False
        name = "_".join(str(part) for key in pair for part in key).replace("-1", "o")
        column = self.order[pair] = self.write.binary(f"o{name}")
        slack = max(0.0, a.latest - b.earliest)
        self.write.at_least([*b.start, *scaled(a.end, -1.0), (column, -slack)], -slack)
        return column

    def _hand_over_slots(self, d: int, users: list[Activity], slots: int) -> None:
        """Every slot that an activity holds comes from the start or from one that has ended."""
        fresh = {a.key: self.write.continuous(self._flow_name(d, a), 0.0) for a in users}
        given: dict[Key, Terms] = {a.key: [] for a in users}
        taken: dict[Key, Terms] = {a.key: [(fresh[a.key], 1.0)] for a in users}
        for a in users:
            for b in users:
                order = a is not b and self._order(a, b)
                if order is False:
                    continue
                most = min(a.demand, b.demand)
                flow = self.write.continuous(self._flow_name(d, a, b), 0.0, float(most))
                if order is not True:
                    self.write.at_most([(flow, 1.0), (order, -float(most))], 0.0)
                given[a.key].append((flow, 1.0))
                taken[b.key].append((flow, 1.0))
        for a in users:
            held = scaled(a.use[d], -float(a.demand))
            self.write.equal([*taken[a.key], *held], 0.0)
            self.write.at_most([*given[a.key], *held], 0.0)
        self.write.at_most([(flow, 1.0) for flow in fresh.values()], float(slots))

    def _flow_name(self, d: int, *ends: Activity) -> str:
        return f"f{d}_" + "_".join(f"{i}_{t}".replace("-1", "o") for i, t in (a.key for a in ends))
