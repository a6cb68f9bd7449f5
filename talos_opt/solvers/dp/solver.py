"""`dp`: exact on narrow graphs, by label setting over order ideals.

An order ideal is a set of ops that is closed under predecessors: what has been scheduled so far.
Every semi-active schedule is a chain of ideals, one op a step, appended to its device. Labels of
one ideal are the Pareto-minimal states that partial schedules leave behind (free times of
devices, arrivals of tensors still to be read, memory, completed models); a label that another one
of the same ideal undercuts everywhere can be dropped, since whatever completes it completes the
other at least as well. Labels that cannot end below the incumbent are dropped too, so the search
proves the incumbent optimal when none is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from talos_opt.core.errors import UnsupportedError
from talos_opt.core.problem import (
    UNLIMITED,
    Arrays,
    Bools,
    Floats,
    Ints,
    MemoryRule,
    Objective,
    Problem,
    StageRule,
)
from talos_opt.core.result import Status
from talos_opt.core.schedule import Schedule
from talos_opt.core.shares import room_for, share_units
from talos_opt.solvers.bounds import group_work, load_shares
from talos_opt.solvers.bounds.joins import learn_windows
from talos_opt.solvers.bounds.path_memory import PathMemory
from talos_opt.solvers.dp.ideals import Ideal, IdealGraph, ragged
from talos_opt.solvers.dp.peaks import PeakSearch
from talos_opt.solvers.engine.background import run_beside
from talos_opt.solvers.engine.base import Feature, Solver, Verdict
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.engine.warmup import get_ready, give_up, tiny_problem
from talos_opt.solvers.shared.constructive import realise
from talos_opt.solvers.shared.obstacles import find_obstacle
from talos_opt.solvers.shared.offering import offer_placement
from talos_opt.solvers.shared.sequences import offer_sequence
from talos_opt.solvers.shared.splits.search import SplitSearch

if TYPE_CHECKING:
    from talos_opt.kernels.label_state import Facts, Shape, Steps


#: Share of the time that bounds of starts and ends may take.
_WINDOW_SHARE = 0.1
#: Ideals for each block, in a first look at contiguous splits.
_FEW_CHAINS = 8
#: Why one device has no schedule.
_NO_CHAIN = "no chain of stages fits the devices and their memory; ask for other stages, or devices"
_FULL = "no order of the ops fits the memory of the device"


@dataclass(frozen=True)
class DpOptions:
    """Options of `DpSolver`.

    Parameters
    ----------
    most_ideals : int
        Give up when a layer has more order ideals than this: the graph is not narrow.
    most_labels : int
        Give up when a layer has more labels than this.
    most_splits : int
        Where stages are acyclic or ordered, under the bottleneck: with more order ideals than
        this, only some of them are looked at.
    """

    most_ideals: int = 20_000
    most_labels: int = 2_000_000
    most_splits: int = 400_000

    def __post_init__(self) -> None:
        for name in ("most_ideals", "most_labels", "most_splits"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")


class DpSolver(Solver):
    """Label-setting dynamic programme over order ideals."""

    name = "dp"
    summary = "exact on narrow graphs: Pareto labels over order ideals, cut by the incumbent"
    exact = True
    features = frozenset(
        {Feature.TOCT, Feature.MAKESPAN, Feature.SLOTS, Feature.VIA, Feature.STAGES}
    )
    Options = DpOptions

    def require(self, problem: Problem) -> None:
        """Refuse what labels do not describe: see `features`; and readers that differ in bytes.

        The objective memory is covered on one device, and the bottleneck where stages are acyclic
        or ordered, whatever else a problem has.

        Raises
        ------
        UnsupportedError
        """
        if problem.objective is Objective.MEMORY:
            if problem.arrays.device_count > 1:
                raise UnsupportedError(
                    "solver 'dp' does not cover objective memory on several devices; "
                    "use cpsat or auto"
                )
            return
        if splits_tell(problem):
            return
        super().require(problem)
        if problem.arrays.tensor_bytes is None:
            raise UnsupportedError(
                "solver 'dp' does not cover tensors whose readers name different bytes; "
                "use cpsat or auto"
            )

    def kernels(self, problem: Problem) -> tuple[str, ...]:
        """Return that of the labels: its argument types are always the same."""
        if problem.objective is Objective.MEMORY:
            return ()
        return ("splits",) if splits_tell(problem) else ("labels",)

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Prove an optimum, or give up with the best bound of a finished layer."""
        self.require(problem)
        obstacle = find_obstacle(problem)
        if obstacle:
            return Verdict(Status.INFEASIBLE, obstacle)
        if problem.objective is Objective.MEMORY:
            return self.search_peaks(problem, run)
        if splits_tell(problem):
            return self.search_splits(problem, run)
        sources = int((np.diff(problem.arrays.in_ptr) == 0).sum())
        if sources * (sources - 1) // 2 > self.options.most_ideals:
            return _give_up(run)  # so many ideals has the second layer alone
        if not get_ready(run, *self.kernels(problem)):
            return give_up(run, self.name)
        memory = learn_windows(problem, run, run.value, _WINDOW_SHARE)
        run.raise_bound(memory.bound(), self.name)
        stop = np.zeros(1, dtype=np.bool_)
        return run_beside(
            lambda: self.search(problem, run, memory, stop),
            lambda: run.stopped,
            lambda: stop.fill(True),
        )

    def search(self, problem: Problem, run: Run, memory: PathMemory, stop: Bools) -> Verdict:
        """Go through the layers until the last one, the limits, or `stop` (1,) is set."""
        from talos_opt.kernels.labels import extend_layer

        options: DpOptions = self.options
        facts, graph = make_facts(problem, memory), IdealGraph(problem.arrays)
        layer = [graph.bottom]
        shape = _shape(graph, layer)
        prices = _priced_work(facts)
        total = np.bincount(facts.model, weights=prices, minlength=len(facts.weight))
        work: Floats = np.asarray(total[None, :], dtype=np.float64)
        rows, row_ptr = _empty_label(facts), np.array([0, 1])
        trail: list[tuple[Ints, Ints, Ints]] = []
        for _ in range(problem.arrays.op_count):
            following, into = graph.above(
                layer, options.most_ideals, lambda: bool(stop[0]) or run.stopped
            )
            if stop[0] or run.stopped or not following:
                return _give_up(run)
            wider = _shape(graph, following)
            work = _work_left(facts, prices, work, into)
            cutoff = run.target
            labels = extend_layer(
                rows, row_ptr, _steps(graph, following, into, work), shape, wider, facts, cutoff,
                options.most_labels, stop,
            )  # fmt: skip
            if labels.row_ptr[0] < 0:
                return _give_up(run)
            if len(labels.rows) == 0:
                return self._exhausted(problem, run, cutoff)
            # What was dropped ends above the cut-off, what was kept above the labels' bounds.
            run.raise_bound(min(labels.bound, cutoff), self.name)
            rows, row_ptr = labels.rows, labels.row_ptr
            trail.append((labels.parent, labels.device, labels.op))
            layer, shape = following, wider
        best = int(rows[:, 0].argmin())
        found = _trace(problem, trail, best)
        if problem.keeps_stages(found.device):  # labels know nothing of stages
            run.offer(found, self.name)
        run.raise_bound(min(float(rows[best, 0]), run.value), self.name)
        if run.best is None:
            return Verdict(Status.UNKNOWN, "dp: what is best without the rule on stages breaks it")
        return _give_up(run)

    def search_splits(self, problem: Problem, run: Run) -> Verdict:
        """Find the best contiguous split, of few chains of ideals first."""
        if not get_ready(run, *self.kernels(problem)):
            return give_up(run, self.name)
        shares = load_shares(group_work(problem.arrays))[1]
        for narrow in (True, False):
            if run.stopped and run.best is not None:
                break
            search = SplitSearch(problem, shares, run.target)
            most = _FEW_CHAINS * search.blocks.count if narrow else self.options.most_splits
            found = search.run(most, lambda: run.stopped, narrow=narrow)
            if found.device is not None:
                offer_placement(run, found.device, problem.arrays.rank, self.name)
            if found.impossible:
                return Verdict(Status.INFEASIBLE, _NO_CHAIN)
            run.raise_bound(min(found.bound, run.value), self.name)
            if narrow and run.best is not None and not run.stopped:
                search = SplitSearch(problem, shares, run.target)
                device = search.balance(run.lower_bound, run.seed, lambda: run.stopped)
                if device is not None:
                    offer_placement(run, device, problem.arrays.rank, self.name)
        return _give_up(run)

    def search_peaks(self, problem: Problem, run: Run) -> Verdict:
        """Find the order of smallest peak on the only device, or give up with a bound."""
        arrays = problem.arrays
        if problem.memory_rule is MemoryRule.STATIC:  # one order is as good as another
            offer_sequence(run, 0, arrays.order, self.name)
            if run.best is None:
                return Verdict(Status.INFEASIBLE, _FULL)
            run.raise_bound(run.value, self.name)
            return Verdict(Status.FEASIBLE)
        weights, (unit,) = int(arrays.weights.sum()), share_units(arrays)
        target = room_for(unit, run.target, below=True) if unit else UNLIMITED
        search = PeakSearch(
            arrays, max(0, room_for(unit, run.lower_bound) - weights) if unit else 0,
            min(target, int(arrays.capacity[0])) + 1 - weights,
            self.options.most_labels, lambda: run.stopped,
        )  # fmt: skip

        def tell(bound: int) -> None:
            if unit and bound + weights <= arrays.capacity[0]:
                run.raise_bound(min((bound + weights) / unit, run.value), self.name)

        order = search.run(tell)
        if order is not None:
            offer_sequence(run, 0, order, self.name)
            tell(search.bound)  # also where it has not risen: nothing needs less
        elif search.bound >= search.below and run.best is None:
            return Verdict(Status.INFEASIBLE, _FULL)
        elif search.bound >= search.below:
            run.raise_bound(run.target, self.name)
        return _give_up(run)

    def _exhausted(self, problem: Problem, run: Run, cutoff: float) -> Verdict:
        """No label is left: nothing ends below the incumbent, or nothing fits at all."""
        if run.best is not None:
            run.raise_bound(cutoff, self.name)
            return Verdict(Status.FEASIBLE)
        return Verdict(
            Status.INFEASIBLE,
            "every placement exceeds a device's memory, or separates ops that have no link",
        )


