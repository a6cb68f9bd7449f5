"""`fast`: constructive starts and annealing over placement and order, on all cores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from talos_opt.core.feasibility import check
from talos_opt.core.metrics import objective_value
from talos_opt.core.problem import Ints, Objective, Problem
from talos_opt.core.result import Status
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import MemoryDeadlockError
from talos_opt.core.transfers import NoRouteError
from talos_opt.solvers import registry
from talos_opt.solvers.base import Solver, Verdict
from talos_opt.solvers.constructive import realise
from talos_opt.solvers.contiguous import contiguous_split
from talos_opt.solvers.instance import make_instance, make_times, read_times
from talos_opt.solvers.obstacles import find_obstacle
from talos_opt.solvers.run import Run
from talos_opt.solvers.warmup import tiny_problem, warm

if TYPE_CHECKING:
    from talos_opt.kernels.instance import Instance

#: Constructive rules that give the first placements.
STARTS = ("single", "sequential", "heft", "etf")
#: Temperatures at the start and at the end of a cooling cycle, as shares of the value.
_HOT, _COLD = 0.03, 2e-5
#: Moves that one call of the kernel tries; between calls the clock is looked at.
_CHUNK = 2000
#: Shares of the time budget that the cooling cycles take: short ones find out which start is
#: promising, long ones finish.
_CYCLES = (0.1, 0.2, 0.3, 0.4)


@dataclass(frozen=True)
class FastOptions:
    """Options of `FastSolver`.

    Parameters
    ----------
    moves : int
        Moves that each chain tries; 0: until the time is over. With a number, the same seed and
        the same number of workers give the same answer.
    order_share : float
        Share of the moves that change the order of the ops instead of the placement.
    """

    moves: int = 0
    order_share: float = 0.2

    def __post_init__(self) -> None:
        if self.moves < 0:
            raise ValueError(f"moves is {self.moves}, expected at least 0")
        if not 0 <= self.order_share < 1:
            raise ValueError(f"order_share is {self.order_share}, expected 0 <= share < 1")


class FastSolver(Solver):
    """Simulated annealing, one chain per worker, from constructive starts."""

    name = "fast"
    summary = "annealing over placement and order from constructive starts; any time limit"
    Options = FastOptions

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Improve until the time, or the number of moves, is used up."""
        obstacle = find_obstacle(problem)
        if obstacle:
            return Verdict(Status.INFEASIBLE, obstacle)
        warm(run, _use_kernels)
        starts = _starts(problem, run)
        instance = make_instance(problem)
        chains = [
            Chain(problem, instance, run.seed * 1000 + number, starts[number % len(starts)])
            for number in range(max(1, min(run.workers, 8)))
        ]
        with ThreadPoolExecutor(len(chains)) as pool:
            for budget in _budgets(self.options.moves, run):
                try:
                    list(pool.map(lambda chain, b=budget: chain.cool(b, run, self.options), chains))
                except BaseException:  # Ctrl-C: the pool waits for its threads
                    run.cancel.set()
                    raise
                best = min(chains, key=Chain.rank)
                for chain in chains:
                    _offer(problem, chain, run)
                    chain.restart(best)
                if run.stopped:
                    break
        if run.best is not None:
            return Verdict(Status.FEASIBLE)
        return Verdict(
            Status.UNKNOWN, f"fast: every placement tried exceeds memory by {best.excess()} bytes"
        )


@dataclass(frozen=True)
class Budget:
    """How long a cooling cycle lasts: moves, or else a moment on the run's clock."""

    moves: int
    until_s: float


def _budgets(moves: int, run: Run) -> Iterator[Budget]:
    start, total = run.elapsed, run.remaining
    spent = 0.0
    for share in _CYCLES:
        spent += share
        yield Budget(max(1, int(moves * share)) if moves else 0, start + spent * total)


