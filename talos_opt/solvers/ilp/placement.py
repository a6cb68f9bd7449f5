"""Where every colocation group goes, which tensors travel for it, and what that loads.

Alone it decides placements under the objective bottleneck; `sequencing` builds on it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, pairwise, permutations

import numpy as np

from talos_opt.core.problem import NO_ROUTE, UNLIMITED, Bools, Ints, Problem, StageRule
from talos_opt.solvers.ilp.builder import Builder, Terms, Variable, scaled
from talos_opt.solvers.ilp.tensors import Tensor, tensors_of
from talos_opt.solvers.shared.stages import stage_edges, stage_groups
from talos_opt.solvers.shared.symmetry import identical_devices

#: Groups for which symmetry is broken: the first few decide, the rest would only add terms.
_SYMMETRY_GROUPS = 40
#: Binary digits that a memory coefficient keeps exactly: doubles have 53, sums need some room.
_MEMORY_DIGITS = 10


class PlacementFormulation:
    """Columns and rows of the placement.

    Parameters
    ----------
    problem : Problem
    possible : (g, m) bool
        Devices that each group may go to.
    scale : float
        Time units in one unit of the formulation: tolerances of MILP solvers are absolute, so
        times are brought to the order of 100.
    stopped : callable
        Whether to give up writing.
    counted : callable
        Whether the time of a hop ``(source, target)`` matters; the others get no columns.
    excess : bool
        Let devices overrun their memory, and minimise by how much (for diagnosis).
    """

    def __init__(
        self,
        problem: Problem,
        possible: Bools,
        scale: float,
        stopped: Callable[[], bool],
        counted: Callable[[int, int], bool],
        *,
        excess: bool = False,
    ) -> None:
        self.problem = problem
        self.arrays = problem.arrays
        self.scale = scale
        self.counted = counted
        self.write = Builder("talos_opt", stopped)
        self.homes = [np.flatnonzero(row).tolist() for row in possible]
        self.tensors = tensors_of(problem)
        #: On: group g is on device d.
        self.on: dict[tuple[int, int], Variable] = {}
        self._request: dict[tuple[int, int, int, int], Variable] = {}
        self._pairs: dict[int, list[tuple[int, int]]] = {}
        self._leg: dict[tuple[int, int, int, int], Terms] = {}
        self.memory_unit = 1.0
        self.excess: dict[int, Variable] = {}
        self._place_groups()
        self._route_tensors()
        self._limit_memory(elastic=excess)
        #: Classes of devices that can be swapped; see `_label_devices`.
        self.classes = identical_devices(problem)
        self._label_devices()
        #: One device stands before another, in the order of a model.
        self.before: dict[tuple[int, int, int], Variable] = {}
        self._keep_stages()

    # ---- constraint families ---------------------------------------------------------------

    def _place_groups(self) -> None:
        """Every colocation group is on exactly one device that all its ops may use."""
        for group, homes in enumerate(self.homes):
            for d in homes:
                self.on[group, d] = self.write.binary(f"x{group}_{d}")
            self.write.equal([(self.on[group, d], 1.0) for d in homes], 1.0)

    def _route_tensors(self) -> None:
        """A reader's device must be reachable from the producer's."""
        via = self.arrays.via
        for pair in sorted({(t.group, reader) for t in self.tensors for reader, _ in t.readers}):
            sources = self.homes[pair[0]]
            for d in self.homes[pair[1]]:
                reach = [s for s in sources if s == d or via[s, d] != NO_ROUTE]
                if len(reach) < len(sources):
                    within = [(self.on[pair[0], s], 1.0) for s in reach]
                    self.write.at_least([*within, (self.on[pair[1], d], -1.0)], 0.0)

    def _limit_memory(self, *, elastic: bool) -> None:
        """Static rule: weights + outputs + the largest workspace fit into the device.

        Sizes are divided by a power of two, which is exact. Where sizes differ by more digits
        than a solver's tolerance can tell, a placement may still overrun by a few bytes; that is
        found with whole numbers when it is read back, and cut off by `forbid_crowd`.
        """
        resident, workspace = self.arrays.group_held, self.arrays.group_workspace
        limited = np.flatnonzero(self.arrays.capacity < UNLIMITED).tolist()
        if not limited:
            return
        largest = float(self.arrays.capacity[limited].max())
        self.memory_unit = 2.0 ** max(0, int(np.ceil(np.log2(max(largest, 1)))) - _MEMORY_DIGITS)
        for d in limited:
            here = [g for g, homes in enumerate(self.homes) if d in homes]
            capacity = int(self.arrays.capacity[d])
            if int(resident[here].sum()) + int(workspace[here].max(initial=0)) <= capacity:
                continue
            held: Terms = [(self.on[g, d], resident[g] / self.memory_unit) for g in here]
            work = self.write.continuous(f"work{d}")
            for g in here:
                if workspace[g]:
                    size = workspace[g] / self.memory_unit
                    self.write.at_least([(work, 1.0), (self.on[g, d], -size)], 0.0)
            if elastic:
                self.excess[d] = self.write.continuous(f"excess{d}")
                held.append((self.excess[d], -1.0))
            self.write.at_most([*held, (work, 1.0)], capacity / self.memory_unit)

    def _label_devices(self) -> None:
        """Of devices that can be swapped, each is first used after the one before it.

        Groups are looked at in order of their number: a group is on a device only if an earlier
        one is on the device before. Every placement can be relabelled so (`symmetry.canonical`).
        """
        for members in self.classes:
            for before, d in pairwise(members):
                earlier: Terms = []
                for g in range(min(len(self.homes), _SYMMETRY_GROUPS)):
                    if (g, d) in self.on:
                        self.write.at_least([*earlier, (self.on[g, d], -1.0)], 0.0)
                        earlier.append((self.on[g, before], 1.0))

    def _keep_stages(self) -> None:
        """Forward edges lead along an order of the devices, one for each model.

        ``before[a, b]`` is 1 where a stands before b; of every two devices one does, and there is
        no circle of three, hence none at all. A group on a, and one that reads it on b, ask for
        ``before[a, b]``.
        """
        stages, devices = self.problem.stages, range(self.arrays.device_count)
        if stages.use_all:
            groups = stage_groups(self.arrays).tolist()
            for d in devices:
                self.write.at_least([(self.on[g, d], 1.0) for g in groups if (g, d) in self.on], 1)
        if stages.rule is StageRule.ANY:
            return
        for model, edges in stage_edges(self.arrays).items():
            if stages.rule is StageRule.ORDERED:
                self._follow_devices(edges)
                continue
            before = {
                (a, b): self.write.binary(f"before{model}_{a}_{b}")
                for a, b in permutations(devices, 2)
            }
            self.before |= {(model, *pair): column for pair, column in before.items()}
            for a, b in combinations(devices, 2):
                self.write.equal([(before[a, b], 1.0), (before[b, a], 1.0)], 1.0)
            for a, b, c in permutations(devices, 3):
                if a < b and a < c:
                    circle = [(before[a, b], 1.0), (before[b, c], 1.0), (before[c, a], 1.0)]
                    self.write.at_most(circle, 2.0)
            for g, h in edges:
                for a in self.homes[g]:
                    for b in self.homes[h]:
                        if a != b:
                            both = [(self.on[g, a], 1.0), (self.on[h, b], 1.0)]
                            self.write.at_most([*both, (before[a, b], -1.0)], 1.0)

    def _follow_devices(self, edges: list[tuple[int, int]]) -> None:
        """A reader on one of the first devices has its producer there."""
        for g, h in edges:
            for last in range(self.arrays.device_count - 1):
                behind = [(self.on[h, d], 1.0) for d in self.homes[h] if d <= last]
                ahead = [(self.on[g, d], -1.0) for d in self.homes[g] if d <= last]
                if behind:
                    self.write.at_most([*behind, *ahead], 0.0)

    def forbid_crowd(self, device: Ints) -> bool:
        """Cut off a placement that overruns a device by too few bytes for the solver to see.

        Parameters
        ----------
        device : (n,) int
            Device of every op.

        Returns
        -------
        bool
            Whether there was such a device. The cut is a cover inequality: of a minimal set of
            groups that does not fit together, one must go elsewhere.
        """
        resident, workspace = self.arrays.group_held, self.arrays.group_workspace
        found = False
        for d, capacity in enumerate(self.arrays.capacity.tolist()):
            crowd = sorted(set(self.arrays.group[device == d].tolist()))

            def need(groups: list[int]) -> int:
                return int(resident[groups].sum()) + int(workspace[groups].max(initial=0))

            if need(crowd) <= capacity:
                continue
            for g in list(crowd):
                rest = [other for other in crowd if other != g]
                if need(rest) > capacity:
                    crowd = rest
            self.write.at_most([(self.on[g, d], 1.0) for g in crowd], len(crowd) - 1.0)
            found = True
        return found

    # ---- transfers -------------------------------------------------------------------------

    def hop_time(self, tensor: Tensor, source: int, target: int, layer: int) -> float:
        """Return the scaled time of a hop that carries a tensor up to a layer."""
        size = tensor.sizes[layer]
        return self.arrays.transfer_time(source, target, size) / self.scale

    def request_transfers(self, tensor: Tensor) -> None:
        """Columns for what a tensor's readers ask for: r = 1 where it must get from s to t.

        ``r[s, t, k] <= on[producer, s]`` and, for a reader on t whose size is that of layer k,
        ``on[reader, t] <= on[producer, t] + sum over s of r[s, t, k]``. A pair of devices whose
        hops take no time that matters needs no column: the producer's own stands in.
        """
        i, home = tensor.number, tensor.group
        targets = sorted({d for group, _ in tensor.readers for d in self.homes[group]})
        for t in targets:
            timed = [s for s in self.homes[home] if self._matters(tensor, s, t)]
            for s in timed:
                self._pairs.setdefault(i, []).append((s, t))
                above = self.on[home, s]
                for k in range(len(tensor.sizes)):
                    request = self.write.continuous(f"r{i}_{s}_{t}_{k}", 0.0, 1.0)
                    self._request[i, s, t, k] = request
                    self.write.at_most([(request, 1.0), (above, -1.0)], 0.0)
                    above = request
            if timed:
                self._ask(tensor, t, timed)

    def _ask(self, tensor: Tensor, target: int, timed: list[int]) -> None:
        home = tensor.group
        # On the target itself, or on a source whose hops take no time: nothing to wait for.
        free = [
            (self.on[home, s], 1.0)
            for s in self.homes[home]
            if s not in timed and self.arrays.path(s, target) is not None
        ]
        for group, k in tensor.readers:
            if target in self.homes[group]:
                asked = [(self._request[tensor.number, s, target, k], 1.0) for s in timed]
                self.write.at_least([*free, *asked, (self.on[group, target], -1.0)], 0.0)

    def bound_requests(self, tensor: Tensor) -> None:
        """Let nothing travel that no reader asks for.

        Without these rows a needless transfer costs what it takes, but it could pass on slots
        that it never had to wait for (`SequencingFormulation`).
        """
        for s, t in self._pairs.get(tensor.number, ()):
            for k in range(len(tensor.sizes)):
                asking = [
                    (self.on[group, t], -1.0)
                    for group, layer in tensor.readers
                    if layer >= k and t in self.homes[group]
                ]
                request = self._request[tensor.number, s, t, k]
                self.write.at_most([(request, 1.0), *asking], 0.0)

    def _matters(self, tensor: Tensor, source: int, target: int) -> bool:
        last = len(tensor.sizes) - 1
        return source != target and any(
            self.counted(a, b) and self.hop_time(tensor, a, b, last) > 0
            for a, b in self.arrays.path(source, target) or ()
        )

    def hop(self, tensor: Tensor, source: int, target: int, layer: int) -> Terms:
        """Return an expression that is 1 where the tensor takes this hop with this layer.

        From its home a tensor leaves once for each neighbour, be it read there or staged there
        for others: the largest of those requests. From a stage it leaves for one target.
        """
        key = (tensor.number, source, target, layer)
        if key not in self._leg:
            self._leg[key] = self._write_hop(tensor, source, target, layer)
        return self._leg[key]

    def _write_hop(self, tensor: Tensor, source: int, target: int, layer: int) -> Terms:
        i, via = tensor.number, self.arrays.via
        own = [
            self._request[i, source, t, layer]
            for s, t in self._pairs.get(i, ())
            if s == source and (t == target if via[s, t] < 0 else via[s, t] == target)
        ]
        staged: Terms = [
            (self._request[i, s, t, layer], 1.0)
            for s, t in self._pairs.get(i, ())
            if t == target and via[s, t] == source
        ]
        if len(own) <= 1:
            return staged + [(request, 1.0) for request in own]
        largest = self.write.continuous(f"h{i}_{source}_{target}_{layer}", 0.0, 1.0)
        for request in own:
            self.write.at_least([(largest, 1.0), (request, -1.0)], 0.0)
        self.write.at_most([(largest, 1.0), *((request, -1.0) for request in own)], 0.0)
        return [*staged, (largest, 1.0)]

    def hop_length(self, tensor: Tensor, source: int, target: int) -> Terms:
        """Return the time that a hop takes, 0 where it does not happen."""
        length: Terms = []
        before = 0.0
        for k in range(len(tensor.sizes)):
            after = self.hop_time(tensor, source, target, k)
            if after > before:
                length += scaled(self.hop(tensor, source, target, k), after - before)
            before = after
        return length

    def hop_sources(self, tensor: Tensor, target: int) -> list[int]:
        """Return the devices from which a tensor may hop to a target on a way that matters."""
        sources: set[int] = set()
        for s, t in self._pairs.get(tensor.number, ()):
            sources.update(a for a, b in self.arrays.path(s, t) or () if b == target)
        return sorted(sources)

    def request_length(self, tensor: Tensor, target: int) -> Terms:
        """Return the least time from the producer's end until the tensor is on a target."""
        length: Terms = []
        for s, t in self._pairs.get(tensor.number, ()):
            if t != target:
                continue
            before = 0.0
            for k in range(len(tensor.sizes)):
                hops = self.arrays.path(s, t) or ()
                after = sum(self.hop_time(tensor, a, b, k) for a, b in hops)
                if after > before:
                    length.append((self._request[tensor.number, s, t, k], after - before))
                before = after
        return length

    def staged_at(self, tensor: Tensor, target: int) -> dict[int, Terms]:
        """Return, by stage, the expression that is 1 where it stages a tensor for a target."""
        found: dict[int, Terms] = {}
        for s, t in self._pairs.get(tensor.number, ()):
            stage = int(self.arrays.via[s, t])
            if t == target and stage >= 0:
                found.setdefault(stage, []).append((self._request[tensor.number, s, t, 0], 1.0))
        return found

    # ---- loads -----------------------------------------------------------------------------

    def work(self, d: int, ops: Ints) -> Terms:
        """Return the time that ops take on a device, shared over its slots."""
        arrays = self.arrays
        per_group: dict[int, float] = {}
        for i in ops.tolist():
            g = int(arrays.group[i])
            if d in self.homes[g]:
                per_group[g] = per_group.get(g, 0.0) + float(arrays.time[i, d] * arrays.demand[i])
        factor = 1.0 / (self.scale * float(arrays.slots[d]))
        return [(self.on[g, d], time * factor) for g, time in per_group.items()]

    def minimise_bottleneck(self, unit: float) -> None:
        """Objective: the largest load of a device (metrics.device_loads, literally).

        Parameters
        ----------
        unit : float
            What one unit of the formulation's objective is worth in the problem's.
        """
        top = self.write.continuous("bottleneck")
        loads = [
            self.work(d, np.arange(self.arrays.op_count)) for d in range(len(self.arrays.slots))
        ]
        for tensor in self.tensors:
            self.request_transfers(tensor)
            for a, b in self._counted_hops(tensor):
                for d in (a, b):
                    if not self.arrays.copy_engine[d]:
                        loads[d] = loads[d] + self.hop_length(tensor, a, b)
        for load in loads:
            self.write.at_least([(top, 1.0), *scaled(load, -1.0)], 0.0)
        self.write.minimise([(top, self.scale / unit)])

    def _counted_hops(self, tensor: Tensor) -> list[tuple[int, int]]:
        targets = range(self.arrays.device_count)
        return [(s, t) for t in targets for s in self.hop_sources(tensor, t) if self.counted(s, t)]

    def minimise_excess(self) -> None:
        """Objective of the diagnosis: bytes too many, over all devices."""
        self.write.minimise([(excess, 1.0) for excess in self.excess.values()])