def splits_tell(problem: Problem) -> bool:
    """Whether the value follows from a chain of ideals, and every placement is one."""
    acyclic = problem.stages.rule is not StageRule.ANY and not problem.is_pipelined
    return acyclic and problem.objective is Objective.BOTTLENECK


def use_labels() -> None:
    """Call the label kernel."""
    tiny = tiny_problem()
    DpSolver().search(tiny, Run(tiny), PathMemory(tiny), np.zeros(1, dtype=np.bool_))


def _give_up(run: Run) -> Verdict:
    if run.best is not None:
        return Verdict(Status.FEASIBLE)
    return Verdict(Status.UNKNOWN, "dp: the graph is too wide, or the time limit too short")


def make_facts(problem: Problem, memory: PathMemory) -> Facts:
    """Gather what the label kernel needs to know of a problem with uniform tensors."""
    from talos_opt.kernels.label_state import Facts

    arrays, (head, tail) = problem.arrays, memory.by_device()
    held, work = arrays.group_held, arrays.group_workspace
    # A device that holds everything at once needs no watching.
    tight = arrays.capacity < min(UNLIMITED, int(held.sum()) + int(work.max(initial=0)))
    return Facts(
        time=np.where(arrays.allowed[arrays.group], arrays.time, np.inf),
        demand=arrays.demand.copy(),
        in_ptr=arrays.in_ptr.copy(),
        in_tensors=arrays.edge_tensor[arrays.in_edge],
        readers=np.diff(arrays.out_ptr),
        model=arrays.model.copy(),
        release=arrays.release.copy(),
        weight=arrays.model_weight.copy(),
        delay=_delays(arrays),
        slot_ptr=np.concatenate([[0], np.cumsum(arrays.slots)]).astype(np.int64),
        head=head,
        tail=tail,
        group=arrays.group.copy(),
        group_size=held.copy(),
        group_work=work.copy(),
        limited=np.where(tight, np.cumsum(tight) - 1, -1).astype(np.int64),
        capacity=arrays.capacity[tight],
        shares=load_shares(group_work(arrays))[1],
        instant=bool((arrays.time == 0).any()),
        summed=problem.objective is Objective.TOCT,
    )


