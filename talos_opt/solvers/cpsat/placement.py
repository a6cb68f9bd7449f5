"""The placement half of the formulation: who sits where, and what follows without any times.

Alone it is exact for the bottleneck objective under the static memory rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import pairwise, permutations
from typing import Any

import numpy as np

from talos_opt.core.problem import (
    UNLIMITED,
    Bools,
    Ints,
    MemoryRule,
    Objective,
    Problem,
    StageRule,
)
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.shared.grid import LIMIT, Grid
from talos_opt.solvers.shared.stages import device_order, stage_edges, stage_groups
from talos_opt.solvers.shared.symmetry import canonical, identical_devices
from talos_opt.solvers.shared.tensors import Routes, Tensor, routes, tensors


class BuildStoppedError(Exception):
    """The time ran out, or the run was cancelled, while the formulation was being built."""


class PlacementFormulation:
    """Variables ``x[g][d]`` (colocation group g sits on device d) and what hangs on them alone.

    Parameters
    ----------
    cp : module
        OR-Tools' cp_model.
    problem : Problem
    grid : Grid
        Of times, or of loads under the objective bottleneck.
    upper : float
        Only solutions of at most this value matter; infinite: all.
    stopped : callable
        Looked at while building.
    symmetric : bool
        Whether identical devices may be swapped; not where an incumbent is to be repaired.
    """

    #: Parts are fixed as in an incumbent: bounds and infeasibility say nothing about the problem.
    restricted = False
    #: Times stand for a relaxation, not for a schedule: only the placement is meant.
    relaxed = False
    #: Any solution will do: there is no objective.
    feasibility = False

    def __init__(
        self,
        cp: Any,
        problem: Problem,
        grid: Grid,
        upper: float,
        stopped: Callable[[], bool],
        *,
        symmetric: bool = True,
    ) -> None:
        self.cp = cp
        self.problem = problem
        self.arrays = problem.arrays
        #: Ticks of loads.
        self.load_grid = grid
        self.upper = upper
        self.stopped = stopped
        self.model = cp.CpModel()
        #: Real value = objective_base + objective on the grid / objective_scale.
        self.objective_scale = grid.per_unit
        self.objective_base = 0.0
        self.objective: Any = None
        #: A lower bound that is known.
        self.known = 0.0
        #: Devices that each colocation group may still use (g, m).
        self.allowed = grid.open.allowed
        self.classes = identical_devices(problem) if symmetric else []
        #: Classes whose members are entered in their order; those are not in `classes`.
        self.chains: list[list[int]] = []
        if problem.stages.rule is StageRule.ACYCLIC and len(self.arrays.release) == 1:
            self.classes, self.chains = [], self.classes
        self.x: list[list[Any]] = []
        self.hops: dict[int, list[tuple[int, int]]] = {}
        self.travels: dict[tuple[int, int, int], Any] = {}
        self.hop_sizes: dict[tuple[Grid, int, int, int], Any] = {}

    def build(self) -> None:
        """Add every variable and constraint."""
        self.assign_groups()
        self.break_symmetry()
        self.keep_stages()
        self.forbid_missing_routes()
        self.limit_static_memory()
        if not self.feasibility:
            self.minimise_bottleneck()

    @contextmanager
    def fixed(self, schedule: Schedule, free: Ints) -> Iterator[None]:
        """Fix all groups but some (f,) as in a schedule while the block lasts."""
        whole, self.model, self.restricted = self.model, self.model.clone(), True
        movable = np.zeros(self.arrays.group_count, dtype=bool)
        movable[free] = True
        try:
            self.fix(schedule, movable)
            yield
        finally:
            self.model, self.restricted = whole, False

    def fix(self, schedule: Schedule, movable: Bools) -> None:
        """Fix the devices of all groups that may not move (g,)."""
        home = np.zeros(self.arrays.group_count, dtype=np.int64)
        home[self.arrays.group] = schedule.device
        for group in np.flatnonzero(~movable).tolist():
            self.model.add(self.x[group][int(home[group])] == 1)

    # ---- placement -------------------------------------------------------------------------

    def assign_groups(self) -> None:
        """Every colocation group sits on exactly one device that can run all of its ops in time."""
        for group, row in enumerate(self.allowed.tolist()):
            self.look_up()
            variables = [
                self.model.new_bool_var(f"x{group},{d}") if allowed else None
                for d, allowed in enumerate(row)
            ]
            self.model.add_exactly_one(v for v in variables if v is not None)
            self.x.append(variables)

    def break_symmetry(self) -> None:
        """A group may open the next of several identical devices only if the one before is open.

        Groups are taken in order; ``open`` is true once some group so far sits on the device.
        """
        for members in self.classes:
            for before, after in pairwise(members):
                previous: Any = None
                for group in self.by_size:
                    self.look_up()
                    literal = self.x[group][after]
                    if literal is not None:
                        if previous is None:
                            self.model.add(literal == 0)
                        else:
                            self.model.add_implication(literal, previous)
                    own = self.x[group][before]
                    if own is None:
                        continue
                    opened = self.model.new_bool_var("")
                    earlier = [own] if previous is None else [own, previous]
                    self.model.add_bool_or([*earlier, opened.negated()])
                    previous = opened

    def keep_stages(self) -> None:
        """Forward edges lead along an order of the devices, one for each model.

        Under `ordered` that is the cluster's. Else it is free, but that devices of a class in
        `chains` stand in it as in the class.
        """
        stages, devices = self.problem.stages, range(self.arrays.device_count)
        if stages.use_all:
            groups = stage_groups(self.arrays).tolist()
            for d in devices:
                self.model.add_bool_or([v for g in groups if (v := self.x[g][d]) is not None])
        if stages.rule is StageRule.ANY:
            return
        for edges in stage_edges(self.arrays).values():
            before = self._device_order()
            fixed = all(isinstance(before[a, b], bool) for a in devices for b in devices if a != b)
            for producer, reader in edges:
                self.look_up()
                self._follow(producer, reader, before)
                if fixed:
                    self._follow_prefixes(producer, reader, before)

    def _device_order(self) -> dict[tuple[int, int], Any]:
        """Return a literal, or a truth, for each pair of devices: the first is before the other."""
        devices = range(self.arrays.device_count)
        before: dict[tuple[int, int], Any] = {}
        chain = {d: k for k, members in enumerate(self.chains) for d in members}
        for a in devices:
            for b in range(a):
                linked = a in chain and chain[a] == chain.get(b)
                if linked or self.problem.stages.rule is StageRule.ORDERED:
                    before[b, a], before[a, b] = True, False
                else:
                    before[b, a] = self.model.new_bool_var(f"before{b},{a}")
                    before[a, b] = before[b, a].negated()
        for a, b, c in permutations(devices, 3):
            if a < b and a < c:  # each circle once
                circle = [before[a, b], before[b, c], before[c, a]]
                if False not in [one for one in circle if isinstance(one, bool)]:
                    self.model.add_bool_or(
                        [one.negated() for one in circle if not isinstance(one, bool)]
                    )
        return before

    def _follow(self, producer: int, reader: int, before: dict[tuple[int, int], Any]) -> None:
        """Two groups on two devices stand in their order."""
        for a, at in enumerate(self.x[producer]):
            for b, there in enumerate(self.x[reader]):
                if a == b or at is None or there is None or before[a, b] is True:
                    continue
                clause = [at.negated(), there.negated()]
                self.model.add_bool_or(clause if before[a, b] is False else [*clause, before[a, b]])

    def _follow_prefixes(
        self, producer: int, reader: int, before: dict[tuple[int, int], Any]
    ) -> None:
        """Redundant where the order is fixed: a reader in a prefix has its producer there."""
        devices = range(self.arrays.device_count)
        order = sorted(devices, key=lambda d: sum(before[o, d] for o in devices if o != d))
        for length in range(1, len(order)):
            inside = order[:length]
            ahead = [v for d in inside if (v := self.x[producer][d]) is not None]
            behind = [v for d in inside if (v := self.x[reader][d]) is not None]
            if behind:
                self.model.add(sum(behind) <= sum(ahead))

    def relabelled(self, device: Ints) -> Ints:
        """Return the label (m,) of every device that makes a placement (n,) one of this model's."""
        arrays = self.arrays
        home = np.zeros(arrays.group_count, dtype=np.int64)
        home[arrays.group] = device
        label = np.arange(arrays.device_count)
        found = canonical(self.classes, home[np.array(self.by_size)])
        label[: len(found)] = found
        if self.chains:
            place = np.argsort(device_order(self.problem, device))
            for members in self.chains:
                label[sorted(members, key=place.__getitem__)] = members
        return label

    @cached_property
    def by_size(self) -> list[int]:
        """Groups with the most work first: fixing those prunes most."""
        arrays = self.arrays
        work = np.zeros(arrays.group_count)
        best = np.where(np.isfinite(arrays.time), arrays.time, np.inf).min(axis=1)
        np.add.at(work, arrays.group, best)
        return [int(g) for g in np.argsort(-work, kind="stable")]

    def forbid_missing_routes(self) -> None:
        """Devices without a route between them may not hold both ends of an edge."""
        if not self.routes.blocked:
            return
        arrays = self.arrays
        ends = zip(
            arrays.group[arrays.edge_src].tolist(),
            arrays.group[arrays.edge_dst].tolist(),
            strict=True,
        )
        for producer, reader in sorted(set(ends)):
            for source, target in self.routes.blocked:
                at, there = self.x[producer][source], self.x[reader][target]
                if producer != reader and at is not None and there is not None:
                    self.model.add_bool_or([at.negated(), there.negated()])

    def limit_static_memory(self) -> None:
        """Weights, outputs and the largest workspace of a device fit into it (static rule)."""
        if self.problem.memory_rule is not MemoryRule.STATIC:
            return
        arrays = self.arrays
        held = arrays.group_held // self.byte_unit
        work = arrays.group_workspace // self.byte_unit
        for d, capacity in enumerate(arrays.capacity.tolist()):
            limit = capacity // self.byte_unit
            if capacity >= UNLIMITED or int(held.sum()) + int(work.max(initial=0)) <= limit:
                continue
            there = [g for g in range(arrays.group_count) if self.x[g][d] is not None]
            terms = [int(held[g]) * self.x[g][d] for g in there if held[g]]
            users = [g for g in there if work[g]]
            if users:
                largest = self.model.new_int_var(0, int(work.max()), f"work{d}")
                for g in users:
                    self.model.add(largest >= int(work[g])).only_enforce_if(self.x[g][d])
                terms.append(largest)
            self.model.add(sum(terms) <= limit)

    @cached_property
    def byte_unit(self) -> int:
        """Bytes that all sizes are multiples of: memory is counted in these."""
        return self.arrays.byte_unit()

    # ---- hops ------------------------------------------------------------------------------

    @cached_property
    def routes(self) -> Routes:
        """Hops of the cluster."""
        return routes(self.problem)

    @cached_property
    def tensors(self) -> list[Tensor]:
        """Tensors that may have to travel."""
        return tensors(self.problem)

    def hops_of(self, tensor: Tensor) -> list[tuple[int, int]]:
        """Return the hops that a tensor may travel over."""
        if tensor.number not in self.hops:
            self.look_up()
            self.hops[tensor.number] = [
                hop for hop in self.routes.pairs if self._served(tensor, hop)
            ]
        return self.hops[tensor.number]

    def _served(self, tensor: Tensor, hop: tuple[int, int]) -> dict[int, list[tuple[int, int]]]:
        """Reader group -> (source, target) pairs by which the hop serves it."""
        home = self.x[tensor.group]
        served: dict[int, list[tuple[int, int]]] = {}
        for group in {int(self.arrays.group[reader]) for reader in tensor.readers}:
            pairs = [
                (s, t)
                for s, t in sorted(self.routes.pairs[hop])
                if home[s] is not None and self.x[group][t] is not None
            ]
            if pairs:
                served[group] = pairs
        return served

    def _conditions(
        self, tensor: Tensor, group: int, pairs: list[tuple[int, int]], hop: tuple[int, int]
    ) -> list[list[Any]]:
        """Conjunctions of literals, one of which holds exactly if a hop serves a reader group.

        Where the pairs are all that end in one device, or all that start in one, a single
        conjunction of "reader there, tensor not" (or the reverse) says the same.
        """
        home, there = self.x[tensor.group], self.x[group]
        a, b = hop
        sources = {s for s in range(len(home)) if home[s] is not None}
        targets = {t for t in range(len(there)) if there[t] is not None}
        if {t for _, t in pairs} == {b} and {s for s, _ in pairs} == sources - {b}:
            away = [] if home[b] is None else [home[b].negated()]
            return [[there[b], *away]]
        if {s for s, _ in pairs} == {a} and {t for _, t in pairs} == targets - {a}:
            away = [] if there[a] is None else [there[a].negated()]
            return [[home[a], *away]]
        return [[home[s], there[t]] for s, t in pairs]

    def travel(self, tensor: Tensor, hop: tuple[int, int]) -> Any:
        """Literal that is true if the tensor travels over the hop (once, however many read)."""
        key = (tensor.number, *hop)
        if key not in self.travels:
            self.look_up()
            literal = self.model.new_bool_var(f"u{key}")
            for group, pairs in self._served(tensor, hop).items():
                for condition in self._conditions(tensor, group, pairs, hop):
                    self.model.add_bool_or([literal, *(one.negated() for one in condition)])
            self._forbid_idle_travel(tensor, hop, literal)
            self.travels[key] = literal
        return self.travels[key]

    def _forbid_idle_travel(self, tensor: Tensor, hop: tuple[int, int], literal: Any) -> None:
        """Redundant: a tensor travels from where it is, and not to where it is made.

        Without this, hops that nobody needs could wait for each other in a circle, and their
        times would creep up tick by tick until the horizon.
        """
        home = self.x[tensor.group]
        sources = {s for pairs in self._served(tensor, hop).values() for s, _ in pairs}
        self.model.add_bool_or([literal.negated(), *(home[s] for s in sorted(sources))])
        if home[hop[1]] is not None:
            self.model.add_implication(literal, home[hop[1]].negated())

    def hop_size(self, tensor: Tensor, hop: tuple[int, int], grid: Grid) -> Any:
        """Duration of a tensor on a hop in ticks: a constant, or a variable if readers differ.

        The variable is at least what every reader that the hop serves asks for; nothing pushes
        it up, so it is the largest of them.
        """
        if tensor.uniform is not None:
            return grid.ticks(self.arrays.transfer_time(*hop, tensor.uniform))
        key = (grid, tensor.number, *hop)
        if key not in self.hop_sizes:
            longest = grid.ticks(self.arrays.transfer_time(*hop, max(tensor.readers.values())))
            size = self.model.new_int_var(0, longest, f"size{key[1:]}")
            for condition, wanted in self.demands(tensor, hop):
                least = grid.ticks(self.arrays.transfer_time(*hop, wanted))
                self.model.add(size >= least).only_enforce_if(condition)
            self.hop_sizes[key] = size
        return self.hop_sizes[key]

    def demands(self, tensor: Tensor, hop: tuple[int, int]) -> list[tuple[list[Any], int]]:
        """Return (conjunction, bytes): under the conjunction, the hop carries at least so much."""
        largest: dict[int, int] = {}
        for reader, size in tensor.readers.items():
            group = int(self.arrays.group[reader])
            largest[group] = max(size, largest.get(group, 0))
        return [
            (condition, largest[group])
            for group, pairs in self._served(tensor, hop).items()
            for condition in self._conditions(tensor, group, pairs, hop)
        ]

    # ---- bottleneck ------------------------------------------------------------------------

    def minimise_bottleneck(self) -> None:
        """The bottleneck is at least the load of every device, and of every serial link."""
        arrays, grid = self.arrays, self.load_grid
        top = grid.horizon
        if math.isfinite(self.upper):  # a load may be rounded up to a whole tick
            top = min(top, grid.floor(self.upper) + (0 if grid.exact else 1))
        least = math.floor((self.known - grid.loss(self.problem)) * grid.per_unit) - 1
        self.bottleneck = self.model.new_int_var(min(max(0, least), top), top, "bottleneck")
        loads = self.op_loads(grid)
        channels: dict[int, list[tuple[int, Any, int]]] = {}
        for tensor in self.tensors:
            self.look_up()
            for hop in self.hops_of(tensor):
                carriers = [d for d in hop if not arrays.copy_engine[d]]
                channel = int(arrays.channel[hop])
                if not carriers and channel < 0:
                    continue
                size = self.hop_size(tensor, hop, grid)
                literal = self.travel(tensor, hop)
                # A size that varies is at most that of the largest reader; 0 where it stays.
                ticks, moved, most = (size, literal, 1) if isinstance(size, int) else (1, size, top)
                for d in carriers:
                    loads[d].append((int(arrays.slots[d]) * ticks, moved, most))
                if channel >= 0:
                    channels.setdefault(channel, []).append((ticks, moved, most))
        for d, terms in enumerate(loads):
            slots = int(arrays.slots[d])
            self.limit_sum(terms, slots * self.bottleneck, slots * top)
        for terms in channels.values():
            self.limit_sum(terms, self.bottleneck, top)
        if self.problem.objective is Objective.BOTTLENECK:
            self.set_objective(self.bottleneck)

    def set_objective(self, objective: Any) -> None:
        """Minimise a linear expression."""
        self.objective = objective
        self.model.minimize(objective)

    def op_loads(self, grid: Grid) -> list[list[tuple[int, Any, int]]]:
        """Ticks x slots of each group on each device, as terms per device: see `limit_sum`."""
        arrays = self.arrays
        loads: list[list[tuple[int, Any, int]]] = [[] for _ in range(arrays.device_count)]
        for group, members in enumerate(arrays.members):
            for d, literal in enumerate(self.x[group]):
                if literal is None:
                    continue
                ticks = sum(
                    grid.ticks(float(arrays.time[i, d])) * int(arrays.demand[i])
                    for i in members.tolist()
                )
                if ticks:
                    loads[d].append((ticks, literal, 1))
        return loads

    def limit_load(self, terms: list[tuple[int, Any, int]], d: int, span: Any, most: int) -> None:
        """Redundant: ticks x slots that a device does take no more than its slots of a span.

        Parameters
        ----------
        terms : list of (int, literal, 1)
        d : int
        span : linear expression
        most : int
            Largest value of `span`.
        """
        slots = int(self.arrays.slots[d])
        if 3 * slots * (most + 1) <= LIMIT:
            self.limit_sum(terms, slots * span, slots * most)
        else:  # for each slot, rounded down: a little weaker
            self.limit_sum([(ticks // slots, *rest) for ticks, *rest in terms], span, most)

    def limit_sum(self, terms: list[tuple[int, Any, int]], limit: Any, most: int) -> None:
        """Keep a sum below a limit, in rows none of which passes `LIMIT` unless the grid is wide.

        A long sum is split into a chain of partial sums: each is a variable that takes no more
        than the limit can, so a row holds two of those and a part of the terms.

        Parameters
        ----------
        terms : list of (int, variable, int)
            Factor, variable, and the variable's largest value.
        limit : linear expression
        most : int
            Largest value of `limit`.
        """
        row: list[Any] = []
        size, carry = 0, 0
        total = sum(min(factor, most + 1) * largest for factor, _, largest in terms)
        whole = self.load_grid.wide or total + most <= LIMIT
        for factor, variable, largest in terms:
            factor = min(factor, most + 1)  # more than the limit is just that
            reach = factor * largest
            if row and size + reach + 2 * most > LIMIT and not whole:
                partial = self.model.new_int_var(0, most, "")
                self.model.add(sum(row) + carry <= partial)
                row, size, carry = [], 0, partial
            row.append(factor * variable)
            size += reach
        if row:
            self.model.add(sum(row) + carry <= limit)

    def look_up(self) -> None:
        """Raise `BuildStoppedError` if the time is over; called often while building."""
        if self.stopped():
            raise BuildStoppedError
