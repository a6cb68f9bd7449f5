"""The placement half of the formulation: who sits where, and what follows without any times.

Alone it is exact for the bottleneck objective under the static memory rule.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from talos_opt.core.problem import UNLIMITED, MemoryRule, Objective, Problem
from talos_opt.solvers.cpsat.grid import Grid, whole_weights
from talos_opt.solvers.cpsat.hops import Routes, Tensor, routes, tensors
from talos_opt.solvers.cpsat.symmetry import identical_devices


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
    upper : float
        Only solutions of at most this value matter; infinite: all.
    stopped : callable
        Looked at while building.
    """

    #: Parts are fixed as in an incumbent: bounds and infeasibility say nothing about the problem.
    restricted = False
    #: Times stand for a relaxation, not for a schedule: only the placement is meant.
    relaxed = False

    def __init__(
        self,
        cp: Any,
        problem: Problem,
        grid: Grid,
        upper: float,
        stopped: Callable[[], bool],
    ) -> None:
        self.cp = cp
        self.problem = problem
        self.arrays = problem.arrays
        self.grid = grid
        self.upper = upper
        self.stopped = stopped
        self.model = cp.CpModel()
        #: Real value = objective on the grid / objective_scale.
        self.objective_scale = grid.per_unit
        self.weights, self.weight_scale = whole_weights(self.arrays.model_weight)
        self.classes = identical_devices(self.arrays)
        self.x: list[list[Any]] = []
        self.hops: dict[int, list[tuple[int, int]]] = {}
        self.travels: dict[tuple[int, int, int], Any] = {}
        self.hop_sizes: dict[tuple[int, int, int], Any] = {}

    def build(self) -> None:
        """Add every variable and constraint."""
        self.assign_groups()
        self.break_symmetry()
        self.forbid_missing_routes()
        self.limit_static_memory()
        self.minimise_bottleneck()

    # ---- placement -------------------------------------------------------------------------

    def assign_groups(self) -> None:
        """Every colocation group sits on exactly one device that can run all of its ops."""
        for group, row in enumerate(self.arrays.allowed.tolist()):
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
        held = np.zeros(arrays.group_count, dtype=np.int64)
        np.add.at(held, arrays.group, arrays.weights + arrays.output)
        work = np.zeros(arrays.group_count, dtype=np.int64)
        np.maximum.at(work, arrays.group, arrays.workspace)
        for d, limit in enumerate(arrays.capacity.tolist()):
            if limit >= UNLIMITED or int(held.sum()) + int(work.max(initial=0)) <= limit:
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
        if tensor.op not in self.hops:
            self.look_up()
            self.hops[tensor.op] = [hop for hop in self.routes.pairs if self._served(tensor, hop)]
        return self.hops[tensor.op]

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
        key = (tensor.op, *hop)
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

    def hop_ticks(self, hop: tuple[int, int], size: int) -> int:
        """Return the duration of a hop in ticks."""
        return self.grid.ticks(self.arrays.transfer_time(*hop, size))

    def hop_size(self, tensor: Tensor, hop: tuple[int, int]) -> Any:
        """Duration of a tensor on a hop in ticks: a constant, or a variable if readers differ.

        The variable is at least what every reader that the hop serves asks for; nothing pushes
        it up, so it is the largest of them.
        """
        if tensor.uniform is not None:
            return self.hop_ticks(hop, tensor.uniform)
        key = (tensor.op, *hop)
        if key not in self.hop_sizes:
            longest = self.hop_ticks(hop, max(tensor.readers.values()))
            size = self.model.new_int_var(0, longest, f"size{key}")
            for condition, wanted in self.demands(tensor, hop):
                least = self.hop_ticks(hop, wanted)
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
        arrays = self.arrays
        top = self.grid.horizon * 2
        if np.isfinite(self.upper):
            top = min(top, self.grid.ticks(self.upper) + 1)
        self.bottleneck = self.model.new_int_var(0, top, "bottleneck")
        loads = self.op_loads()
        channels: dict[int, list[Any]] = {}
        for tensor in self.tensors:
            self.look_up()
            for hop in self.hops_of(tensor):
                carriers = [d for d in hop if not arrays.copy_engine[d]]
                channel = int(arrays.channel[hop])
                if not carriers and channel < 0:
                    continue
                size = self.hop_size(tensor, hop)
                literal = self.travel(tensor, hop)
                term = size * literal if isinstance(size, int) else size
                for d in carriers:
                    loads[d].append(int(arrays.slots[d]) * term)
                if channel >= 0:
                    channels.setdefault(channel, []).append(term)
        for d, terms in enumerate(loads):
            if terms:
                self.model.add(sum(terms) <= int(arrays.slots[d]) * self.bottleneck)
        for terms in channels.values():
            self.model.add(sum(terms) <= self.bottleneck)
        if self.problem.objective is Objective.BOTTLENECK:
            self.model.minimize(self.bottleneck)

    def op_loads(self) -> list[list[Any]]:
        """Ticks x slots of each group on each device, as terms per device."""
        arrays = self.arrays
        loads: list[list[Any]] = [[] for _ in range(arrays.device_count)]
        for group, members in enumerate(arrays.members):
            for d, literal in enumerate(self.x[group]):
                if literal is None:
                    continue
                ticks = sum(
                    self.grid.ticks(float(arrays.time[i, d])) * int(arrays.demand[i])
                    for i in members.tolist()
                )
                if ticks:
                    loads[d].append(ticks * literal)
        return loads

    def look_up(self) -> None:
        """Raise `BuildStoppedError` if the time is over; called often while building."""
        if self.stopped():
            raise BuildStoppedError