def _delays(arrays: Arrays) -> Floats:
    """Transfer time of each tensor between all devices; empty if there is never any."""
    count = arrays.device_count
    sizes = arrays.tensor_bytes
    assert sizes is not None
    delay = np.zeros((arrays.tensor_count, count, count))
    for a in range(count):
        for b in range(count):
            path = arrays.path(a, b)
            for hop in path or ():
                delay[:, a, b] += arrays.latency[hop] + arrays.per_byte[hop] * np.maximum(sizes, 0)
            if path is None:
                delay[:, a, b] = np.inf
    return delay if delay.any() else delay[:0]


def _empty_label(facts: Facts) -> Floats:
    """The one label of the empty ideal: nothing held, everything free."""
    return np.zeros((1, 2 + int(facts.slot_ptr[-1]) + 2 * len(facts.capacity)))


def _shape(graph: IdealGraph, layer: list[Ideal]) -> Shape:
    from talos_opt.kernels.label_state import Shape

    return Shape(
        *ragged(ideal.front for ideal in layer),
        *ragged(graph.open_sinks(ideal) for ideal in layer),
        *ragged(graph.open_groups(ideal) for ideal in layer),
    )


def _priced_work(facts: Facts) -> Floats:
    """Least share times time of each op, per slot (n,)."""
    slots = np.diff(facts.slot_ptr)
    with np.errstate(invalid="ignore"):
        priced = facts.time * (facts.shares / slots)
    return np.asarray(np.where(np.isfinite(facts.time), priced, np.inf).min(axis=1) * facts.demand)


