"""One thread's local search: a point, the best one seen, and two ways to improve it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from talos_opt.core.problem import Ints, Objective, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.fast.queues import make_queues
from talos_opt.solvers.shared.instance import make_times, read_times
from talos_opt.solvers.shared.queues import queues_tell_all

if TYPE_CHECKING:
    from talos_opt.kernels.instance import Instance

#: Temperature at the end of a cooling cycle, as a share of the value.
_COLD = 2e-5
#: Op schedulings between two looks at the clock: some tens of ms.
_CHUNK = 400_000
#: Moves of annealing that take as long as a step of tabu search.
_MOVES_PER_STEP = 8
#: Critical ops that a step of tabu search looks at.
_SAMPLE = 16
#: Steps without improvement until it goes back to the best point, and random moves from there.
_PATIENCE, _KICK = 2000, 4


@dataclass(frozen=True)
class Turn:
    """How long a turn lasts: moves, or else until a moment on the run's clock."""

    moves: int
    until_s: float


class Chain:
    """The state of the kernels, and the working space of their passes.

    Parameters
    ----------
    problem : Problem
    instance : Instance
    seed : int
    start : tuple of ((n,) int, (n,) int)
        Device of every op, and an order.
    valued : bool
        Whether to value the start, by the annealing kernel.
    tabu : bool
        Whether the kernel of tabu search is there.
    """

    def __init__(
        self,
        problem: Problem,
        instance: Instance,
        seed: int,
        start: tuple[Ints, Ints],
        *,
        valued: bool = True,
        tabu: bool = True,
    ) -> None:
        from talos_opt.kernels.anneal import State

        arrays = problem.arrays
        self.problem, self.instance, self.seed = problem, instance, seed
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
        tabu = tabu and not problem.stages and queues_tell_all(problem)
        self.queues = make_queues(problem, seed) if tabu else None
        home = np.zeros(groups, dtype=whole)
        home[arrays.group] = start[0]
        self.goto(home, start[1])
        if valued:
            self.anneal(0, 1.0, 1.0, 0.0)

    # ---- the point --------------------------------------------------------------------------

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

    def restart(self, other: Chain) -> None:
        """Go on from the best point of a chain, its own or another's."""
        state, best = self.state, other.state
        state.best_home[:], state.best_order[:] = best.best_home.copy(), best.best_order.copy()
        state.value[2:] = best.value[2:]
        self.goto(state.best_home.copy(), state.best_order.copy())

    def rank(self) -> tuple[float, float]:
        """Memory overflow and value of the best point: smaller is better."""
        return float(self.state.value[3]), float(self.state.value[2])

    def excess(self) -> int:
        """Bytes by which the best point exceeds memory."""
        return int(self.state.value[3]) if math.isfinite(self.state.value[3]) else 0

    def schedule(self) -> Schedule:
        """Return the schedule of the best point."""
        from talos_opt.kernels.listing import list_schedule

        device = self.state.best_home[self.problem.arrays.group]
        list_schedule(self.instance, self.times, device, self.state.best_order, np.inf)
        return read_times(self.problem, self.times, device)

    # ---- annealing ---------------------------------------------------------------------------

    def anneal(
        self, moves: int, hot: float, cold: float, order_share: float, *, smooth: bool = False
    ) -> None:
        """Call the kernel."""
        from talos_opt.kernels.anneal import anneal

        anneal(
            self.instance, self.times, self.state, self.allowed, moves, hot, cold, order_share,
            smooth,
        )  # fmt: skip

    def cool(
        self, turn: Turn, run: Run, hot: float, order_share: float, *, smooth: bool = False
    ) -> None:
        """Anneal through one cooling cycle from the current point.

        Parameters
        ----------
        turn : Turn
        run : Run
        hot : float
            First temperature, as a share of the value.
        order_share : float
            Share of the moves that change the order.
        smooth : bool
            Under the bottleneck, whether all loads count, the largest most.
        """
        scale = self.state.value[0]
        scale = float(scale) if math.isfinite(scale) and scale > 0 else 1.0
        chunk = max(20, min(2000, _CHUNK // self.problem.arrays.op_count * 10))
        done, began = 0, run.clock()
        while not run.spent:
            if turn.moves:
                share, size = done / turn.moves, min(chunk, turn.moves - done)
                next_share = (done + size) / turn.moves
            else:
                length = max(1e-9, turn.until_s - began)
                share, size = (run.clock() - began) / length, chunk
                next_share = share
            if share >= 1:
                return
            first, last = (scale * hot * (_COLD / hot) ** s for s in (share, next_share))
            self.anneal(size, first, last, order_share, smooth=smooth)
            done += size

    @property
    def counts_loads(self) -> bool:
        """Whether loads alone decide, so that annealing may be led by all of them."""
        rule = self.instance.rule
        return self.problem.objective is Objective.BOTTLENECK and rule[2] == 0

    # ---- tabu search -------------------------------------------------------------------------

    @property
    def can_reinsert(self) -> bool:
        """Whether tabu search applies: to the problem, and to a point that breaks no limit."""
        return self.queues is not None and self.state.value[3] == 0

    def reinsert(self, turn: Turn, run: Run) -> None:
        """Search from the best point by putting critical ops elsewhere."""
        from talos_opt.kernels.reinsertion import reinsert

        total = max(1, turn.moves // _MOVES_PER_STEP)
        chunk = max(1, _CHUNK // 10 // self.problem.arrays.op_count)
        done, fresh = 0, True
        while not run.spent:
            size = min(chunk, total - done) if turn.moves else chunk
            if size == 0 or (not turn.moves and run.clock() >= turn.until_s):
                return
            made = reinsert(*self.reinsert_arguments(size, fresh=fresh))
            done, fresh = done + size, False
            if made < size:
                return

    def reinsert_arguments(self, steps: int, *, fresh: bool) -> tuple[Any, ...]:
        """Return what the kernel of tabu search takes."""
        return (
            self.instance, self.times, self.queues, self.state, self.allowed, steps, _SAMPLE,
            _PATIENCE, _KICK, fresh,
        )  # fmt: skip