class Chain:
    """One annealing chain: a state of the kernel and the working space of its passes.

    Parameters
    ----------
    problem : Problem
    instance : Instance
    seed : int
    start : tuple of ((n,) int, (n,) int)
        Device of every op, and an order.
    """

    def __init__(
        self, problem: Problem, instance: Instance, seed: int, start: tuple[Ints, Ints]
    ) -> None:
        from talos_opt.kernels.anneal import State

        arrays = problem.arrays
        self.problem, self.instance = problem, instance
        self.times = make_times(problem)
        self.allowed = arrays.allowed.copy()
        groups, ops, devices = arrays.group_count, arrays.op_count, arrays.device_count
        channels = len(self.times.channel)
        whole = np.int64
        self.state = State(
            home=np.zeros(groups, dtype=whole),
            best_home=np.zeros(groups, dtype=whole),
            device=np.zeros(ops, dtype=whole),
            order=np.zeros(ops, dtype=whole),
            best_order=np.zeros(ops, dtype=whole),
            place=np.zeros(ops, dtype=whole),
            held=np.zeros(devices, dtype=whole),
            widest=np.zeros(devices, dtype=whole),
            load=np.zeros(devices),
            channel=np.zeros(channels),
            value=np.array([np.inf, np.inf, np.inf, np.inf]),
            random=np.array([seed % 2**63], dtype=np.uint64),
        )
        home = np.zeros(groups, dtype=whole)
        home[arrays.group] = start[0]
        self.goto(home, start[1])
        self.anneal(0, 1.0, 1.0, 0.0)

    def goto(self, home: Ints, order: Ints) -> None:
        """Set the point of the search; its value is found by the next call of the kernel."""
        state, group = self.state, self.instance.group
        state.home[:] = home
        state.device[:] = home[self.problem.arrays.group]
        state.order[:] = order
        state.place[order] = np.arange(len(order))
        state.held[:] = 0
        np.add.at(state.held, home, group[:, 0])
        state.widest[:] = 0
        np.maximum.at(state.widest, home, group[:, 1])

    def anneal(self, moves: int, hot: float, cold: float, order_share: float) -> None:
        """Call the kernel."""
        from talos_opt.kernels.anneal import anneal

        anneal(self.instance, self.times, self.state, self.allowed, moves, hot, cold, order_share)

    def cool(self, budget: Budget, run: Run, options: FastOptions) -> None:
        """Run one cooling cycle from the current point."""
        scale = self.state.value[0]
        scale = float(scale) if math.isfinite(scale) and scale > 0 else 1.0
        done, began = 0, run.elapsed
        while not run.cancel.is_set() and run.remaining > 0:
            if budget.moves:
                share, size = done / budget.moves, min(_CHUNK, budget.moves - done)
                next_share = (done + size) / budget.moves
            else:
                length = max(1e-9, budget.until_s - began)
                share, size = (run.elapsed - began) / length, _CHUNK
                next_share = share
            if share >= 1:
                return
            hot, cold = (scale * _HOT * (_COLD / _HOT) ** s for s in (share, next_share))
            self.anneal(size, hot, cold, options.order_share)
            done += size

    def rank(self) -> tuple[float, float]:
        """Memory overflow and value of the best point: smaller is better."""
        return float(self.state.value[3]), float(self.state.value[2])

    def excess(self) -> int:
        """Bytes by which the best point exceeds memory."""
        return int(self.state.value[3]) if math.isfinite(self.state.value[3]) else 0

    def restart(self, other: Chain) -> None:
        """Go on from the best point of a chain."""
        self.goto(other.state.best_home.copy(), other.state.best_order.copy())

    def schedule(self) -> Schedule:
        """Return the schedule of the best point."""
        from talos_opt.kernels.listing import list_schedule

        device = self.state.best_home[self.problem.arrays.group]
        list_schedule(self.instance, self.times, device, self.state.best_order, np.inf)
        return read_times(self.problem, self.times, device)


def _offer(problem: Problem, chain: Chain, run: Run) -> None:
    overflow, value = chain.rank()
    if overflow == 0 and value < run.value:
        run.offer(chain.schedule(), FastSolver.name)


def _starts(problem: Problem, run: Run) -> list[tuple[Ints, Ints]]:
    """Return placements to start from, the best first: at least one, feasible if any is known."""
    found: list[tuple[float, Schedule]] = []
    if run.best is not None:
        found.append((run.value, run.best))
    for name in STARTS:
        if run.stopped:
            break
        trial = Run(problem, time_limit=run.remaining, cancel=run.cancel)
        registry.create(name).solve(problem, trial)
        if trial.best is not None:
            run.offer(trial.best, name)
            found.append((trial.value, trial.best))
    split = contiguous_split(problem) if problem.objective is Objective.BOTTLENECK else None
    if split is not None:
        schedule = _realised(problem, split)
        if schedule is not None:
            run.offer(schedule, FastSolver.name)
            found.append((objective_value(problem, schedule), schedule))
    found.sort(key=lambda item: item[0])
    if not found:
        return [_fastest_devices(problem)]
    return [(schedule.device, _order_of(problem, schedule)) for _, schedule in found]


def _realised(problem: Problem, device: Ints) -> Schedule | None:
    """Return a schedule of a placement, None if it has none."""
    try:
        schedule = realise(problem, device, problem.arrays.order.tolist())
    except (MemoryDeadlockError, NoRouteError):
        return None
    return None if check(problem, schedule) else schedule


def _order_of(problem: Problem, schedule: Schedule) -> Ints:
    """Ops by start; those that start together in topological order."""
    rank = np.empty(problem.arrays.op_count, dtype=np.int64)
    rank[problem.arrays.order] = np.arange(len(rank))
    if problem.objective is Objective.BOTTLENECK:
        return problem.arrays.order.copy()
    return np.lexsort((rank, schedule.end, schedule.start)).astype(np.int64)


def _fastest_devices(problem: Problem) -> tuple[Ints, Ints]:
    """Every group where it takes least time, whatever the memory: a start to be repaired."""
    arrays = problem.arrays
    work = np.zeros(arrays.allowed.shape)
    np.add.at(work, arrays.group, np.where(np.isfinite(arrays.time), arrays.time, 0.0))
    home = np.where(arrays.allowed, work, np.inf).argmin(axis=1)
    return home[arrays.group].astype(np.int64), arrays.order.copy()


def _use_kernels() -> None:
    problem = tiny_problem()
    order = problem.arrays.order.copy()
    chain = Chain(problem, make_instance(problem), 0, (np.zeros(2, dtype=np.int64), order))
    chain.anneal(1, 1.0, 1.0, 0.5)
    chain.schedule()