def _work_left(
    facts: Facts, prices: Floats, work: Floats, into: list[list[tuple[int, int]]]
) -> Floats:
    """Priced work that is left of each model in each ideal of the next layer (i, k)."""
    parent = [row[0][0] for row in into]
    op = [row[0][1] for row in into]
    left = work[parent]
    left[np.arange(len(op)), facts.model[op]] -= prices[op]
    return np.where(left > 1e-12 * prices.sum(), left, 0.0)


def _steps(
    graph: IdealGraph, layer: list[Ideal], into: list[list[tuple[int, int]]], work: Floats
) -> Steps:
    from talos_opt.kernels.label_state import Steps

    ptr, ideals = ragged([p for p, _ in row] for row in into)
    finishes = [
        graph.finishes(ideal, op) for ideal, row in zip(layer, into, strict=True) for _, op in row
    ]
    return Steps(
        ptr,
        ideals,
        ragged([op for _, op in row] for row in into)[1],
        np.array(finishes, dtype=np.bool_),
        *ragged(ideal.ready for ideal in layer),
        work,
    )


def _trace(problem: Problem, trail: list[tuple[Ints, Ints, Ints]], row: int) -> Schedule:
    """Walk the labels back and return the schedule that the last one stands for."""
    order: list[int] = []
    device = np.zeros(problem.arrays.op_count, dtype=np.int64)
    for parent, where, op in reversed(trail):
        order.append(int(op[row]))
        device[op[row]] = where[row]
        row = int(parent[row])
    return realise(problem, device, reversed(order))
