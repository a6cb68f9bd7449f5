"""From a schedule that runs to the problem of what is left of it.

Whatever has started stays, as `talos_opt.core.frozen` says. Where a device leaves, what ran there
at that moment is lost, and so are tensors of which no copy is on a device that stays: the ops that
made them run again, and whatever those need. What has read them has read them: it reads them no
more in the new problem, so that its past does not wait for its future.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from talos_opt.core.errors import InputError
from talos_opt.core.feasibility import check
from talos_opt.core.frozen import Frozen
from talos_opt.core.graph import Graph, Model
from talos_opt.core.problem import Bools, Floats, Ints, Problem
from talos_opt.core.schedule import Schedule, Transfers
from talos_opt.core.units import describe, magnitude


@dataclass(frozen=True)
class MoveCost:
    """What it costs to run an op elsewhere than planned, in units of the objective's value.

    Parameters
    ----------
    per_op : float
    per_byte : float
        For each byte of the op's weights.

    Raises
    ------
    GraphError
        If one of them is negative, or is no number.
    """

    per_op: float = 0.0
    per_byte: float = 0.0

    def __post_init__(self) -> None:
        for name in ("per_op", "per_byte"):
            object.__setattr__(self, name, magnitude(getattr(self, name), name, path=name))

    def of(self, weights: Ints) -> Floats:
        """Return the price of each op (n,)."""
        return np.asarray(self.per_op + self.per_byte * weights, dtype=np.float64)


@dataclass(frozen=True)
class Replanning:
    """What is left of a schedule at a moment, as a problem.

    Parameters
    ----------
    problem : Problem
        The whole graph, models that join behind the others; with `Problem.frozen`, unless nothing
        has started and nothing else tells it from a new problem.
    running : Schedule
        What was planned: of the first ops of the problem.
    moment : float
    lost : tuple of int
        Ops that had started, or ended, and run again.
    """

    problem: Problem
    running: Schedule
    moment: float
    lost: tuple[int, ...]

    @property
    def begun(self) -> Bools:
        """Ops that have started and stay (n,)."""
        frozen = self.problem.frozen
        if frozen is None:
            return np.zeros(self.problem.arrays.op_count, dtype=bool)
        return frozen.started


def join_models(problem: Problem, others: Sequence[Problem], moment: float) -> Problem:
    """Return a problem with the models of others behind its own, none released before a moment.

    Raises
    ------
    InputError
        If the time units differ, or a model has the name of another.
    """
    models = list(problem.graph.models)
    known = {model.id for model in models}
    for other in others:
        if other.graph.time_unit != problem.graph.time_unit:
            raise InputError(
                f"times of graph {other.graph.name!r} are in {other.graph.time_unit}, expected the "
                f"unit of graph {problem.graph.name!r}, {problem.graph.time_unit}"
            )
        for model in other.graph.models:
            if model.id in known:
                raise InputError(
                    f"graph {other.graph.name!r} has a model {model.id!r}, as graph "
                    f"{problem.graph.name!r} has: expected another id"
                )
            known.add(model.id)
            models.append(dataclasses.replace(model, release=max(model.release, moment)))
    if not others:
        return problem
    graphs = [problem.graph, *(other.graph for other in others)]
    texts = dict.fromkeys(graph.description for graph in graphs if graph.description)
    # What is known of the first graph alone is not true of all.
    graph = dataclasses.replace(
        problem.graph, models=tuple(models), known={}, description="\n".join(texts)
    )
    return dataclasses.replace(problem, graph=graph)


def freeze(
    problem: Problem,
    running: Schedule,
    moment: float,
    *,
    without: Sequence[str] = (),
    move_cost: MoveCost | None = None,
    planned: bool = False,
) -> Replanning:
    """Return the problem of what a schedule has not started by a moment.

    Parameters
    ----------
    problem : Problem
        Ops of the schedule first; what follows joins now.
    running : Schedule
        Feasible.
    moment : float
        What starts before it has started.
    without : sequence of str
        Ids of devices that leave.
    move_cost : MoveCost, optional
    planned : bool
        Whether all that is planned stays too, as if it had started.

    Raises
    ------
    InputError
        If a device is unknown, leaves no way between others, or an op has nowhere to go.
    """
    freezer = _Freezer(problem, running, moment, without, planned)
    return freezer.freeze(move_cost or MoveCost())


def require_running(problem: Problem, running: Schedule, moment: float) -> None:
    """Refuse a schedule that cannot be running at a moment.

    Raises
    ------
    InputError
        If it is no feasible schedule of the problem, or is over by then.
    """
    violations = check(problem, running)
    if violations:
        raise InputError(f"the running schedule is not feasible: {violations[0]}")
    unit = problem.graph.time_unit
    if not 0 <= moment <= running.makespan:
        raise InputError(
            f"at is {describe(moment)}, expected from 0 to {running.makespan:g} {unit}, when the "
            "running schedule ends"
        )


class _Freezer:
    """n ops of the problem, of which the first n0 are of the schedule."""

    def __init__(
        self,
        problem: Problem,
        running: Schedule,
        moment: float,
        without: Sequence[str],
        planned: bool,
    ) -> None:
        self.problem, self.running, self.moment = problem, running, moment
        self.arrays = problem.arrays
        self.count, self.old = problem.arrays.op_count, len(running.device)
        self.left = _leaving(problem, without)
        self.device = np.full(self.count, -1, dtype=np.int64)
        self.device[: self.old] = running.device
        self.kept = np.zeros(self.count, dtype=bool)
        self.kept[: self.old] = (running.start < moment) | planned
        self._keep_producers()
        self.began = self.kept.copy()
        self.hops = {
            (row.tensor, row.target): row
            for row in running.transfers.rows()
            if (row.start < moment or planned)
            and not ((self.left[row.source] or self.left[row.target]) and row.end > moment)
        }

    def freeze(self, move_cost: MoveCost) -> Replanning:
        running, count = self.running, self.count
        if self.left.any():
            self._lose()
        lost = np.flatnonzero(self.began & ~self.kept)
        times = np.full((2, count), np.nan)
        times[:, : self.old] = running.start, running.end
        planned = np.where(self.kept | self.left[self.device], -1, self.device)
        graph = _without_reads(self.problem.graph, self._past_reads())
        rows = [row for row in self.hops.values() if self.kept[row.op]]
        prices = move_cost.of(self.arrays.weights)
        tells = any(part.any() for part in (self.kept, self.left, prices))
        if not (tells or rows or self._is_late()):
            return Replanning(self.problem, running, self.moment, ())
        frozen = Frozen(
            moment=self.moment,
            started=self.kept.copy(),
            start=times[0],
            end=times[1],
            transfers=Transfers.from_rows(rows),
            allowed=self._allowed(),
            left=self.left,
            planned=planned,
            price=prices,
        )
        self._require_homes(frozen)
        problem = dataclasses.replace(self.problem, graph=graph, frozen=frozen)
        return Replanning(problem, running, self.moment, tuple(lost.tolist()))

    def _keep_producers(self) -> None:
        """What has been read has started, though rounding may have it start a little later."""
        arrays = self.arrays
        while True:
            ahead = arrays.edge_src[self.kept[arrays.edge_dst]]
            if self.kept[ahead].all():
                return
            self.kept[ahead] = True

    def _is_late(self) -> bool:
        """Whether the moment is later than the releases of what is left."""
        release = self.arrays.release[self.arrays.model]
        return bool((release[~self.kept] < self.moment).any())

    def _inputs(self, op: int) -> list[int]:
        arrays = self.arrays
        found: list[int] = arrays.in_edge[arrays.in_ptr[op] : arrays.in_ptr[op + 1]].tolist()
        return found

    # ---- devices that leave ----------------------------------------------------------------

    def _lose(self) -> None:
        """Take back what is lost, and what has to run again for that, until nothing is missing."""
        cut = self.left[self.device] & self.kept
        cut[: self.old] &= self.running.end > self.moment
        self.kept &= ~cut
        changed = True
        while changed:
            changed = self._lose_groups()
            allowed = self._allowed()
            group = np.ones((self.arrays.group_count, self.arrays.device_count), dtype=bool)
            np.logical_and.at(group, self.arrays.group, allowed & np.isfinite(self.arrays.time))
            for op in self._free_readers():
                if group[self.arrays.group[op]].any():
                    continue
                for edge in self._inputs(op):
                    producer = int(self.arrays.edge_src[edge])
                    if self.kept[producer] and self._is_bound(edge):
                        self.kept[producer] = False
                        changed = True

    def _lose_groups(self) -> bool:
        """A group that is not done goes on elsewhere as a whole."""
        arrays = self.arrays
        undone = np.zeros(arrays.group_count, dtype=bool)
        undone[arrays.group[~self.kept]] = True
        gone = self.kept & self.left[self.device] & undone[arrays.group]
        self.kept &= ~gone
        return bool(gone.any())

    def _free_readers(self) -> list[int]:
        """Ops to come that read what has been made."""
        arrays = self.arrays
        reads = self.kept[arrays.edge_src] & ~self.kept[arrays.edge_dst]
        found: list[int] = np.unique(arrays.edge_dst[reads]).tolist()
        return found

    def _is_bound(self, edge: int) -> bool:
        """Whether what an edge reads keeps its reader from some device."""
        return self._reachable(edge) is not None

    def _reachable(self, edge: int) -> Bools | None:
        """Devices on which a tensor that has been made can be read (m,); None: on all."""
        arrays = self.arrays
        tensor, home = int(arrays.edge_tensor[edge]), int(self.device[arrays.edge_src[edge]])
        reader = int(arrays.edge_dst[edge])
        found: Bools | None = None
        if self.left[home]:
            found = np.array([self._is_there(edge, home, d) for d in range(len(self.left))])
        if self._differs(tensor) and self.device[reader] >= 0:
            # Another placement of some readers would change the bytes that have been sent.
            planned = np.arange(len(self.left)) == self.device[reader]
            found = planned if found is None else found & planned
        return found

    def _is_there(self, edge: int, home: int, device: int) -> bool:
        """Whether a tensor of a device that leaves has been sent to another."""
        arrays, size = self.arrays, int(self.arrays.edge_bytes[edge])
        path = arrays.path(home, device)
        if self.left[device] or path is None:
            return False
        return all(
            (int(arrays.edge_tensor[edge]), hop[1]) in self.hops
            or (size == 0 and arrays.transfer_time(*hop, size) == 0)
            for hop in path
        )

    def _differs(self, tensor: int) -> bool:
        """Whether readers name different bytes of a tensor that has been sent or read elsewhere."""
        arrays = self.arrays
        reads = slice(int(arrays.read_ptr[tensor]), int(arrays.read_ptr[tensor + 1]))
        sizes = arrays.edge_bytes[reads]
        if len(sizes) == 0 or (sizes == sizes[0]).all():
            return False
        readers, home = arrays.edge_dst[reads], self.device[arrays.tensor_op[tensor]]
        there = self.kept[readers] & (self.device[readers] != home)
        return bool(there.any()) or any(key[0] == tensor for key in self.hops)

    def _past_reads(self) -> set[tuple[int, int]]:
        """Producers that run again, each with a reader that has read what they made."""
        arrays = self.arrays
        over = ~self.kept[arrays.edge_src] & self.kept[arrays.edge_dst]
        pairs = zip(arrays.edge_src[over].tolist(), arrays.edge_dst[over].tolist(), strict=True)
        return set(pairs)

    # ---- where ops may go ------------------------------------------------------------------

    def _allowed(self) -> Bools:
        """Devices that each op may be on (n, m)."""
        arrays = self.arrays
        allowed = np.repeat(~self.left[None, :], self.count, axis=0)
        kept = np.flatnonzero(self.kept)
        allowed[kept] = False
        allowed[kept, self.device[kept]] = True
        reads = self.kept[arrays.edge_src] & ~self.kept[arrays.edge_dst]
        if arrays.tensor_bytes is not None:  # else readers may name different bytes
            reads &= self.left[self.device[arrays.edge_src]]
        for edge in np.flatnonzero(reads).tolist():
            found = self._reachable(edge)
            if found is not None:
                allowed[arrays.edge_dst[edge]] &= found
        return allowed

    def _require_homes(self, frozen: Frozen) -> None:
        stuck = ~(frozen.allowed & np.isfinite(self.arrays.time)).any(axis=1)
        if stuck.any():
            op, ids = int(np.argmax(stuck)), self.problem.device_ids
            gone = ", ".join(ids[d] for d in np.flatnonzero(self.left))
            raise InputError(
                f"op {self.problem.names[op]} can run on no device that stays, expected one "
                f"beside {gone}"
            )


def _leaving(problem: Problem, without: Sequence[str]) -> Bools:
    left = np.zeros(len(problem.device_ids), dtype=bool)
    for name in without:
        if name not in problem.cluster.index:
            raise InputError(
                f"without names {name!r}, expected a device of {', '.join(problem.device_ids)}"
            )
        left[problem.cluster.index[name]] = True
    if left.all():
        raise InputError("without names all devices, expected one at least to stay")
    stage = problem.arrays.via
    for a, b in np.argwhere(stage >= 0).tolist():
        if left[stage[a, b]] and not (left[a] or left[b]):
            ids = problem.device_ids
            raise InputError(
                f"without names {ids[stage[a, b]]!r}, over which tensors go from {ids[a]} to "
                f"{ids[b]}: expected a device that no route goes over"
            )
    return left


def _without_reads(graph: Graph, reads: set[tuple[int, int]]) -> Graph:
    """Return a graph without some edges, each given by its ends."""
    if not reads:
        return graph
    models: list[Model] = []
    first = 0
    for model in graph.models:
        ops = []
        for k, op in enumerate(model.ops):
            inputs = tuple(
                edge for edge in op.inputs if (first + model.index[edge.op], first + k) not in reads
            )
            ops.append(op if inputs == op.inputs else dataclasses.replace(op, inputs=inputs))
        models.append(dataclasses.replace(model, ops=tuple(ops)))
        first += len(model.ops)
    return dataclasses.replace(graph, models=tuple(models))
